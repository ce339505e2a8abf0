"""A session between two transports in memory."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from smtpguard.backends.backend import Client
from smtpguard.backends.backend_side import BackendSide, BackendUser
from smtpguard.config.listener import Listener
from smtpguard.config.settings import Timeouts
from smtpguard.journal.journal import Journal, SessionJournal
from smtpguard.journal.sinks import StderrSink
from smtpguard.net.deadlines import Deadlines
from smtpguard.policy.networks import Peer
from smtpguard.sessions.client import ClientSide, Doorway
from smtpguard.sessions.session import Session
from smtpguard.smtp.answers import Closing
from smtpguard.smtp.bounds import Bounds
from smtpguard.smtp.dialogue import Dialogue
from smtpguard.smtp.effects import Note
from smtpguard.smtp.terms import Terms
from smtpguard.smtp.verdict import Facts
from tests.smtp.table import perimeter, policy


class Wire(StringTransport):
    """A transport that remembers how it was closed and when it is full."""

    aborted = False
    write_closed = False

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()

    def loseWriteConnection(self) -> None:
        self.write_closed = True

    def fill(self) -> None:
        """Let the buffer be full."""
        assert self.producer is not None
        self.producer.pauseProducing()

    def drain(self) -> None:
        """Let the buffer be empty again."""
        assert self.producer is not None
        self.producer.resumeProducing()

    @property
    def read_from(self) -> bool:
        return bool(self.producerState == "producing")

    def value(self) -> bytes:
        octets: bytes = super().value()
        return octets

    def take(self) -> bytes:
        """Return what was written since the last call."""
        octets = self.value()
        self.clear()
        return octets


class Stage:
    """One session, its two wires, its clock and its log."""

    def __init__(self, *, policy_text: str = "", connect: bool = True, bounds: Bounds | None = None) -> None:
        self.clock = Clock()
        self.log = io.StringIO()
        self.timeouts = Timeouts()
        self.seconds_for = self.timeouts.by_what_is_awaited
        self.deadlines = Deadlines(self.clock, self.timeouts.shortest)
        self.data_rate = 0.0
        self.data_rate_seconds = 300.0
        self.ends = self.away = 0
        self.connecting: Deferred[Any] = Deferred(self._cancel)
        self.cancelled: list[bool] = []
        self.client_wire, self.backend_wire = Wire(), Wire()
        journal = Journal([StderrSink(self.log, with_priority=False)], level=99)
        peer = Peer.parse("203.0.113.9")
        rules = policy(policy_text) if policy_text else perimeter()
        terms = rules.terms_for(peer, Terms(bounds or Bounds()))
        self.dialogue = Dialogue(rules.judge_for(peer, ""), Closing("guard.test"), terms)
        self.header_seconds = self.timeouts.proxy_header
        self.handshake_seconds = self.timeouts.handshake
        self.linger_seconds = self.timeouts.linger
        self._journal = journal
        self.client = ClientSide(self, Doorway(Listener(endpoint="tcp:25"), None))
        self.backend: BackendSide | None = None
        self.client.makeConnection(self.client_wire)
        if connect:
            self.greet()

    def _cancel(self, connecting: Deferred[Any]) -> None:
        self.cancelled.append(True)
        connecting.errback(ConnectingCancelledError(None))  # as Twisted's endpoints do

    # smtpguard.sessions.client.Host

    def arrived(self, side: ClientSide) -> bool:
        return True

    def gone(self, side: ClientSide) -> None:
        """Nothing is kept."""

    def call_later(self, seconds: float, act: Any) -> IDelayedCall:
        later: IDelayedCall = self.clock.callLater(seconds, act)
        return later

    def journal_for(self, peer: Peer) -> SessionJournal:
        return self._journal.session("ID", Peer.parse("203.0.113.9"))

    def disbelieves(self, side: ClientSide, why: str, octets: bytes) -> None:
        """Nobody is told."""

    def admits(self, side: ClientSide, client: Client, journal: SessionJournal) -> bool:
        return True

    def session_for(self, side: ClientSide, client: Client, journal: SessionJournal, facts: Facts) -> Session:
        session = Session(self.dialogue, journal, self, side)
        session.begin(client)
        return session

    # smtpguard.sessions.session.Surroundings

    def connect(self, user: BackendUser, client: Client, failed: Callable[[Failure], None]) -> Deferred[Any]:
        self.backend = BackendSide(user, self.deadlines)
        return self.connecting.addErrback(failed)

    def backend_away(self) -> None:
        self.away += 1

    def noted(self, session: Session, note: Note) -> None:
        """Nobody observes."""

    def ended(self, session: Session, counts: dict[bytes, list[int]], seconds: float) -> None:
        self.ends += 1

    def greet(self) -> None:
        """The connection to the backend stands, and it greets."""
        assert self.backend is not None
        self.backend.makeConnection(self.backend_wire)
        self.connecting.callback(self.backend)
        self.say("220 mx")
        assert self.client_wire.take() == b"220 mx\r\n"

    def send(self, line: str) -> None:
        """The client sends a line."""
        self.client.dataReceived(line.encode("latin-1") + b"\r\n")

    def say(self, line: str) -> None:
        """The backend sends a line."""
        assert self.backend is not None
        self.backend.dataReceived(line.encode("latin-1") + b"\r\n")

    def lose(self, side: str) -> None:
        """One side's connection is gone."""
        protocol: Any = getattr(self, side)
        protocol.connectionLost()

    @property
    def timers(self) -> int:
        """How many there are when all that are over have been noticed."""
        self.clock.advance(self.deadlines.tick)
        return len(self.clock.getDelayedCalls())

    def until(self, happened: Callable[[], bool], at_most: float) -> float:
        """Move the clock until something has happened; returns the seconds it took."""
        passed = 0.0
        while not happened() and passed < at_most:
            self.clock.advance(0.5)
            passed += 0.5
        assert happened()
        return passed
