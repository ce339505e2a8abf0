"""Each probe against servers that have what it looks for, and against one that has nothing."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from smtpguard.audit.disclosure import _compared
from smtpguard.audit.findings import Verdict

from .scripted import Peer, table
from .support import audited, bad, one

OK, NOTE, WARNING, HOLE = Verdict


def test_at_a_server_with_nothing_to_find_nothing_is_found() -> None:
    """But that it does not know STARTTLS."""
    assert bad(audited(table())) == {("starttls", "offered"): WARNING}


@pytest.mark.parametrize(
    ("banner", "verdict"),
    [
        (b"220 mx.example.org ESMTP\r\n", OK),
        (b"220 mx1.2.example.org ESMTP from [192.0.2.1]; 12:00:00 +0000\r\n", OK),
        (b"220 mx.example.org ESMTP Postfix\r\n", NOTE),
        (b"220 mx.example.org ESMTP Exim 4.96 Tue\r\n", WARNING),
        (b"220 mx.example.org ESMTP Sendmail 8.17.1.9/8.17; Tue\r\n", WARNING),
        (b"220-mx.example.org\r\n220 Something 2.5\r\n", WARNING),
    ],
)
def test_a_version_is_found_in_the_banner(banner: bytes, verdict: Verdict) -> None:
    """And neither a name, an address nor a time is taken for one."""
    assert one(audited(table(banner=banner), "banner"), "first line").verdict is verdict


def test_a_banner_in_another_form_is_told_of() -> None:
    """Something in front may have made it."""
    assert one(audited(table(banner=b"220 mx.example.org\n"), "banner"), "form").verdict is NOTE


@pytest.mark.parametrize(
    ("probe", "asked", "replies", "verdict"),
    [
        ("help", "HELP", {b"HELP": b"214 This is sendmail version 8.6\r\n"}, WARNING),
        ("help", "topics", {b"HELP": b"214-Commands\r\n214 EXPN NOOP\r\n"}, NOTE),
        ("ehlo", "XCLIENT", {b"EHLO": b"250-mx\r\n250 XCLIENT NAME ADDR\r\n"}, WARNING),
        ("ehlo", "X-EXPS", {b"EHLO": b"250-mx\r\n250 X-EXPS=LOGIN\r\n"}, NOTE),
        ("vrfy", "VRFY george", {b"VRFY GEORGE": b"250 George <george@mx>\r\n"}, WARNING),
        ("vrfy", "VRFY of no user", {b"VRFY NOBODY": b"550 5.1.1 no\r\n"}, WARNING),
        ("vrfy", "texts", {b"VRFY GEORGE": b"252 send some mail, try finger\r\n"}, WARNING),
        ("vrfy", "VRFY george", {b"VRFY": b"550 5.7.1 not for you\r\n"}, OK),
        ("expn", "EXPN staff", {b"EXPN STAFF": b"250-a@mx\r\n250 b@mx\r\n"}, WARNING),
        ("verbs", "DEBUG", {b"DEBUG": b"200 Debug set\r\n"}, HOLE),
        ("verbs", "WIZ", {b"WIZ": b"200 Please pass, oh mighty wizard\r\n"}, HOLE),
        ("verbs", "TURN", {b"TURN": b"250 your turn\r\n"}, HOLE),
        ("verbs", "VERB", {b"VERB": b"050 on\r\n250 Verbose mode\r\n"}, WARNING),
        ("recipients", "RCPT", {b"RCPT TO:<GEORGE@": b"250 ok\r\n"}, NOTE),
        ("http", "GET / HTTP/1.0", {b"GET": b"500 what\r\n"}, NOTE),
        ("identity", "XCLIENT", {b"XCLIENT": b"220 mx ESMTP\r\n"}, HOLE),
        ("identity", "XFORWARD", {b"XFORWARD": b"250 ok\r\n"}, WARNING),
        ("data", "DATA without MAIL", {b"DATA": b"354 go on\r\n"}, WARNING),
        ("starttls", "AUTH in clear", {b"EHLO": b"250-mx\r\n250 AUTH PLAIN LOGIN\r\n"}, WARNING),
        ("starttls", "AUTH in clear", {b"EHLO": b"250-mx\r\n250 AUTH=CRAM-MD5\r\n"}, NOTE),
        ("starttls", "offered", {b"EHLO": b"250-mx\r\n250 STARTTLS\r\n"}, OK),
    ],
)
def test_what_a_probe_looks_for_is_found(
    probe: str, asked: str, replies: Mapping[bytes, bytes | None], verdict: Verdict
) -> None:
    """One reply that differs from those of a good server."""
    finding = one(audited(table(replies), probe), asked)
    assert finding.verdict is verdict
    assert bool(finding.advice) is (verdict is not OK)


def test_an_old_queue_listing_without_codes_is_a_hole() -> None:
    """Nothing that is a reply ends it."""
    assert one(audited(table({b"SHOWQ": b"Mail queue is empty\r\n"}), "verbs"), "SHOWQ").verdict is HOLE


@pytest.mark.parametrize(
    ("known", "unknown", "verdict"),
    [
        ([0.001] * 8, [0.002] * 8, OK),
        ([0.050] * 8, [0.001] * 8, WARNING),
        ([0.001] * 8, [0.050] * 8, WARNING),
        ([0.001] * 5 + [0.2] * 3, [0.050] * 8, NOTE),
    ],
)
def test_times_tell_only_if_every_one_is_apart(known: list[float], unknown: list[float], verdict: Verdict) -> None:
    """A network that is slow now and then is no proof."""
    assert _compared(known, unknown).verdict is verdict


def test_a_name_that_takes_longer_is_found() -> None:
    """The server waits for its directory only if there is somebody to look up."""

    def script(peer: Peer) -> None:
        def slow(line: bytes) -> bool:
            return line.startswith(b"VRFY george")

        peer.send(b"220 fake.test\r\n")
        while (line := peer.line()) is not None:
            if slow(line):
                # Nothing comes meanwhile: this is the time it takes.
                peer.socket.settimeout(0.05)
                with pytest.raises(TimeoutError):
                    peer.socket.recv(1)
                peer.socket.settimeout(20)
            peer.send(
                b"252 no\r\n" if line.startswith(b"VRFY") else b"221 bye\r\n" if line == b"QUIT" else b"250 ok\r\n"
            )

    assert one(audited(script, "timing"), "VRFY").verdict is WARNING
