"""XCLIENT: what a server is told of its client, and that a real Postfix takes it as it is meant."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpguard.identity.origin import Origin
from smtpguard.identity.xclient import attributes_offered, command
from smtpguard.policy.networks import UNIX_PEER, Peer
from tests.rig.client import Talk
from tests.rig.postfix import RealPostfix

LINE_OCTETS: Final = 512
"""RFC 5321 4.5.3.1.4: the longest command line, CRLF included."""
ALL = frozenset({b"NAME", b"ADDR", b"PORT", b"PROTO", b"HELO", b"LOGIN", b"DESTADDR", b"DESTPORT", b"REVERSE_NAME"})
NINE = Origin(Peer.parse("198.51.100.9"), 4711, Peer.parse("192.0.2.25"), 25)
SIX = Origin(Peer.parse("2001:db8::9"), 4711, Peer.parse("2001:db8::25"), 25)
LONGEST_NAME = ".".join(["n" * 63] * 3 + ["n" * 63])
FFFF = ":".join(["ffff"] * 8)
LONGEST_ADDRESS = Origin(Peer.parse(FFFF), 65535, Peer.parse(FFFF), 65535)


@pytest.mark.parametrize(
    ("reply", "offered"),
    [
        (b"250-mx\r\n250-XCLIENT NAME ADDR PORT\r\n250 SIZE\r\n", {b"NAME", b"ADDR", b"PORT"}),
        (b"250-mx\r\n250 xclient Name addr\r\n", {b"NAME", b"ADDR"}),
        (b"250-mx\r\n250 XCLIENT NAME ADDR \r\n", {b"NAME", b"ADDR"}),
        (b"250-mx\r\n250-XCLIENT\r\n250 SIZE\r\n", set()),
        (b"250-mx\r\n250-XCLIENTS NAME\r\n250 AUTH XCLIENT ADDR\r\n", set()),
        (b"250 XCLIENT NAME ADDR\r\n", set()),
        (b"500 what\r\n", set()),
        (b"", set()),
    ],
)
def test_what_is_offered_is_read_from_the_ehlo_reply(reply: bytes, offered: set[bytes]) -> None:
    """Its first line is a name, whatever it looks like."""
    assert attributes_offered(reply) == offered


@pytest.mark.parametrize(
    ("origin", "name", "line"),
    [
        (
            NINE,
            "mx.client.example",
            b"NAME=mx.client.example PORT=4711 DESTADDR=192.0.2.25 DESTPORT=25 ADDR=198.51.100.9 LOGIN=[UNAVAILABLE]",
        ),
        (
            SIX,
            None,
            b"NAME=[UNAVAILABLE] PORT=4711 DESTADDR=IPV6:2001:db8::25 DESTPORT=25 ADDR=IPV6:2001:db8::9 "
            b"LOGIN=[UNAVAILABLE]",
        ),
        (
            Origin(Peer.parse("::ffff:198.51.100.9"), 0, None, 0),
            "1.2.3.4",
            b"NAME=[UNAVAILABLE] PORT=[UNAVAILABLE] DESTADDR=[UNAVAILABLE] DESTPORT=[UNAVAILABLE] ADDR=198.51.100.9 "
            b"LOGIN=[UNAVAILABLE]",
        ),
        *(
            (
                origin,
                None,
                b"NAME=[UNAVAILABLE] PORT=[UNAVAILABLE] DESTADDR=[UNAVAILABLE] DESTPORT=[UNAVAILABLE] "
                b"ADDR=[UNAVAILABLE] LOGIN=[UNAVAILABLE]",
            )
            for origin in (None, Origin(UNIX_PEER, 0, None, 0))
        ),
    ],
)
def test_what_is_known_is_told_and_what_is_not_is_unavailable(
    origin: Origin | None, name: str | None, line: bytes
) -> None:
    """HELO and PROTO excepted, which the client itself will say; and a login is never left over."""
    assert command(ALL, origin, name) == b"XCLIENT " + line + b"\r\n"


def test_only_what_is_offered_is_told() -> None:
    """A server refuses what it does not know."""
    line = command(frozenset({b"ADDR", b"NAME"}), NINE, "mx.client.example")
    assert line == b"XCLIENT NAME=mx.client.example ADDR=198.51.100.9\r\n"


@pytest.mark.parametrize(
    "name",
    [
        "", "a b", "a+b", "-a.example", "a-.example", "a..example", "a.example.", "x" * 64, "1.2.3.4", "[UNAVAILABLE]",
        "é.example", LONGEST_NAME + "n", "a.example\n", "a\r\nQUIT",
    ],
)  # fmt: skip
def test_a_name_that_is_none_is_not_told(name: str) -> None:
    """Names come from whoever runs the client's reverse zone, and Postfix would refuse the whole line."""
    assert command(frozenset({b"ADDR", b"NAME"}), NINE, name) == b"XCLIENT NAME=[UNAVAILABLE] ADDR=198.51.100.9\r\n"


@given(
    st.sets(st.sampled_from(sorted(ALL))).map(lambda some: frozenset({*some, b"ADDR"})),
    st.sampled_from([None, NINE, SIX, LONGEST_ADDRESS]),
    st.none() | st.text() | st.text("a=+ \r\n.é", min_size=150) | st.just(LONGEST_NAME),
)
def test_a_line_is_a_line_whatever_the_values_are(
    offered: frozenset[bytes], origin: Origin | None, name: str | None
) -> None:
    """Within the bound of a command, and of what is offered."""
    line = command(offered, origin, name)
    assert len(line) <= LINE_OCTETS
    assert re.fullmatch(rb"XCLIENT( [A-Z]+=[!-<>-~]+)+\r\n", line)
    told = [word.partition(b"=")[0] for word in line.split()[1:]]
    assert len(set(told)) == len(told)
    assert set(told) == offered - {b"HELO", b"PROTO", b"REVERSE_NAME"}


# -- a real Postfix ------------------------------------------------------------------------


class BelievingPostfix(RealPostfix):
    """A Postfix that believes XCLIENT of this machine, and knows IPv6 addresses."""

    def configure(self, root: Path) -> None:
        super().configure(root)
        main = root / "etc/postfix/main.cf"
        settings = main.read_text().replace("inet_protocols = ipv4", "inet_protocols = all")
        main.write_text(settings + "smtpd_authorized_xclient_hosts = 127.0.0.0/8\n")
        os.utime(main, (0, 0))


@pytest.fixture(scope="module")
def postfix() -> Iterator[BelievingPostfix]:
    with BelievingPostfix() as server:
        yield server


def talk(
    server: BelievingPostfix, sender: str, greeting: str, origin: Origin | None, name: str | None
) -> tuple[str, str, str]:
    """Send a mail as the guard would; return the reply to XCLIENT, Received, and the `client=` of the log."""
    with Talk(server.address, server.port) as guard:
        guard.send(b"EHLO guard.test\r\n")
        offered = attributes_offered(guard.reply())
        assert offered == ALL
        believed = guard.say(command(offered, origin, name).removesuffix(b"\r\n"))
        for line in (greeting, f"MAIL FROM:<{sender}>", "RCPT TO:<bob@x.test>", "DATA"):
            assert guard.say(line)[0] in "23", line
        queued = re.fullmatch(r"250 2\.0\.0 Ok: queued as (\w+)", guard.say("Subject: x\r\n\r\nx\r\n."))
        assert queued is not None
        assert guard.say("QUIT").startswith("221")
    log = server.wait_log(rf"{queued[1]}: client=").partition("client=")[2]
    server.wait_log(rf"{queued[1]}: removed")
    (mail,) = (one for one in server.deliveries(1) if one.sender == sender)
    received = b"\n".join(mail.content.split(b"\n")[:2]).decode("ascii")
    return believed, re.sub(r"\s+", " ", received), log


@pytest.mark.parametrize(
    ("greeting", "origin", "name", "client", "protocol"),
    [
        ("EHLO me.example", NINE, "mx.client.example", "mx.client.example [198.51.100.9]", "ESMTP"),
        ("HELO me.example", NINE, "mx.client.example", "mx.client.example [198.51.100.9]", "SMTP"),
        ("EHLO me.example", SIX, None, "unknown [IPv6:2001:db8::9]", "ESMTP"),
        ("EHLO me.example", LONGEST_ADDRESS, LONGEST_NAME, f"{LONGEST_NAME} [IPv6:{FFFF}]", "ESMTP"),
        ("EHLO me.example", None, None, "unknown [unknown]", "ESMTP"),
    ],
)
def test_postfix_takes_the_client_for_who_it_is_and_its_greeting_from_itself(
    postfix: BelievingPostfix, greeting: str, origin: Origin | None, name: str | None, client: str, protocol: str
) -> None:
    """The guard says who it is right behind its own EHLO, long before the client greets."""
    sender = f"{greeting[:4]}{origin.peer.value if origin is not None else ''}@b.example"
    believed, head, log = talk(postfix, sender, greeting, origin, name)
    assert believed == "220 x.test ESMTP Postfix"
    assert head.startswith(f"Received: from me.example ({client}) by x.test (Postfix) with {protocol} "), head
    assert log == client.replace(" [IPv6:", "[").replace(" [", "[")


def test_postfix_does_what_is_said_of_it(postfix: BelievingPostfix) -> None:
    """The reasons why HELO and PROTO are left out, and all else comes in one line."""
    for lines, codes in (
        (["PROTO=[UNAVAILABLE] ADDR=198.51.100.9"], ["501"]),
        (["NAME=a+2Bb ADDR=198.51.100.9"], ["501"]),
        (["ADDR=198.51.100.9", "NAME=a.example"], ["220", "550"]),
        (["NAME=a.example", "ADDR=198.51.100.9"], ["220", "220"]),
    ):
        with Talk(postfix.address, postfix.port) as client:
            client.say("EHLO guard.test")
            assert [client.say(f"XCLIENT {line}")[:3] for line in lines] == codes
