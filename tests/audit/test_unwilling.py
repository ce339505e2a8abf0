"""Servers that do not play along: they get findings, not exceptions, and not much of our time."""

from __future__ import annotations

import socket
from time import monotonic
from typing import Any

import pytest

from smtpguard.audit.findings import Verdict
from smtpguard.audit.subject import CONNECTIONS, UNWELCOME, NotAsked, Subject, Unreachable
from smtpguard.audit.wishes import Wishes
from tests.rig.sendmail import free_port

from .scripted import Peer, Script, Scripted, table
from .support import audited, bad, found, one

OK, NOTE, WARNING, HOLE = Verdict


@pytest.mark.parametrize(
    "script",
    [
        lambda peer: None,
        lambda peer: peer.send(b"421 too many connections\r\n"),
        lambda peer: peer.send(b"\0\xff\x1b[2J" * 1000),
        lambda peer: peer.send(b"554 go away\r\n"),
    ],
    ids=["hangs up", "421", "garbage", "554"],
)
def test_a_server_that_lets_nobody_in_could_not_be_asked(script: Script) -> None:
    """It is not asked for ever, and nothing is said to be good."""
    with Scripted(script) as server:
        findings = found(server.port, source="", timeout=1.0)
        assert len(server.sessions) == UNWELCOME
    assert all(finding.unasked and finding.verdict is NOTE for finding in findings)


def test_a_server_that_says_nothing_is_left_after_a_few_time_outs() -> None:
    """And not after a time-out for every question."""
    begun = monotonic()
    with Scripted(lambda peer: peer.rest()) as server:
        findings = found(server.port, source="", timeout=0.2)
    assert monotonic() - begun < 10
    assert findings[0].seen == "could not be asked: banner: no answer"


def test_a_server_that_hangs_up_at_questions_is_asked_again_in_a_new_connection() -> None:
    """So what it says to the first question of a connection counts."""
    left = {"commands": 1}

    def script(peer: Peer) -> None:
        left["commands"] = 1
        peer.send(b"220 fake.test\r\n")
        while (line := peer.line()) is not None:
            if line.startswith((b"EHLO", b"RSET")):
                peer.send(b"250 ok\r\n")
            elif left["commands"]:
                left["commands"] -= 1
                peer.send(b"250 obeyed\r\n" if line == b"KILL" else b"500 no\r\n")
            else:
                peer.send(b"421 enough\r\n")
                return

    findings = audited(script, "verbs")
    assert bad(findings) == {("verbs", "KILL"): HOLE}
    assert one(findings, "WIZ").seen == "500 no"


def test_a_server_that_hangs_up_at_every_question_is_a_finding() -> None:
    """Of its own kind: it says nothing, so it tells nothing."""
    findings = audited(table({b"VRFY": None, b"EXPN": None, b"": None}), "vrfy", "expn", "verbs")
    assert {finding.seen for finding in findings} == {"closed the connection"}
    assert not bad(findings)


@pytest.mark.parametrize(
    "reply", [b"354 go\r\n", b"220 what\r\n", b"250-\r\n", b"1", b"\r\n", b"421 no\r\n", b"999 x\r\n"]
)
def test_no_reply_is_an_exception(reply: bytes) -> None:
    """The same one to every command, whatever it is; the audit ends, and no dot begins a line."""

    def script(peer: Peer) -> None:
        peer.send(b"220 fake.test\r\n")
        while (line := peer.line()) is not None:
            peer.send(b"250-fake.test\r\n250 STARTTLS\r\n" if line.startswith(b"EHLO") else reply)

    with Scripted(script) as server:
        findings = found(server.port, source="", timeout=0.05)
        assert len(server.sessions) <= CONNECTIONS
    assert findings
    assert not any(b"\n." in session.received for session in server.sessions)


def test_what_does_not_listen_is_unreachable() -> None:
    """And so is a name that nobody has."""
    port = free_port()
    with pytest.raises(Unreachable, match=f"127.0.0.1 port {port}: Connection refused"):
        Subject(Wishes("127.0.0.1", port))
    with pytest.raises(Unreachable, match=r"nobody\.invalid"):
        Subject(Wishes("nobody.invalid", port))


def test_a_name_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection goes to the address that answered first, whatever the DNS says later."""
    asked = []
    real = socket.getaddrinfo

    def spy(host: str, *arguments: Any, **options: Any) -> Any:
        asked.append(host)
        return real(host, *arguments, **options)

    with Scripted(table()) as server:
        monkeypatch.setattr(socket, "getaddrinfo", spy)
        subject = Subject(Wishes("localhost", server.port))
        # Where it is ::1 too, nobody listens there.
        assert subject.address == "127.0.0.1"
        assert subject.ask(b"HELP", b"HELP", b"HELP", b"HELP")[3].code == 500
        assert len(server.wait(2)) == 2
        monkeypatch.undo()
    assert asked == ["localhost"]


def test_there_is_one_conversation_at_a_time() -> None:
    """A server may allow us no more."""
    with Scripted(table()) as server:
        subject = Subject(Wishes("127.0.0.1", server.port))
        with subject.greeted(), pytest.raises(RuntimeError, match="open already"), subject.greeted():
            pass
        with subject.greeted():
            pass


def test_connections_are_counted() -> None:
    """The last ones of an audit could not be asked, if a server makes us need more."""
    with Scripted(table()) as server:
        subject = Subject(Wishes("127.0.0.1", server.port))
        subject.connections = CONNECTIONS
        # The one that found the address is there already.
        assert subject.ask(b"HELP")[0].code == 500
        with pytest.raises(NotAsked, match="100 connections were made"):
            subject.ask(b"HELP")
