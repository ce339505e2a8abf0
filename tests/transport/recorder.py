"""A protocol that writes down what happens to it.

Contract: the events have the names of Twisted's methods, in order.  A test may give it something to do
at an event; that runs in the reactor, within the event.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.rig.wait import wait_until


@implementer(IPushProducer)
class Recorder(Protocol):
    """Writes down what happens to it, as a protocol and as the producer of some transport."""

    transport: Any = None

    def __init__(self, **at: Callable[[Recorder], object]) -> None:
        """`at` is what to do at an event, by its name: `Recorder(connectionMade=lambda r: ...)`."""
        self._at = at
        self._lock = threading.Lock()
        self.events: list[str] = []
        self.octets = bytearray()
        self.reason: Failure | None = None
        self.told: Any = None

    # -- what the tests ask ------------------------------------------------------------------------

    def wait(self, event: str, times: int = 1) -> None:
        """Wait until an event has happened so often."""
        wait_until(lambda: self.events.count(event) >= times, f"{event} x {times}", detail=lambda: repr(self.events))

    def wait_for(self, octets: bytes) -> None:
        """Wait until all octets that came are these."""
        wait_until(lambda: bytes(self.octets) == octets, repr(octets[:50]), detail=lambda: repr(self.octets[:200]))

    @property
    def lost(self) -> bool:
        return "connectionLost" in self.events

    @property
    def ended(self) -> Any:
        """Return the class of why it ended, having waited for the end."""
        self.wait("connectionLost")
        assert self.reason is not None
        return self.reason.type

    # -- what the transport tells ------------------------------------------------------------------

    def _event(self, name: str) -> None:
        self.events.append(name)
        act = self._at.get(name)
        if act is not None:
            act(self)

    def connectionMade(self) -> None:
        self._event("connectionMade")

    def dataReceived(self, data: bytes) -> None:
        self.octets += data
        self._event("dataReceived")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason
        self._event("connectionLost")

    def pauseProducing(self) -> None:
        self._event("pauseProducing")

    def resumeProducing(self) -> None:
        self._event("resumeProducing")

    def stopProducing(self) -> None:
        self._event("stopProducing")


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Recorder):
    """A protocol that goes on when one direction has ended."""

    def readConnectionLost(self) -> None:
        self._event("readConnectionLost")

    def writeConnectionLost(self) -> None:
        self._event("writeConnectionLost")
