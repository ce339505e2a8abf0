"""Neither direction opens what was closed: what cannot be said alike is said so that it refuses more, and told."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from smtpguard.config import yaml_reader
from smtpguard.sendmail import client_map
from smtpguard.sendmail.told import Remarks

from .support import cf_of, export, import_files


def data_of(policy: str) -> dict[str, Any]:
    """Return a policy as data."""
    data = yaml_reader.read(policy, "policy.yaml").data
    assert isinstance(data, dict)
    return data


def imported(folder: Path, cf: str, *, named: bool = True, **files: str) -> tuple[dict[str, Any], str]:
    """Return the policy of a .cf and other files, and all that is told."""
    (folder / "sendmail.cf").write_text(cf, "latin-1")
    paths = {"cf": folder / "sendmail.cf"}
    for name, text in files.items():
        paths[name] = folder / name
        paths[name].write_text(text, "latin-1")
    policy, told = import_files(named=named, **paths)
    return data_of(policy), "\n".join(told)


# -- export --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "condition"),
    [
        ("check_vrfy", "esmtp: false"),
        ("check_expn", "auth_failed: true"),
        ("check_etrn", "tls_name: [a.example]"),
        ("check_vrfy", "greeted: true"),
        ("check_vrfy", "argument: ['[a-z]*']"),
        ("check_rcpt", "argument: ['*@example.org>*']"),
        ("check_mail", "argument: ['*@example.org>*']"),
    ],
)
def test_a_refusal_whose_condition_sendmail_cannot_ask_is_exported_without_it(
    name: str, condition: str, tmp_path: Path
) -> None:
    """It refuses more, and says so; a rule that forwards goes as a whole."""
    refusal = f"rulesets: {{{name}: [{{from: 10.0.0.0/8, {condition}, reply: 550 5.7.1 No}}, {{action: forward}}]}}\n"
    found = export(tmp_path, refusal)
    assert '$#error $@ 5.7.1 $: "550 5.7.1 No"' in found.text
    assert "$(guard_networks $&{client_addr} $: NO $)" in found.text
    assert any("refuses without that condition" in one.text for one in found.remarks)
    found = export(tmp_path, refusal.replace("reply: 550 5.7.1 No", "action: forward").replace("forward}]", "reply}]"))
    assert "guard_networks" not in found.text.partition("LOCAL_RULESETS")[2]
    assert "$#error" in found.text
    assert any("the rule is left out" in one.text for one in found.remarks)


def test_a_refusal_before_the_greeting_becomes_an_option(tmp_path: Path) -> None:
    """Which sendmail has for VRFY, EXPN and MAIL; beside those that the policy has itself."""
    found = export(
        tmp_path,
        "privacy_options: [noetrn]\nrulesets:\n"
        "  check_vrfy: [{greeted: false, reply: 503 5.0.0 Hello?}, {from: 10.0.0.1, action: reply}]\n"
        "  check_mail: [{from: 10.0.0.0/8, greeted: false, reply: 503 5.0.0 Hello?}, {action: forward}]\n",
    )
    assert "define(`confPRIVACY_FLAGS', `noetrn,needvrfyhelo,needmailhelo')dnl" in found.text
    assert found.text.count("Hello?") == 0


def test_no_two_lists_share_a_map_whatever_they_are_called(tmp_path: Path) -> None:
    """A network may be called as a kind of list, or as a part of another network."""
    many = [f"10.{a}.{b}.64/26" for a in range(9) for b in range(0, 250, 9)]
    found = export(
        tmp_path,
        f"networks: {{listener: 192.0.2.1, a: 192.0.2.2, x: {many}, x_1: 192.0.2.3, x_x2: 192.0.2.4, X: 192.0.2.5}}\n"
        "rulesets:\n  check_vrfy:\n    - {listener: a, from: [listener, a], action: forward}\n"
        "    - {from: x, action: forward}\n    - {from: x_1, action: forward}\n    - {from: X, action: forward}\n"
        "    - {from: x_x2, action: forward}\n    - {action: reply}\n",
    )
    names = [line.split()[0] for line in found.text.splitlines() if line.startswith("K")]
    assert len({one.lower() for one in names}) == len(names)
    policy, told = import_files(cf=cf_of(tmp_path, found.text))
    assert not [one for one in told if "check_" in one]
    first, *rest = data_of(policy)["rulesets"]["check_vrfy"]
    assert first["listener"] == ["a"]
    assert "192.0.2.1/32" in str(data_of(policy)["networks"][first["from"]])
    assert [one.get("from") for one in rest[1:4]] == [["192.0.2.3/32"], ["192.0.2.5/32"], ["192.0.2.4/32"]]


def test_relay_domains_are_told_and_never_become_class_r(tmp_path: Path) -> None:
    """sendmail relays for clients of such names, too, which the policy does not."""
    path = tmp_path / "x')dnl syscmd(`exit"
    path.write_text("example.net\n", "ascii")
    found = export(
        tmp_path,
        f'relay_domains: {{domains: [example.org, .example.org], files: ["{path}"]}}\nrulesets: {{check_vrfy: '
        "[{action: reply}]}\n",
    )
    assert "\nRELAY_DOMAIN" not in found.text
    assert not [line for line in found.text.splitlines() if "syscmd" in line and not line.startswith("dnl ")]
    assert [one.text for one in found.remarks if "`To:example.org RELAY`" in one.text]


# -- import --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        "O PrivacyOptions=novrfy\nO PrivacyOptions=noexpn",
        "O PrivacyOptions=novrfy;noexpn",
        "O PrivacyOptions=authwarnings, novrfy/noexpn",
        "Opnovrfy,noexpn",
        "O Privacy=novrfy,noexpn",
        "O privacyoptions=NOVRFY\n noexpn",
    ],
)
def test_privacy_options_add_up_however_they_are_written(lines: str, tmp_path: Path) -> None:
    """As sendmail takes them."""
    data, told = imported(tmp_path, f"{lines}\n")
    assert data["privacy_options"] == ["novrfy", "noexpn"]
    assert not told


def test_auth_options_add_up(tmp_path: Path) -> None:
    """The last line does not take back what one before has said."""
    data, _ = imported(tmp_path, "O AuthOptions=p\nO AuthOptions=A\n")
    assert data["auth"] == {"require_tls": True}


def test_that_the_guard_relays_for_whoever_authenticates_is_told_where_sendmail_does_not(tmp_path: Path) -> None:
    """It asks for a mechanism that is trusted."""
    trusting = "Cwown.example\nC{TrustAuthMech}PLAIN\nC{TrustAuthMech}LOGIN\n"
    assert "TRUST_AUTH_MECH" not in imported(tmp_path, f"{trusting}O AuthMechanisms=LOGIN plain\n")[1]
    assert "TRUST_AUTH_MECH" in imported(tmp_path, f"{trusting}O AuthMechanisms=LOGIN CRAM-MD5\n")[1]
    assert "TRUST_AUTH_MECH" in imported(tmp_path, trusting)[1]
    assert "TRUST_AUTH_MECH" not in imported(tmp_path, "CRx.example\n")[1]


@pytest.mark.parametrize(
    ("form", "members"),
    [("", ["192.0.2.1/32"]), (r" %[^\#]", ["192.0.2.1/32", "192.0.2.2/31"]), (" %s-%s", None)],
)
def test_the_file_of_a_class_has_the_words_that_sendmail_finds_by_its_format(
    form: str, members: list[str] | None, tmp_path: Path
) -> None:
    """Without a format the first of each line; of a format that is not known, none, and the rule set is closed."""
    (tmp_path / "friends").write_text("192.0.2.1 192.0.2.2\n#192.0.2.4\n192.0.2.3#x\n", "ascii")
    rules = 'Scheck_vrfy\nR$*\t$: $&{client_addr}\nR$={F}\t$@ OK\nR$*\t$#error $@ 5.7.1 $: "550 no"\n'
    data, told = imported(tmp_path, f"F{{F}} {tmp_path}/friends{form}\n{rules}")
    first = data["rulesets"]["check_vrfy"][0]
    if members is None:
        assert first == {"action": "reply"}
        assert "check_vrfy is not carried over" in told
    else:
        assert data["networks"].get(str(first["from"]), first["from"]) == members


def test_a_key_in_brackets_relays_for_nobody(tmp_path: Path) -> None:
    """It is the name of a client without one, for which sendmail does not relay; but it refuses."""
    access = (
        "Connect:[10.1]\tRELAY\n10.2\tREJECT\nConnect:[10.2.3]\tOK\nConnect:[10.3]\tREJECT\n10.3.4\tOK\n10.3.5\tRELAY\n"
    )
    data, told = imported(tmp_path, "CR[192.0.2.7]\nCwx.example\n", access=access)
    assert data["networks"] == {"internal": ["10.3.5.0/24", "127.0.0.1/32", "::1/128"], "refused": ["10.2.0.0/15"]}
    assert data["rulesets"]["check_rcpt"][0]["from"] == "refused"
    assert "[192.0.2.7]" in data["relay_domains"]["domains"]
    assert "10.1.0.0/16 meant?" in told
    assert "10.2.3.0/24 meant?" in told


def test_skip_is_no_word_for_clients_and_ipv6_is_a_key_for_all_of_it(tmp_path: Path) -> None:
    """sendmail refuses with the text `SKIP`, and finds `IPv6` when all groups are cut off."""
    access = "10.1\tSKIP\nConnect:IPv6\tREJECT\n10.2\tSKIP\nIPv6:0\tOK\n[IPv6:0:1]\tREJECT\n"
    data, _ = imported(tmp_path, "", access=access)
    named = {rule["reply"]: data["networks"][rule["from"]] for rule in data["rulesets"]["check_rcpt"][:2]}
    assert named["553 5.3.0 SKIP"] == ["10.1.0.0/16", "10.2.0.0/16"]
    denied = [ip_network(one) for one in named[client_map.DENIED]]
    assert sum(one.num_addresses for one in denied) == 2**128 - 2**112 + 2**96


def test_compressed_addresses_are_found_as_sendmail_writes_them(tmp_path: Path) -> None:
    """A refusal holds for all that may be meant, and what is relayed for is what is sure."""
    access = (
        "Connect:IPv6:2001:db8::7\tREJECT\nIPv6:2001:db8:0:9\tREJECT\nIPv6:2001:db8:0:8\tRELAY\n"
        "Connect:IPv6:2001:db8:5\tRELAY\nIPv6:2001:0db8::8\tRELAY\n"
    )
    data, told = imported(tmp_path, "O UseCompressedIPv6Addresses=True\n", access=access)
    assert data["networks"] == {
        "internal": ["127.0.0.1/32", "::1/128", "2001:db8:5::/48"],
        "refused": ["2001:db8::7/128", "2001:db8:0:9::/64"],
    }
    assert "2001:db8:0:8::/64 meant?" in told
    assert "write IPv6:2001:db8::8" in told


def test_rule_sets_that_compare_ipv6_addresses_are_not_followed_if_those_are_compressed(tmp_path: Path) -> None:
    """What fits a long address fits no short one."""
    cf = "O UseCompressedIPv6Addresses=True\nScheck_vrfy\nR$*\t$: $&{client_addr}\nRIPv6:2001:db8:$*\t$@ OK\n"
    data, told = imported(tmp_path, f'{cf}R$*\t$#error $@ 5.7.1 $: "550 no"\n')
    assert data["rulesets"]["check_vrfy"] == [{"action": "reply"}]
    assert "under UseCompressedIPv6Addresses" in told


def test_whom_the_access_map_refuses_may_not_guess_passwords(tmp_path: Path) -> None:
    """sendmail refuses AUTH to them as all else."""
    data, _ = imported(tmp_path, "O AuthOptions=p\n", access="192.0.2\tREJECT\n")
    assert data["rulesets"]["check_auth"][0] == {"from": "refused", "reply": client_map.DENIED}


def test_a_rule_set_may_be_called_by_its_number(tmp_path: Path) -> None:
    """Rules behind the number are rules of the name."""
    cf = 'Scheck_vrfy=90\nScheck_expn\nR$*\t$@ OK\nS90\nR$*\t$#error $@ 5.7.1 $: "550 no"\n'
    data, _ = imported(tmp_path, cf)
    assert data["rulesets"]["check_vrfy"] == [{"reply": "550 5.7.1 no"}]


def test_keys_of_other_kinds_and_names_are_told_once(tmp_path: Path) -> None:
    """They decide about clients, and no policy has them."""
    path = tmp_path / "access"
    path.write_text(
        "ClientRate:10\t5\nClientRate:11\t6\nGreetPause:10\t0\nSrv_Features:10\tS\nTo:x.example\tRELAY\n"
        "evil.example\tREJECT\nfoe@evil.example\tREJECT\nbad.example\tERROR:550 no\nok.example\tRELAY\n",
        "ascii",
    )
    remarks = Remarks()
    assert client_map.read_clients(path, remarks) == []
    assert [one.line for one in remarks.found] == [1, 3, 4, 6]
    assert "(2 from here on)" in remarks.found[-1].text


def test_what_a_cf_was_made_with_is_told(tmp_path: Path) -> None:
    """Of a .cf alone, as it stands in /etc/mail."""
    features = ("access_db", "greet_pause", "ratecontrol", "conncontrol", "promiscuous_relay")
    calls = "".join(f"FEATURE(`{one}')dnl\n" for one in features)
    path = cf_of(tmp_path, f"{calls}FEATURE(`dnsbl', `x.example')dnl\nFEATURE(`relay_hosts_only')dnl\n", warns=True)
    path.write_text(path.read_text("latin-1").replace("FR-o", "CRrelay.example\nCwown.example\nFR-o"), "latin-1")
    policy, told = import_files(cf=path)
    whole = "\n".join(told)
    assert all(one in whole for one in ("greet_pause", "ratecontrol", "conncontrol", "blocklist", "OPEN RELAY"))
    assert data_of(policy)["relay_domains"]["domains"] == ["own.example", "relay.example"]


@pytest.mark.parametrize(
    "feature",
    [
        *("require_rdns", "relay_entire_domain", "relay_based_on_MX", "bestmx_is_local", "relay_mail_from", "drac"),
        *("delay_checks", "greet_pause", "ratecontrol", "conncontrol"),
    ],
)
def test_a_feature_that_a_policy_does_not_have_is_told_from_the_cf(feature: str, tmp_path: Path) -> None:
    """Of a .cf without one of them it is not."""
    frame = "FEATURE(`access_db')dnl\n"
    _, before = import_files(cf=cf_of(tmp_path, frame))
    _, told = import_files(cf=cf_of(tmp_path, f"{frame}FEATURE(`{feature}')dnl\n", warns=feature == "relay_mail_from"))
    assert not [one for one in before if "FEATURE" in one]
    assert [one for one in told if f"FEATURE(`{feature}')" in one]


@pytest.mark.parametrize(
    ("members", "left"),
    [("[192.0.2.1]", "R$={F}"), ("[192.0.2.1]", "R$={F}$*"), ("x", "R[192.0.2.1]"), ("$={G}", "R$={F}")],
)
def test_an_address_in_brackets_is_a_name_and_fits_no_address_of_a_client(
    members: str, left: str, tmp_path: Path
) -> None:
    """Or a rule set would let through whom sendmail does not; and a class in a class is not known."""
    rules = f'Scheck_vrfy\nR$*\t$: $&{{client_addr}}\n{left}\t$@ OK\nR$*\t$#error $@ 5.7.1 $: "550 no"\n'
    data, _ = imported(tmp_path, f"C{{G}}192.0.2.1\nC{{F}}{members}\n{rules}")
    assert data["rulesets"]["check_vrfy"] in ([{"reply": "550 5.7.1 no"}], [{"action": "reply"}])


def test_a_check_relay_that_is_not_sendmail_s_own_is_told(tmp_path: Path) -> None:
    """In a .cf that was written by hand it is what refuses clients."""
    _, told = imported(tmp_path, "Scheck_relay\nR$* $| 10.$*\t$#error $: 550 no\n")
    assert "rule set check_relay is not sendmail's own" in told


def test_a_define_over_several_lines_is_read_without_m4(tmp_path: Path) -> None:
    """Debian's own sendmail.mc has its PrivacyOptions so."""
    mc = tmp_path / "sendmail.mc"
    mc.write_text(
        "include(`/nowhere/cf.m4')dnl\ndefine(`confPRIVACY_FLAGS',dnl\n`needmailhelo,needexpnhelo,\n"
        "noexpn')dnl\ndnl define(`confPRIVACY_FLAGS', `public')dnl\n"
        "FEATURE(`access_db',\n`hash -T<TMPF> /nowhere/access')dnl\n",
        "ascii",
    )
    policy, told = import_files(mc=mc)
    assert data_of(policy)["privacy_options"] == ["needmailhelo", "needexpnhelo", "noexpn"]
    assert any("/nowhere/access is not there" in one for one in told)
