"""Whom a real Postfix, Exim and sendmail would relay for is who is in the network made of their file."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from random import Random  # noqa: TID251 - seeded
from typing import Final

import pytest

from smtpguard.config import network_files
from smtpguard.policy.networks import NetworkTable, Peer
from tests.rig.client import Talk
from tests.rig.exim import RealExim
from tests.rig.postfix import RealPostfix

ASKED: Final = (
    *("127.0.0.1", "10.1.2.3", "10.1.2.4", "10.1.3.4", "10.2.0.1", "11.0.0.1", "192.0.2.1", "192.0.2.2", "192.168.1.5"),
    *("192.168.2.5", "203.0.113.9", "255.255.255.255", "1.2.3.4", "172.16.0.255", "172.16.1.0"),
    *("::1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "2001:db9::1", "fe80::1"),
)
"""Clients on both sides of the edges of the lists below."""
MADE_UP: Final = 25
"""Lists from a seeded generator, besides those that are written down."""


def inside(path: Path, form: str, name: str = "") -> set[str]:
    """Return who is in the network, which must be without faults."""
    blocks, faults = network_files.read(path, form, name)
    assert not [str(fault) for fault in faults if not fault.warning]
    table = NetworkTable({"n": blocks})
    return {text for text in ASKED if table.names_of(Peer.parse(text))}


def made_up(seed: int, ipv6: str) -> list[str]:
    """Return patterns that lie in one another, some with `!`."""
    chance = Random(seed)
    blocks = [
        *("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3", "10.1.2.4/32", "127.0.0.0/8"),
        *("192.0.2.0/31", "192.0.2.2", "192.168.0.0/16", "172.16.0.0/24", "203.0.113.8/30", "128.0.0.0/1"),
        *(ipv6.format(*one.split("/")) for one in ("2001:db8::/32", "2001:db8::/64", "2001:db8::1/128", "::/0")),
    ]
    return [chance.choice(("", "", "!")) + chance.choice(blocks) for _ in range(chance.randint(1, 6))]


# -- Postfix --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postfix() -> Iterator[RealPostfix]:
    """One whose processes serve one client each, so that each reads main.cf anew."""
    settings = {
        "max_use": "1",
        "inet_protocols": "all",
        "smtpd_authorized_xclient_hosts": "0.0.0.0/0 [::]/0",  # whom the last one has named, too
        "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
    }
    with RealPostfix(settings) as server:
        yield server


def relayed_by_postfix(server: RealPostfix, value: str) -> set[str]:
    """Return for whom it relays if mynetworks is so; it is told by XCLIENT who asks."""
    main = server.root / "etc/postfix/main.cf"
    before, _, _ = main.read_text().partition("# the last one counts\n")
    main.write_text(f"{before}# the last one counts\nmynetworks = {value}\n")
    os.utime(main, (0, 0))  # as in the rig
    found = set()
    with Talk(server.address, server.port) as client:
        client.say("EHLO client.test")
        for text in ASKED:
            told = f"IPV6:{text}" if ":" in text else text
            assert client.say(f"XCLIENT ADDR={told} NAME=[UNAVAILABLE]").startswith("220 ")
            client.say("EHLO client.test")
            assert client.say("MAIL FROM:<>").startswith("250 ")
            reply = client.say("RCPT TO:<a@elsewhere.example>")
            assert reply.startswith(("250 2.1.5", "554 5.7.1 ")), reply
            if reply.startswith("250"):
                found.add(text)
            client.say("RSET")
    return found


POSTFIX_LISTS: Final = (
    "127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128",
    "127.0.0.0/8, [::1]/128, !10.1.2.3, 10.0.0.0/8",
    "10.0.0.0/8, !10.1.2.3",
    "!!10.1.2.3 !!!10.1.2.4 10.1.2.0/24",
    "[10.1.2.0]/24 [2001:db8::1] [2001:DB8:0:0::2] 203.0.113.9/32",
    "\n  192.168.0.0/16,\n# no continuation\n\n  [2001:db8::]/32 !10.0.0.0/8 0.0.0.0/0",
    "$ours, 192.0.2.1\nours = 10.1.2.0/24 !10.1.3.4 ${theirs}\n  10.1.3.0/24\ntheirs = 172.16.0.0/24",
    "!/FILE, 10.0.0.0/8, 192.168.1.5",
    "/FILE 11.0.0.1",
    *(", ".join(made_up(seed, "[{}]/{}")) for seed in range(MADE_UP)),
)


def test_postfix_relays_for_those_who_are_in_the_network_of_its_main_cf(postfix: RealPostfix, tmp_path: Path) -> None:
    """Each list as it stands in main.cf, and as `postconf -h` prints it; FILE is a list with its own exceptions."""
    listed = tmp_path / "listed"
    listed.write_text("# clients\n10.1.2.0/24, !10.1.3.4\n  10.1.3.0/24 [2001:db8::]/32\n")
    (postfix.root / "listed").write_text(listed.read_text())
    seen = set()
    for number, value in enumerate(POSTFIX_LISTS):
        real = relayed_by_postfix(postfix, value.replace("/FILE", "/listed"))
        main = tmp_path / f"main-{number}.cf"
        main.write_text(f"myhostname = x.test\nmynetworks = {value.replace('/FILE', str(listed))}\n")
        assert inside(main, "postfix") == real, value
        seen.add(frozenset(real))
        if "=" not in value and "\n" not in value:
            main.write_text(main.read_text().partition("mynetworks = ")[2])
            assert inside(main, "postfix") == real, value
    assert len(seen) > 20  # and not all of them everybody


# -- Exim -----------------------------------------------------------------------------------------

EXIM_LISTS: Final = (
    "127.0.0.1 : ::::1 : 192.168.0.0/16",
    "<; 127.0.0.1 ; ::1 ; 2001:db8::/32;!10.1.2.3;10.0.0.0/8",
    "<, 10.1.2.3, ::1",
    " !10.1.2.3 : ! 10.1.3.0/24 : 10.0.0.0/8",
    "!10.0.0.0/8",
    "!10.0.0.0/8 : 10.1.2.3",
    "!10.0.0.0/8 :  ",
    "!10.0.0.0/8 : : 1.2.3.4",
    ": 10.1.2.99/24 : 2001::db8::::1",
    "*",
    "!10.0.0.0/8 : *",
    "+list1 : 11.0.0.1",
    "!+list1 : !1.2.3.4",
    "+ignore_unknown : 10.1.2.3 : \\\n   # no item\n   ::::1 : \\\n  10.1.2.4",
    "MAIN_NETS",
    "!/FILE : 10.0.0.0/8 : 192.168.1.5",
    "/FILE",
    "10.1.2.3 : /FILE : !1.2.3.4",
    *(" : ".join(made_up(seed, "{}/{}")).replace("::", "::::").replace("1:db8", "1::db8") for seed in range(MADE_UP)),
)


class RelayingExim(RealExim):
    """One that relays for those in the list that the recipient names."""

    def configure(self, root: Path) -> None:
        """Put a question for each list in front of those of the rig."""
        super().configure(root)
        file = root / "etc/exim4/exim4.conf"
        rules = "".join(
            f"  accept local_parts = list{number}\n         hosts = {value}\n"
            for number, value in enumerate(EXIM_LISTS)
        )
        text = file.read_text().replace("recipients:\n", f"recipients:\n{rules.replace('/FILE', '/listed')}", 1)
        file.write_text(f"{MACRO}hostlist list1 = {EXIM_LISTS[1]}\n{text}")
        (root / "listed").write_text(LISTED)

    def relayed_for(self, address: str) -> set[int]:
        """Return the lists that a client is in, which a session without a network tells (-bh)."""
        assert self._process is not None
        said = ["EHLO client.test", "MAIL FROM:<a@elsewhere.example>"]
        said += [f"RCPT TO:<list{number}@elsewhere.example>" for number in range(len(EXIM_LISTS))]
        into = ("nsenter", f"--target={self._process.pid}", "--mount", "chroot", str(self.root))
        done = subprocess.run(
            [*into, "/usr/sbin/exim4", "-bh", address],
            input="\r\n".join([*said, "QUIT", ""]),
            capture_output=True,
            text=True,
            timeout=60,
        )
        replies = re.findall(r"^(\d{3}) .*$", done.stdout, re.MULTILINE)
        assert len(replies) == len(said) + 2, done.stdout + done.stderr
        assert set(replies[3:-1]) <= {"250", "550"}, done.stdout + done.stderr
        return {number for number, reply in enumerate(replies[3:-1]) if reply == "250"}


MACRO: Final = "MAIN_NETS = <; 10.1.2.3 ; ::1\n"
LISTED: Final = "# clients\n10.1.2.0/24 # all of them\n!10.1.3.4\n10.1.3.0/24\n\n2001:db8::/32\n"


def test_exim_relays_for_those_who_are_in_the_network_of_its_list(tmp_path: Path) -> None:
    """Each list as it stands in a configuration; FILE is a file of hosts with its own exceptions."""
    with RelayingExim() as server:
        real = {text: server.relayed_for(text) for text in ASKED}
    listed, conf = tmp_path / "listed", tmp_path / "exim4.conf"
    listed.write_text(LISTED)
    lists = "".join(f"hostlist list{number} = {value}\n" for number, value in enumerate(EXIM_LISTS))
    conf.write_text(f"{MACRO}{lists.replace('/FILE', str(listed))}\nbegin acl\nhostlist list0 = *\n")
    seen = set()
    for number, value in enumerate(EXIM_LISTS):
        expected = {text for text, lists_of in real.items() if number in lists_of}
        assert inside(conf, "exim", f"list{number}") == expected, value
        seen.add(frozenset(expected))
    assert inside(listed, "exim") == {text for text in ASKED if EXIM_LISTS.index("/FILE") in real[text]}
    assert len(seen) > 20


# -- sendmail -------------------------------------------------------------------------------------

ACCESS: Final = (
    "Connect:10.1 RELAY\n10.1.2\tREJECT\nConnect:10.1.2.4 RELAY\nTo:11 RELAY\nFrom:11.0.0.1 RELAY\n",
    "# 127 RELAY\n10 RELAY\nConnect:10.1 OK\n10.1.3 relay\n10.2.0.1 ERROR:5.7.1:550 no\nConnect:IPv6:2001:db8 RELAY\n",
    "IPv6:2001:db8 RELAY\nConnect:IPv6:2001:DB8:0:1 REJECT\nIPv6:FE80 RELAY\nConnect:1.2.3 RELAY\n1.2.3 OK\n",
    "192.168. RELAY\n172.16.0.0/24 RELAY\nIPv6:2001:db8::1 RELAY\n010.1 RELAY\nexample.org RELAY\n203.0.113.9\tRELAY\n",
)
CLASS_R: Final = (
    "172.16.0. example.org # 10\n192.0.2.1\t203\n\nIPv6:2001:db8\nipv6:2001:db9:0:0 IPv6:FE80 8.8/16\n",
    "example.net\n192.168 10.1.2.4\n255.255.255.255\n1.2.3\n[10.1.2.3]\n",
)
_MC: Final = """\
divert(0)dnl
include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(`debian')dnl
define(`confCR_FILE', `-o {0}/relay-domains %[^\\#]')dnl
define(`confDOMAIN_NAME', `x.test')dnl
define(`confDONT_PROBE_INTERFACES', `True')dnl
define(`confDONT_BLAME_SENDMAIL', `MapInUnsafeDirPath,ClassFileInUnsafeDirPath')dnl
FEATURE(`nocanonify')dnl
FEATURE(`access_db', `hash -T<TMPF> {0}/access')dnl
MAILER(`smtp')dnl
"""
_ASK: Final = """\
set -eu
hostname x.test
echo '127.0.1.1 x.test x' >hosts
echo 'hosts: files' >nsswitch.conf
mount --bind hosts /etc/hosts
mount --bind nsswitch.conf /etc/nsswitch.conf
exec sendmail -bt -C "$PWD/sendmail.cf"
"""
LOCAL: Final = frozenset({"127.0.0.1", "::1"})
"""sendmail relays for them whatever its files say."""


def relayed_by_sendmail(folder: Path, access: str, class_r: str) -> set[str]:
    """Return for whom its own rules say RELAY."""
    (folder / "access").write_text(access)
    (folder / "relay-domains").write_text(class_r)
    (folder / "sendmail.mc").write_text(_MC.format(folder))
    made = subprocess.run(["m4", "sendmail.mc"], cwd=folder, capture_output=True, check=True)
    (folder / "sendmail.cf").write_bytes(made.stdout)
    subprocess.run(["makemap", "hash", "access"], cwd=folder, input=access.encode(), check=True)
    asked = ""
    for text in ASKED:
        groups = (
            ":".join(f"{int(group, 16):x}" for group in ip_address(text).exploded.split(":")) if ":" in text else ""
        )
        asked += f".D{{client_addr}}{f'IPv6:{groups}' if groups else text}\n"
        asked += f".D{{client_name}}[{text}]\n.D{{client_resolve}}FAIL\nRelay_ok 0\n"
    done = subprocess.run(
        ["unshare", "--uts", "--mount", "/bin/sh", "-c", _ASK],
        cwd=folder,
        input=asked,
        capture_output=True,
        text=True,
        timeout=60,
    )
    answers = re.findall(r"^Relay_ok +returns: (.*)$", done.stdout, re.MULTILINE)
    assert len(answers) == len(ASKED), done.stdout + done.stderr
    return {text for text, answer in zip(ASKED, answers, strict=True) if answer == "RELAY"} - LOCAL


@pytest.mark.parametrize(
    ("access", "class_r"), [*((access, "") for access in ACCESS), *(("", class_r) for class_r in CLASS_R)]
)
def test_sendmail_relays_for_those_who_are_in_the_network_of_its_file(
    tmp_path: Path, access: str, class_r: str
) -> None:
    """Its own rules are asked (-bt): with the access map made of the text, or with the file of class R."""
    real = relayed_by_sendmail(tmp_path, access, class_r)
    assert real
    assert inside(tmp_path / ("access" if access else "relay-domains"), "sendmail") == real
