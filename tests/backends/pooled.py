"""A pool of backends in memory: every connection that it makes is in the hands of the test."""

from __future__ import annotations

import io
from collections.abc import Collection
from typing import Any

from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from smtpguard.backends.backend import Client
from smtpguard.backends.backend_side import BackendSide, BackendUser
from smtpguard.backends.circumstances import Circumstances
from smtpguard.backends.pool import Pool
from smtpguard.backends.relay_watch import Standing
from smtpguard.config.settings import Settings
from smtpguard.journal.journal import Journal
from smtpguard.journal.sinks import StderrSink
from smtpguard.policy.networks import UNKNOWN_PEER
from smtpguard.smtp.effects import BackendFault
from tests.smtp.table import policy

from ..sessions.stage import Wire

DENIED = "550 5.7.1 Relaying denied"


class Made:
    """One connection that the pool has asked for."""

    def __init__(self, reactor: MemoryReactorClock, port: int, factory: Any) -> None:
        self.port = port
        self.wire = Wire()
        self._reactor = reactor
        self._factory = factory
        self._protocol: Any = None

    def refuse(self, error: Exception | None = None) -> None:
        """Nobody listens."""
        self._factory.clientConnectionFailed(None, Failure(error or Refused()))

    def accept(self) -> None:
        self._protocol = self._factory.buildProtocol(None)
        self._protocol.makeConnection(self.wire)

    def say(self, *lines: str) -> None:
        """The backend says lines; accepts first."""
        if self._protocol is None:
            self.accept()
        for line in lines:
            self._protocol.dataReceived(line.encode() + b"\r\n")

    def pass_check(self) -> None:
        """Behave as a mail server that is up."""
        self.say("220 mx", "250 mx", "501 5.5.2 syntax", "221 bye")

    def answer_relay_check(self, rcpt: str = DENIED) -> None:
        self.say("220 mx", "250 mx", "250 ok", rcpt, "250 ok", "221 bye")

    def lose(self) -> None:
        if self._protocol is None:
            self.accept()
        self._protocol.connectionLost(Failure(Refused()))


class User:
    """A session, as far as the pool sees it."""

    def __init__(self) -> None:
        self.side: BackendSide | None = None
        self.octets = b""
        self.ended = ""
        self.others = False

    def backend_tried(self, others: bool) -> None:
        self.others = others

    def backend_connected(self, backend: BackendSide) -> None:
        self.side = backend

    def backend_sent(self, octets: bytes) -> None:
        self.octets += octets

    def backend_refused(self, fault: BackendFault) -> None:
        self.ended = fault.what

    def backend_lost(self) -> None:
        self.ended = "lost"

    def failed(self, failure: Failure) -> None:
        self.ended = failure.getErrorMessage()


class Pooled:
    """A pool of backends at the ports 1, 2 ..., its clock, its log, and whom it tells what."""

    def __init__(self, number: int = 2, *, before: Pooled | None = None, **settings: Any) -> None:
        endpoints = [f"tcp:127.0.0.1:{port}" for port in range(1, number + 1)]
        backend = {"endpoint": endpoints, **settings.pop("backend", {})}
        self.settings = Settings.model_validate(
            {"listen": "tcp:2500:interface=127.0.0.1", "relay_check": "off", **settings, "backend": backend}
        )
        self.reactor: MemoryReactorClock = before.reactor if before else MemoryReactorClock()
        self._log = io.StringIO()
        self.standings: list[Standing] = []
        self.unfit: list[Collection[BackendUser]] = []
        self._seen = 0
        journal = Journal([StderrSink(self._log, with_priority=False)])
        circumstances = Circumstances(self.reactor, self.settings, policy("rulesets: {}"), journal, "guard.test")
        self.pool = Pool(circumstances, None, changed=self.standings.append, unfit=self.unfit.append)

    def new(self) -> list[Made]:
        """Return the connections that were asked for since the last call."""
        asked = self.reactor.tcpClients[self._seen :]
        self._seen += len(asked)
        return [Made(self.reactor, port, factory) for _, port, factory, _, _ in asked]

    def start_up(self) -> None:
        """Start, with all of them up."""
        self.pool.start()
        for made in self.new():
            made.pass_check()

    def client(self) -> User:
        """Let a client come."""
        user = User()
        self.pool.begin(user, Client(UNKNOWN_PEER, lambda: None), user.failed)
        return user

    def states(self) -> list[object]:
        return [one["state"] for one in self.pool.snapshot()]

    def log(self) -> str:
        """Return the log since the last call."""
        text = self._log.getvalue()
        self._log.seek(0)
        self._log.truncate()
        return text
