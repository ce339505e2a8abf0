"""The client streams of tests/vectors, under the perimeter rules, from outside.

Each runs with its segments as written and octet by octet, against a server that follows the standard
and the stream's own script; what it must hold is checked on what either side got.
"""

from __future__ import annotations

import re
from collections import deque

import pytest

from smtpguard.policy.rules import Policy
from smtpguard.smtp.terms import StartTls
from tests.vectors import Stream, load

from .backends import Scripted, verbs_of
from .table import Split, Table, each_octet, perimeter, policy, whole

STREAMS = {stream.id: stream for stream in load()}
REFUSED = frozenset(
    b"ATRN DEBUG ETRN EXPN KILL ONEX PROXY SAML SEND SHELL SHOWQ SOML TURN VERB VRFY WIZ XCLIENT XEXCH50 XFORWARD "
    b"XUSR BURL XPROXYTO XPROXYFROM X-EXPS INTERNALCMD WELLKNOWN BDAT STARTTLS".split()
)


def relaying() -> Policy:
    """Return a policy under which outsiders may send mail to the backend's own domain only."""
    return policy("networks: {internal: [127.0.0.1/32]}\nrelay_domains: [mx.test]\nrulesets: {}")


class Game:
    """A stream being played."""

    def __init__(self, stream: Stream, split: Split) -> None:
        backend = stream.backend
        self.split = split
        self.table = Table(
            relaying() if stream.stage == "deployment" else perimeter(),
            profile="sendmail-legacy" if stream.stage == "profile" else "default",
            starttls=StartTls.OFFERED if stream.stage == "tls" else StartTls.HIDDEN,
        )
        self.server = Scripted(
            (backend and backend.banner) or b"220 mx.test ESMTP\r\n",
            backend.ehlo if backend else None,
            backend.script if backend else {},
        )
        self.seen_by_client = b""
        self.seen_by_backend = b""
        self.sent_by_client = b""
        self.forwarded_in_lockstep = True

    def play(self, stream: Stream) -> None:
        self._answers(deque(self.server.greet()))
        for step in stream.steps:
            match step.kind:
                case "send":
                    self.sent_by_client += step.octets
                    for segment in self.split(step.octets):
                        self.table.client(segment)
                        self._exchange()
                        self.table.be_patient()
                case "backend_send":
                    self.table.backend(step.octets)
                case "backend_close":
                    self.table.perform(self.table.dialogue.backend_lost())
                case "half_close":
                    self.table.client_finished()
                case "tls" if self.table.closed is None:
                    assert self.table.tls_begun
                    self.table.perform(self.table.dialogue.tls_established(frozenset()))
            self._exchange()

    def _exchange(self) -> None:
        """Let the server answer until both are quiet."""
        while octets := self.table.take_backend():
            self.seen_by_backend += octets
            if b"\r\n" in octets[:-2] and not self.server._content:
                self.forwarded_in_lockstep = False
            self._answers(deque(self.server.feed(octets)))
        self.seen_by_client += self.table.take_client()

    def _answers(self, segments: deque[bytes]) -> None:
        while segments and self.table.closed is None:
            self.table.backend(segments.popleft())
            self.seen_by_client += self.table.take_client()


def played(stream_id: str, split: Split) -> Game:
    game = Game(STREAMS[stream_id], split)
    game.play(STREAMS[stream_id])
    return game


def replies_in(octets: bytes) -> list[bytes]:
    """Cut what the client got into replies; raises AssertionError if it is not made of them."""
    found = re.findall(rb"(?:\d{3}-[^\n]*\r\n)*\d{3}(?: [^\n]*)?\r\n", octets)
    assert b"".join(found) == octets
    return found


@pytest.mark.parametrize("split", [whole, each_octet])
@pytest.mark.parametrize("stream_id", STREAMS)
def test_what_a_stream_must_hold_is_held(stream_id: str, split: Split) -> None:
    """Nothing refused reaches the server, and what the stream asks for besides is there."""
    stream = STREAMS[stream_id]
    game = played(stream_id, split)
    for command in game.server.commands:
        if stream_id != "auth-as-continuation-word":
            assert not REFUSED & set(verbs_of(command)), command
    assert b"CANARY" not in game.seen_by_client
    assert game.forwarded_in_lockstep
    replies_in(game.seen_by_client)
    for promise in (stream.must, *stream.also):
        PROMISES[promise](game, stream)


def nothing_more(game: Game, stream: Stream) -> None:
    """What holds for every stream was checked already."""


def in_order(game: Game, stream: Stream) -> None:
    """One reply a command, the banner first; the session is still in step, or ended by a QUIT."""
    replies = replies_in(game.seen_by_client)
    lines = game.sent_by_client.count(b"\r\n")
    quit_at = game.sent_by_client.upper().find(b"QUIT\r\n")
    if quit_at >= 0:
        lines = game.sent_by_client[:quit_at].count(b"\r\n") + 1
    for message in game.server.messages:
        lines -= message.count(b"\r\n") + 1 - 1  # the content has no reply, its end has
    assert len(replies) == lines + 1


def accepted_unchanged(game: Game, stream: Stream) -> None:
    assert game.seen_by_backend == game.sent_by_client
    assert game.server.quit
    assert game.table.closed is not None
    assert not game.server.unfinished


def data_mode_kept(game: Game, stream: Stream) -> None:
    """The content is one message, and nothing in it was a command."""
    accepted_unchanged(game, stream)
    assert len(game.server.messages) == 1


def closed(game: Game, stream: Stream) -> None:
    assert game.table.closed is not None
    assert not game.server.quit


def fail_closed(game: Game, stream: Stream) -> None:
    closed(game, stream)
    assert replies_in(game.seen_by_client)[-1].startswith(b"421")


def no_message(game: Game, stream: Stream) -> None:
    assert game.table.closed is not None
    assert game.table.closed.abort_backend
    assert not game.server.messages


def boundary_clean(game: Game, stream: Stream) -> None:
    """What the backend said in clear is not told inside TLS; there is no session any more that could tell it."""
    assert b"injected" not in game.seen_by_client
    assert game.table.closed is not None


def relay_refused(game: Game, stream: Stream) -> None:
    """The guard denies it, and the backend, which would accept it, never hears of it."""
    assert b"550 5.7.1 Relaying denied\r\n" in game.seen_by_client
    assert b"RCPT" not in game.seen_by_backend
    assert game.server.quit


PROMISES = {
    "no_vrfy_reaches_backend": nothing_more,
    "no_vrfy_reaches_backend_profile_linebased": closed,
    "not_forwarded": nothing_more,
    "in_order_replies": in_order,
    "accepted_unchanged": accepted_unchanged,
    "data_mode_kept": data_mode_kept,
    "session_closed": closed,
    "reply_fail_closed": fail_closed,
    "message_not_accepted": no_message,
    "tls_boundary_clean": boundary_clean,
    "relay_refused": relay_refused,
}


def test_every_stream_is_played() -> None:
    """None is left out by accident."""
    assert len(STREAMS) == 154


def test_the_judge_sees_what_a_forwarder_lets_through() -> None:
    """Without the guard, the same streams do bring refused verbs to the server."""
    leaks = set()
    for stream in STREAMS.values():
        sent = b"".join(step.octets for step in stream.steps if step.kind == "send")
        server = Scripted()
        for _ in server.feed(sent):
            pass
        if any(REFUSED & set(verbs_of(command)) for command in server.commands):
            leaks.add(stream.id)
    assert len(leaks) > 80


@pytest.mark.parametrize("command", [b"DATA", b"data", b"AUTH LOGIN", b"AUTH", b"STARTTLS"])
def test_input_in_the_same_segment_behind_a_command_whose_reply_it_needs(command: bytes) -> None:
    """Neither is forwarded; octet by octet the command is, and the transcripts show what happens then."""
    for source in ("203.0.113.9", "127.0.0.1"):
        table = Table(source=source)
        table.backend(b"220 mx\r\n")
        table.take_client()
        table.client(command + b"\r\nV")
        assert table.take_client().startswith(b"554 5.5.0 ")
        assert table.closed is not None
        assert not table.to_backend
