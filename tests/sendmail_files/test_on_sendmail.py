"""Both directions on a real sendmail: the same client says the same, and gets the same answer.

On one side sendmail has the rules itself; on the other the guard has them, and a sendmail without any stands behind it.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.rig.hosts import Host
from tests.rig.sendmail import RealSendmail, run_directory
from tests.sendmail.support import ConfiguredGuard, server_endpoint

from .conftest import EVERYWHERE
from .support import ADDRESSES, ask_from, export, import_files

SESSIONS = (
    ("VRFY george", "EXPN all", "EHLO me.test", "VRFY george", "VRFY nobody", "EXPN all", "ETRN x.test", "NOOP"),
    ("EHLO me.test", "VRFY <george>", "VRFY geoffrey", "MAIL FROM:<a@b.example>", "RCPT TO:<george@x.test>", "DATA"),
    ("EHLO me.test", "AUTH", "VRFY george", "EXPN all", "MAIL FROM:<a@b.example>", "RCPT TO:<george@x.test>", "RSET"),
)
"""At most five of VRFY and EXPN each: sendmail slows who says more."""
WITHOUT_AUTH = SESSIONS[:2]

POLICIES = {
    "internal-vrfy": """
networks: {internal: [127.0.0.1/32, "::1/128", 10.16.0.0/12, "2001:db8::/33"]}
rulesets:
  check_vrfy: [{from: internal, action: forward}, {action: reply}]
  check_expn: [{from: internal, action: forward}, {action: reply}]
""",
    "off the borders of octets": """
networks: {upper: [192.0.2.128/25, "2001:db8:8000::/33"], some: [10.0.0.0/11, 192.0.2.64/26, "2001:db8::/127"]}
rulesets:
  check_vrfy:
    - {from_not: [upper, some, 127.0.0.0/8], reply: "550 5.7.1 it's #1 for `len' (shift), isn't it"}
    - {from: some, argument: ["geo*", "<G?orge>"], action: forward}
    - {from: upper, action: reply, reply: "450 4.7.1 define(this) later"}
  check_expn: [{from: [upper, 10.20.30.40], from_not: some, action: forward}, {action: reply}]
  check_etrn: [{from: upper, action: reply}, {from: "::1", reply: "458 4.3.0 Unable to queue"}]
  check_mail: [{from: 192.0.2.130, reply: "550 5.7.1 no mail from you"}]
  check_rcpt: [{from: "2001:db8::7", reply: "450 4.7.1 no recipients today"}]
  check_data: [{from: 10.20.30.40, reply: "550 5.7.1 no data, 100% %s %n; `x' <y>"}]
""",
    "who has authenticated": """
networks: {here: [127.0.0.0/8]}
privacy_options: [noetrn, needmailhelo]
rulesets:
  check_vrfy: [{authenticated: true, action: forward}, {action: reply}]
  check_expn: [{from: here, authenticated: false, action: forward}, {tls: true, action: forward}, {action: reply}]
  check_rcpt: [{from_not: here, authenticated: false, reply: "530 5.7.0 Authentication required"}]
""",
    "options before other rules": """
privacy_options: [needvrfyhelo, noexpn]
networks: {here: [127.0.0.0/8]}
rulesets:
  check_etrn: [{from: here, action: forward}, {reply: "502 5.7.0 Not you"}]
""",
}

CHECKS = """LOCAL_CONFIG
C{Friends}192.0.2.70 IPv6:2001:db8:0:0:0:0:0:7
LOCAL_RULESETS
Scheck_vrfy
R$*\t\t\t$: $&{client_addr}
R127.0.0.1\t\t$@ OK\tthis host
R10.$*\t\t\t$@ OK
R$={Friends}\t\t$#OK
RIPv6:2001:db8:$+\t$#error $@ 4.7.1 $: "450 4.7.1 not now"
R$*\t\t\t$#error $@ 2.5.2 $: "252 2.5.2 Cannot VRFY user"
Scheck_expn
R$*\t\t\t$: $&{client_addr}
R192.0.$-.$-\t\t$#error $: "550 not for 192.0"
RIPv6:0:0:0:0:0:0:0:1\t$@ OK
R$*\t\t\t$#error $@ 5.7.1 $: "no lists"
Scheck_etrn
R$*\t\t\t$#error $: 458 Unable
"""

ACCESS = """# of a site
Connect:10\tRELAY
Connect:192.0.2\tREJECT
192.0.2.70\tOK
IPv6:2001:db8\tERROR:5.7.1:550 go away
Connect:IPv6:2001:db8:8000\tRELAY
Connect:127\tRELAY
192.0.2.130\tERROR:"550 5.7.9 you in particular"
"""


@contextmanager
def guarded(host: Host, folder: Path, plain: RealSendmail, policy: str) -> Iterator[list[int]]:
    """Run a guard with a policy in front of the plain sendmail; give its ports, of IPv4 and of IPv6."""
    backend = "127.0.0.1", plain.port
    # As the rig calls sendmail's.
    named = [{"endpoint": server_endpoint(one), "name": f"MTA{n}"} for n, one in enumerate(("0.0.0.0", "::"), 1)]
    settings = {"listen": named}
    with host.inside(), ConfiguredGuard(folder, backend, policy, settings, listen=("0.0.0.0", "::")) as guard:
        yield guard.ports


def assert_alike(host: Host, server: RealSendmail, ports: Sequence[int], sessions: Sequence[Sequence[str]]) -> None:
    """Hold that from every address every session gets the same replies of both."""
    own = [port for _, port in server.listeners]
    for address in ADDRESSES:
        at = 1 if ":" in address else 0
        for session in sessions:
            expected = ask_from(host, address, own[at], session)
            assert ask_from(host, address, ports[at], session) == expected, (address, session)


@pytest.mark.parametrize("name", POLICIES)
def test_a_sendmail_with_the_exported_rules_answers_as_the_guard_with_the_policy(
    name: str, host: Host, plain: RealSendmail, tmp_path: Path
) -> None:
    """In all its forms: networks off the borders of octets, IPv6, arguments, AUTH, MAIL, RCPT and DATA."""
    found = export(tmp_path, POLICIES[name])
    assert not found.remarks
    with (
        host.inside(),
        RealSendmail(listen=EVERYWHERE, auth=True, extra_mc=found.text) as server,
        guarded(host, tmp_path, plain, POLICIES[name]) as ports,
    ):
        assert_alike(host, server, ports, SESSIONS)


def test_exported_networks_fit_addresses_that_sendmail_writes_compressed(
    host: Host, plain: RealSendmail, tmp_path: Path
) -> None:
    """UseCompressedIPv6Addresses changes how rule sets see them."""
    policy = POLICIES["off the borders of octets"]
    compressed = "define(`confUSE_COMPRESSED_IPV6_ADDRESSES', `True')dnl\n"
    with (
        host.inside(),
        RealSendmail(listen=EVERYWHERE, auth=True, extra_mc=compressed + export(tmp_path, policy).text) as server,
        guarded(host, tmp_path, plain, policy) as ports,
    ):
        assert_alike(host, server, ports, WITHOUT_AUTH[:1])


@pytest.mark.parametrize("options", ["novrfy,noexpn,noetrn", "goaway", "authwarnings,needmailhelo,needvrfyhelo,noexpn"])
def test_the_guard_with_imported_privacy_options_answers_as_the_sendmail_that_they_are_of(
    options: str, host: Host, plain: RealSendmail, tmp_path: Path
) -> None:
    """The .cf of the one is all that the other has."""
    with host.inside(), RealSendmail(privacy_options=options, listen=EVERYWHERE, auth=True) as server:
        policy, _ = import_files(cf=server.configuration)
        with guarded(host, tmp_path, plain, policy) as ports:
            assert_alike(host, server, ports, WITHOUT_AUTH)


def test_the_guard_with_imported_rule_sets_answers_as_the_sendmail_that_they_are_of(
    host: Host, plain: RealSendmail, tmp_path: Path
) -> None:
    """Rule sets as administrators write them: addresses, their beginnings, a class."""
    with host.inside(), RealSendmail(listen=EVERYWHERE, auth=True, extra_mc=CHECKS) as server:
        policy, told = import_files(cf=server.configuration)
        assert not [one for one in told if "check_" in one]
        with guarded(host, tmp_path, plain, policy) as ports:
            assert_alike(host, server, ports, WITHOUT_AUTH)


def test_what_sendmail_reads_otherwise_than_it_looks_is_imported_as_sendmail_reads_it(
    host: Host, plain: RealSendmail, tmp_path: Path
) -> None:
    """Options that add up, the first word of each line of a class's file, and AUTH of those whom the map refuses."""
    run = run_directory("otherwise")
    access, friends = run / "access", run / "friends"
    access.write_text("Connect:192.0.2.70\tREJECT\n", "ascii")
    friends.write_text(
        "10.20.30.40 192.0.2.130\n# 192.0.2.130\n#192.0.2.130\nIPv6:2001:db8:0:0:0:0:0:7 office\n", "ascii"
    )
    make_map(access)
    more = (
        f"FEATURE(`access_db', `hash {access}')dnl\nLOCAL_CONFIG\nO PrivacyOptions=noetrn\n"
        f"O PrivacyOptions=noexpn;/needmailhelo\nF{{Friends}} {friends}\nLOCAL_RULESETS\nScheck_vrfy\n"
        'R$*\t$: $&{client_addr}\nR$={Friends}\t$@ OK\nR$*\t$#error $@ 5.7.1 $: "550 not you"\n'
    )
    with host.inside(), RealSendmail(listen=EVERYWHERE, auth=True, extra_mc=more) as server:
        policy, told = import_files(cf=server.configuration)
        assert not [one for one in told if "check_" in one]
        with guarded(host, tmp_path, plain, policy) as ports:
            assert_alike(host, server, ports, SESSIONS)
    shutil.rmtree(run)


@pytest.mark.parametrize(
    "more", ["", "FEATURE(`delay_checks')dnl\n", "define(`confREJECT_MSG', `$@ 5.7.9 $: \"550 not you\"')dnl\n"]
)
def test_the_guard_with_an_imported_access_map_answers_as_the_sendmail_that_it_is_of(
    more: str, host: Host, plain: RealSendmail, tmp_path: Path
) -> None:
    """The longest key decides, the one with Connect: first, also where it is an exception."""
    run = run_directory("access")
    access = run / "access"
    access.write_text(ACCESS, "ascii")
    make_map(access)
    with (
        host.inside(),
        RealSendmail(listen=EVERYWHERE, extra_mc=f"{more}FEATURE(`access_db', `hash {access}')dnl\n") as server,
    ):
        policy, _ = import_files(cf=server.configuration)
        assert "refused_2" in policy
        with guarded(host, tmp_path, plain, policy) as ports:
            assert_alike(host, server, ports, WITHOUT_AUTH)
    shutil.rmtree(run)


def make_map(path: Path) -> None:
    """Make the map of a text, as an administrator does."""
    with path.open("rb") as text:
        subprocess.run(["makemap", "hash", str(path)], stdin=text, check=True)
