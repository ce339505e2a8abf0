"""VRFY where no filter looks for it: hidden in lines, behind them, and in messages that never end."""

from __future__ import annotations

import pytest

from smtpguard.audit.findings import Verdict

from .scripted import ANY_END, Peer, Script, Scripted, table
from .support import audited, found, one

OK, NOTE, WARNING, HOLE = Verdict


def test_a_filter_that_looks_at_the_beginning_of_a_line_is_seen_through() -> None:
    """It refuses VRFY, and the server behind it skips blanks, TABs and half line ends."""
    tell = b"250 George <george@mx>\r\n"
    behind = {b"  VRFY": tell, b"\tVRFY": tell, b"VRFY\t": tell, b"VRFY\x0b": tell, b"VRFY\0": tell}
    findings = audited(table(behind, end=ANY_END), "forms")
    holes = {finding.asked for finding in findings if finding.verdict is HOLE}
    assert holes == {"two blanks before", "TAB before", "TAB for the blank", "VT for the blank", "NUL for the blank"}
    # What is behind the LF is read as a line, and refused as ever.
    assert one(findings, "behind NOOP and LF").verdict is NOTE


def splitting(plain: bytes, behind: bytes) -> Script:
    """A server that answers what stands behind a bare LF apart from the rest."""

    def script(peer: Peer) -> None:
        peer.send(b"220 fake.test\r\n")
        while (line := peer.line()) is not None:
            first, *more = line.split(b"\n")
            if first.upper().startswith(b"VRFY"):
                peer.send(plain)
            elif first.upper() == b"QUIT":
                peer.send(b"221 bye\r\n")
                return
            else:
                peer.send(b"250 ok\r\n")
            for _ in more:
                peer.send(behind)

    return script


@pytest.mark.parametrize(
    ("plain", "behind", "verdict"),
    [
        (b"252 no\r\n", b"250 george\r\n", HOLE),
        (b"252 no\r\n", b"550 5.1.1 unknown\r\n", HOLE),
        (b"502 no\r\n", b"252 try\r\n", HOLE),
        (b"250 george\r\n", b"250 george\r\n", WARNING),
        (b"252 no\r\n", b"252 no\r\n", NOTE),
        (b"252 no\r\n", b"500 what\r\n", NOTE),
    ],
)
def test_the_worth_of_a_hidden_line_depends_on_the_plain_form(plain: bytes, behind: bytes, verdict: Verdict) -> None:
    """What gets past a refusal is a hole; what is not refused anyway is less."""
    assert one(audited(splitting(plain, behind), "forms"), "behind NOOP and LF").verdict is verdict


@pytest.mark.parametrize("cut", [512, 1024, 2047, 2048, 16385])
def test_the_tail_of_a_long_line_that_runs_is_a_hole(cut: int) -> None:
    """For every buffer that is asked about, and only for that."""

    def script(peer: Peer) -> None:
        peer.send(b"220 fake.test\r\n")
        while (line := peer.line()) is not None:
            for piece in [line[at : at + cut] for at in range(0, len(line), cut)]:
                if piece.strip().upper().startswith(b"VRFY"):
                    peer.send(b"250 George <george@mx>\r\n" if len(line) > cut else b"252 no\r\n")
                else:
                    peer.send(b"221 bye\r\n" if piece == b"QUIT" else b"250 ok\r\n")

    findings = audited(script, "long-lines")
    length = 2048 if cut == 2047 else cut
    assert one(findings, f"behind {length} octets").verdict is HOLE
    assert {finding.verdict for finding in findings if int(finding.asked.split()[1]) < cut} <= {OK}


@pytest.mark.parametrize(
    ("plain", "behind", "verdict"),
    [
        (b"252 no\r\n", b"250 George <george@mx>\r\n", HOLE),
        (b"502 no\r\n", b"252 no\r\n", HOLE),
        (b"250 George <george@mx>\r\n", b"252 no\r\n", OK),
        (b"252 no\r\n", b"500 no\r\n", OK),
        (b"252 no\r\n", b"252 no\r\n", OK),
    ],
)
def test_a_filter_that_takes_a_refused_data_for_a_message_is_a_hole(
    plain: bytes, behind: bytes, verdict: Verdict
) -> None:
    """Behind it the server answers what the filter refuses elsewhere."""

    def script(peer: Peer) -> None:
        blind = False
        peer.send(b"220 fake.test\r\n")
        while (line := peer.line()) is not None:
            if line.startswith(b"VRFY"):
                peer.send(behind if blind else plain)
            elif line == b"DATA":
                blind = True
                peer.send(b"503 no\r\n")
            else:
                peer.send(b"221 bye\r\n" if line == b"QUIT" else b"250 ok\r\n")

    assert one(audited(script, "data"), "VRFY behind a refused DATA").verdict is verdict


@pytest.mark.parametrize(("reply", "verdict"), [(b"", NOTE), (b"421 bare LF\r\n", OK), (b"550 5.6.0 bare LF\r\n", OK)])
def test_a_bare_lf_in_a_message_is_good_only_if_it_is_refused_at_once(reply: bytes, verdict: Verdict) -> None:
    """The message has no end, and its connection is reset."""

    def script(peer: Peer) -> None:
        peer.send(b"220 fake.test\r\n")
        while (line := peer.line()) is not None:
            peer.send(b"354 go\r\n" if line == b"DATA" else b"250 ok\r\n")
            if line == b"DATA":
                while (line := peer.line()) is not None:
                    if b"\n" in line:
                        peer.send(reply)
                return

    with Scripted(script) as server:
        findings = found(server.port, "bare-lf", source="", timeout=1.0)
        # The greeting, for the name of the server, and the message.
        assert server.wait(2)[1].was_reset
    assert one(findings, "in a message").verdict is verdict
    assert not any(b"\n." in session.received for session in server.sessions)
