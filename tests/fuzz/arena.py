"""Plays one client's stream through a guard into one server, and keeps all that was said.

Contract: `play` feeds the guard as a shell would: segments as they are cut, no more while the guard
is not hungry, the backend's replies as they come, a delay ended as soon as it begins.  A Close ends
the server's input in order, or, where the guard asks for an abort, not at all.  A guard that raises
ends the play with `error` set; a server that raises is a fault of the model, and is not caught.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import Enum
from functools import cache
from random import Random  # noqa: TID251 - seeded
from typing import Final, Protocol

from attrs import Factory, define

from smtpguard.config import policy_file
from smtpguard.policy.rules import Policy
from smtpguard.smtp.bounds import Bounds
from smtpguard.smtp.effects import Close
from smtpguard.smtp.terms import StartTls
from tests.models.server import Server
from tests.smtp.table import OUTSIDE, Table, perimeter, policy

from .generator import ClientStream

BOUNDS: Final = Bounds()
_MOST_DELAYS: Final = 5000
_POKES: Final = (b"VRFY root\r\n", b"250 OK\r\n")


class Cut(Enum):
    """How the client's octets come in segments."""

    BURST = "burst"
    TURNS = "turns"
    """As the stream waits."""
    OCTETS = "octets"
    RAGGED = "ragged"
    """Turns, each cut at random."""
    RANDOM = "random"
    """At random, whatever the turns."""


class Timing(Enum):
    """When the client sends."""

    POLITE = "polite"
    """Segment by segment, each after the replies to the one before."""
    EARLY = "early"
    """All before the banner; the end when all is answered."""
    HURRIED = "hurried"
    """All before the banner, and the end with it."""


class Manner(Enum):
    """How the guard is set up, apart from the perimeter policy."""

    STRICT = "strict"
    CHUNKING = "chunking"
    """It forwards BDAT."""
    NORMALIZE = "normalize"
    """It forwards a bare LF as CRLF."""
    TLS = "tls"
    """It offers STARTTLS, and every handshake is done before the client's next octet."""


class Guard(Protocol):
    """What stands between client and server."""

    @property
    def closed(self) -> Close | None: ...
    @property
    def hungry(self) -> bool: ...
    def client(self, octets: bytes) -> None: ...
    def backend(self, octets: bytes) -> None: ...
    def client_finished(self) -> None: ...
    def backend_lost(self) -> None: ...
    def timed_out(self) -> None: ...
    def end_delays(self) -> None: ...
    def take_client(self) -> bytes: ...
    def take_backend(self) -> bytes: ...


class Seat(Table):
    """The guard itself, at a table."""

    _ended = 0
    _secured = 0

    @property
    def hungry(self) -> bool:
        return self.dialogue.hungry

    def backend_lost(self) -> None:
        self.perform(self.dialogue.backend_lost())

    def timed_out(self) -> None:
        self.perform(self.dialogue.timed_out())

    def end_delays(self) -> None:
        """Let every delay that was asked for be over, and every handshake done."""
        if self._secured < self.tls_begun and self.closed is None:
            self._secured += 1
            self.perform(self.dialogue.tls_established(frozenset()))
        while self._ended < len(self.waits) and self.closed is None:
            self._ended += 1
            assert self._ended < _MOST_DELAYS, "delays without end"
            self.perform(self.dialogue.delay_over())


@cache
def _policy(manner: Manner) -> Policy:
    if manner is not Manner.NORMALIZE:
        return perimeter()
    text = policy_file.find("perimeter").read_text("ascii").partition("\ntests:")[0]
    text = re.sub(r"internal: \[.*\]", "internal: [127.0.0.1/32]", text, count=1)
    return policy(f"bare_newline: normalize\n{text}")


def seat(source: str, profile: str, bounds: Bounds = BOUNDS, manner: Manner = Manner.STRICT) -> Seat:
    """Return a guard with the perimeter policy."""
    chunking = manner is Manner.CHUNKING
    starttls = StartTls.OFFERED if manner is Manner.TLS else StartTls.HIDDEN
    return Seat(
        policy=_policy(manner), source=source, bounds=bounds, profile=profile, chunking=chunking, starttls=starttls
    )


@define
class Record:
    """What came of it."""

    stream: ClientStream
    server: Server
    source: str
    cut: Cut
    timing: Timing
    manner: Manner = Manner.STRICT
    to_client: bytes = b""
    forwards: list[bytes] = Factory(list)
    """What went to the server, each time up to the point where the guard waited for it."""
    said: list[bytes] = Factory(list)
    """The server's banner and replies."""
    closed: Close | None = None
    hung: bool = False
    """The server owed a reply for ever, and a time-out ended the session."""
    unread: int = 0
    """Octets that the guard took before it could read any."""
    longest: int = 0
    """The longest segment."""
    error: str = ""

    @property
    def to_backend(self) -> bytes:
        return b"".join(self.forwards)


def segments(stream: ClientStream, cut: Cut) -> Iterator[bytes]:
    """Cut a stream; the same at every call."""
    match cut:
        case Cut.BURST:
            yield from (stream.octets,) if stream.octets else ()
        case Cut.TURNS:
            yield from stream.turns
        case Cut.OCTETS:
            octets = stream.octets
            for i in range(len(octets)):
                yield octets[i : i + 1]
        case Cut.RAGGED:
            rng = Random(stream.seed ^ 0x5EED)
            for turn in stream.turns:
                yield from _ragged(rng, turn)
        case Cut.RANDOM:
            yield from _ragged(Random(stream.seed ^ 0xBEEF), stream.octets)


def _ragged(rng: Random, octets: bytes) -> Iterator[bytes]:
    """Cut anywhere, and often where a line end or a dot could fall apart."""
    at = 0
    while at < len(octets):
        if rng.random() < 0.4:
            end = octets.find(rng.choice((b"\r", b"\n", b".", b"\r\n")), at) + 1 or len(octets)
        else:
            end = at + rng.choice((1, 1, 2, 3, 5, 17, 80, 1000))
        yield octets[at:end]
        at = end


def play(
    stream: ClientStream,
    server: Server,
    *,
    source: str = OUTSIDE,
    cut: Cut = Cut.TURNS,
    timing: Timing = Timing.POLITE,
    manner: Manner = Manner.STRICT,
    guard: Guard | None = None,
) -> Record:
    """Play `stream` into `server` through the guard, or through what is given for one."""
    record = Record(stream, server, source, cut, timing, manner)
    _Play(record, seat(source, server.profile, manner=manner) if guard is None else guard).run()
    return record


class _GuardRaised(Exception):
    """The guard broke; the record has the reason."""


class _Play:
    """One play."""

    def __init__(self, record: Record, guard: Guard) -> None:
        self.record = record
        self.guard = guard
        self.server = record.server
        self.octet_by_octet = record.cut is Cut.OCTETS and record.stream.seed & 1 == 1
        self.ended = False
        self.greeted = False

    def run(self) -> None:
        record = self.record
        try:
            if record.timing is Timing.POLITE:
                self.greet()
            for segment in segments(record.stream, record.cut):
                if self.guard.closed is not None:
                    break
                self.send(segment)
            if record.timing is Timing.HURRIED:
                self.tell(self.guard.client_finished)
            self.greet()
            if record.timing is not Timing.HURRIED and self.guard.closed is None:
                self.tell(self.guard.client_finished)
                self.exchange()
            if self.guard.closed is None:
                record.hung = True
                self.tell(self.guard.timed_out)
                self.exchange()
            for octets, side in zip(_POKES, (self.guard.client, self.guard.backend), strict=True):
                self.tell(side, octets)
            self.exchange()
        except _GuardRaised:
            pass
        record.closed = self.guard.closed

    def greet(self) -> None:
        """Let the server say its banner, once."""
        if not self.greeted:
            self.greeted = True
            self.hear([self.server.greet()])
            self.exchange()

    def send(self, segment: bytes) -> None:
        record = self.record
        record.longest = max(record.longest, len(segment))
        if not self.guard.hungry:
            self.greet()
        if not self.greeted:
            record.unread += len(segment)
        self.tell(self.guard.client, segment)
        self.exchange()

    def tell(self, what: Callable[..., None], *octets: bytes) -> None:
        """Call the guard."""
        try:
            what(*octets)
            self.guard.end_delays()
        except Exception as error:
            self.record.error = f"{type(error).__name__}: {error}"
            raise _GuardRaised from error

    def exchange(self) -> None:
        """Let the server answer until both are quiet, and end its input if the guard has closed."""
        while octets := self.guard.take_backend():
            self.record.forwards.append(octets)
            if not self.server.closed and not self.ended:
                self.hear(self.server.feed(octets))
        self.record.to_client += self.guard.take_client()
        closed = self.guard.closed
        if closed is not None and not self.ended:
            self.ended = True
            if not closed.abort_backend and not self.server.closed:
                self.server.finish()

    def hear(self, replies: list[bytes]) -> None:
        """Pass the server's replies on, and that it closed."""
        self.record.said += replies
        octets = b"".join(replies)
        step = 1 if self.octet_by_octet else len(octets)
        for at in range(0, len(octets), step or 1):
            if self.guard.closed is None:
                self.tell(self.guard.backend, octets[at : at + step])
        if self.server.closed and self.guard.closed is None:
            self.tell(self.guard.backend_lost)
