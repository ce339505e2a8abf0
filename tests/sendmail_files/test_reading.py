"""sendmail's files as they are found: all that is wrong is told at once, with its place, and nothing raises."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smtpguard.config import policy_file, yaml_reader
from smtpguard.sendmail import client_map
from smtpguard.sendmail.prefixes import block_of
from smtpguard.sendmail.told import Remarks

from .support import import_files

CF = """# of a site
Cwlocalhost example.org
CRrelayed.example 10.1
Fw-o /nowhere/local-host-names
O PrivacyOptions=authwarnings,novrfy,
  noexpn
O AuthOptions=p
O MaxRecipientsPerMessage=50
O DaemonPortOptions=Name=MSA, Port=587, M=Ea
Scheck_etrn
R$*\t$: $>other $1
R$*\t$#error $: "550 no"
Scheck_other
R$* $| 5\t$#error $: "421 bye"
"""


def write(folder: Path, name: str, text: str | bytes) -> Path:
    """Write a file."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("latin-1"))
    return path


def networks(policy: str, name: str) -> set[str]:
    """Return a network of a policy."""
    document = yaml_reader.read(policy, "policy.yaml")
    assert isinstance(document.data, dict)
    return set(document.data["networks"].get(name, []))


def test_a_sendmail_cf_becomes_a_policy_that_loads_and_passes_its_own_tests(tmp_path: Path) -> None:
    """Continued lines, classes, options; what stands in no policy is told with its line."""
    policy, told = import_files(cf=write(tmp_path, "sendmail.cf", CF))
    loaded = policy_file.build(yaml_reader.read(policy, "policy.yaml"))
    assert loaded.tests
    assert not [*loaded.failures()]
    assert not loaded.warnings
    data = yaml_reader.read(policy, "policy.yaml").data
    assert isinstance(data, dict)
    assert data["privacy_options"] == ["novrfy", "noexpn"]
    assert data["auth"] == {"require_tls": True}
    assert data["relay_domains"] == {"domains": ["example.org", "relayed.example", ".relayed.example"]}
    assert networks(policy, "internal") == {"127.0.0.1/32", "::1/128", "10.1.0.0/16"}
    places = {
        one.split(" warning: ")[0].rpartition("/")[2] + " " + one.split(" warning: ")[1].split()[0] for one in told
    }
    assert {"sendmail.cf:11:1: check_etrn", "sendmail.cf:8:1: MaxRecipientsPerMessage=50:"} <= places
    assert {"sendmail.cf:13:1: rule", "sendmail.cf:9:1: DaemonPortOptions"} <= places
    assert all(f"# {one.split(' warning: ')[1]}"[2:] in policy for one in told)


@pytest.mark.parametrize(
    ("key", "network"),
    [
        ("10", "10.0.0.0/8"),
        ("192.168", "192.168.0.0/16"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("[192.0.2.7]", "192.0.2.7/32"),
        ("IPv6:2001:db8", "2001:db8::/32"),
        ("IPv6:0:0:0:0:0:0:0:1", "::1/128"),
    ],
)
def test_a_key_is_the_beginning_of_an_address_as_sendmail_cuts_it(key: str, network: str) -> None:
    """At dots and colons, never within a number."""
    block, meant = block_of(key), ip_network(network)
    assert block is not None
    assert (block.first, block.last) == (int(meant.network_address), int(meant.broadcast_address))


@pytest.mark.parametrize("key", ["10.0.0.0/8", "10.", "300.1", "IPv6:::1", "IPv6:2001:0db8", "IPv6:2001:db8::"])
def test_a_key_that_fits_no_address_is_told_with_what_to_write(key: str) -> None:
    """sendmail takes them without a word, and never finds them."""
    with pytest.raises(ValueError, match="write"):
        block_of(key)


def test_the_longest_key_decides_and_the_tagged_one_before_the_other(tmp_path: Path) -> None:
    """So what a longer key says is cut out of the shorter one's network."""
    access = write(
        tmp_path,
        "access",
        "10\tREJECT\nConnect:10\tRELAY\n10.1 REJECT\n10.1.2 RELAY\n10.9\tOK\n172.16 DISCARD\nConnect:a.example RELAY\n"
        "To:example.net RELAY\n192.0.2.0/24 REJECT\n198.51.100 ERROR:4.7.1:450 later\n203.0.113 9 lives\n",
    )
    remarks = Remarks()
    found = client_map.by_outcome(client_map.read_clients(access, remarks))
    spans = {outcome: sum(one.last - one.first + 1 for one in blocks) for outcome, blocks in found.items()}
    assert spans[client_map.RELAY] == (1 << 24) - (1 << 16) - (1 << 16) + (1 << 8)
    assert spans[client_map.DENIED] == (1 << 16) - (1 << 8)
    assert spans["450 4.7.1 later"] == 256
    assert spans["553 5.3.0 9 lives"] == 256
    assert [one.line for one in remarks.found] == [6, 7, 9]


def test_a_rule_set_that_is_not_understood_closes_what_it_may_have_closed(tmp_path: Path) -> None:
    """With its rules told; to forward would be to open."""
    text = "Scheck_vrfy\nR$*\t$: $(access $1 $: $)\nR$*\t$@ OK\nScheck_expn\nR$* $@ OK\n"
    policy, told = import_files(cf=write(tmp_path, "sendmail.cf", text))
    assert '- {from: 203.0.113.9, command: "VRFY george", expect: 252}' in policy
    assert '- {from: 203.0.113.9, command: "EXPN all", expect: 502}' in policy
    assert any("`R$* $: $(access $1 $: $)`" in one for one in told)
    assert any("no TAB" in one for one in told)


def test_a_sendmail_mc_is_put_through_m4_and_options_have_its_lines(tmp_path: Path) -> None:
    """What m4 makes of it is read, so that what it includes counts."""
    mc = write(
        tmp_path,
        "sendmail.mc",
        "include(`/usr/share/sendmail/cf/m4/cf.m4')dnl\nOSTYPE(`debian')dnl\n"
        "define(`confPRIVACY_FLAGS', `noexpn')dnl\nRELAY_DOMAIN(`example.net')dnl\nLOCAL_DOMAIN(`example.org')dnl\n"
        "FEATURE(`promiscuous_relay')dnl\nMAILER(`smtp')dnl\n",
    )
    policy, told = import_files(mc=mc)
    assert f"privacy_options: [noexpn]  # {mc}:3 PrivacyOptions" in policy
    assert '"example.org"' in policy
    assert '".example.net"' in policy
    assert any("sendmail.mc:6:1: warning: FEATURE(`promiscuous_relay') makes an OPEN RELAY" in one for one in told)


def test_a_sendmail_mc_that_m4_cannot_read_is_read_as_text_and_that_is_told(tmp_path: Path) -> None:
    """As on a machine that has no sendmail."""
    mc = write(
        tmp_path,
        "sendmail.mc",
        "include(`/nowhere/cf.m4')dnl\ndefine(`confPRIVACY_FLAGS', `novrfy')dnl\n"
        "dnl define(`confAUTH_OPTIONS', `p')dnl\n"
        'LOCAL_DOMAIN(`example.org\')dnl\nLOCAL_RULESETS\nScheck_expn\nR$*\t$#error $@ 5.7.0 $: "502 5.7.0 no"\n',
    )
    policy, told = import_files(mc=mc)
    assert "privacy_options: [novrfy]" in policy
    assert 'reply: "502 5.7.0 no"' in policy
    assert "require_tls" not in policy
    assert any("read as text" in one for one in told)


def test_the_text_of_an_access_map_stands_beside_the_map(tmp_path: Path) -> None:
    """Which is nothing that could be read, and may be named with its suffix."""
    write(tmp_path, "access.db", b"\0\1Connect:10\0RELAY")
    write(tmp_path, "access", "Connect:192.0.2\tRELAY\n")
    cf = write(tmp_path, "sendmail.cf", f"Kaccess hash -T<TMPF> {tmp_path}/access.db\n")
    policy, _ = import_files(cf=cf)
    assert networks(policy, "internal") == {"127.0.0.1/32", "::1/128", "192.0.2.0/24"}


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    """An import of half of the files would be a policy of half of the rules."""
    with pytest.raises(FileNotFoundError):
        import_files(cf=write(tmp_path, "sendmail.cf", CF), access=tmp_path / "access")


PIECES = st.sampled_from(
    [
        *(
            "Scheck_vrfy",
            "R$*\t$: $&{client_addr}",
            "R10.$*\t$@ OK",
            "R$={x}$*\t$#OK",
            'R$*\t$#error $@ 5 $: ""',
            "R",
            "S",
        ),
        *(
            "R$* $| YES\t$@ OK",
            "R$*\t$: $1 $| $(m $&{client_addr} $: NO $)",
            "R$*\t$: $(",
            "Km regex -aYES ^(10\\.)",
            "K",
        ),
        *(
            "#= 10.0.0.0/8",
            "#= %",
            "C{x}10 300.1 a",
            "C{",
            "F{x}-o /dev/null",
            "Fw|/bin/true",
            "O PrivacyOptions=,,x",
            "O DaemonPortOptions=Name=\xe9 x, M=aEAs, A=::1, F=inet6",
            "OOPort=x,M=E,N=a",
            "O",
        ),
        *(
            "Kaccess hash /nowhere",
            "D{",
            "\tmore",
            "R$*\t$#error $: 999 x",
            "R$9\t$: $9",
            "R[\t$@",
            'R$*\t$#error $: "550 \xe9"',
        ),
        *(
            "Connect:10\tRELAY",
            "10.1 ERROR:550",
            "IPv6:zz REJECT",
            "10.2",
            "example..org RELAY",
            "Connect: RELAY",
            ": x",
            "\x00",
        ),
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.one_of(PIECES, st.text(st.characters(codec="latin-1"), max_size=12)), max_size=12),
    rest=st.lists(PIECES, max_size=6),
)
def test_no_file_makes_it_raise_and_what_it_writes_always_loads(
    lines: list[str], rest: list[str], tmp_path: Path
) -> None:
    """Whatever stands in any of the files."""
    policy, _ = import_files(
        cf=write(tmp_path, "sendmail.cf", "\n".join(lines)),
        access=write(tmp_path, "access", "\n".join(rest)),
        relay_domains=write(tmp_path, "relay-domains", " ".join(rest)),
        local_host_names=write(tmp_path, "local-host-names", "example.org\n" + "\n".join(lines)),
    )
    loaded = policy_file.build(yaml_reader.read(policy, "policy.yaml"))
    assert not [*loaded.failures()], policy
