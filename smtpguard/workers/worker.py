"""A worker's own side: what it has of the service, and how it obeys.

Contract: a worker does what its supervisor says, and nothing that a signal says: those of a terminal, or of
systemd, come to all processes at once, and to each of them a second time through the supervisor.  If the
supervisor is gone, whatever it died of, transactions are finished and the worker ends.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from ..config.settings import Settings
from ..journal.journal import Sink
from ..net.places import Places
from ..service import Share, make_journal
from . import channel
from .channel import Done, Order, Said
from .sockets import Listener


class Obeying(Protocol):
    """What a worker runs (smtpguard.service.Service)."""

    @property
    def stopping(self) -> bool:
        """True once it was stopped."""

    def stop(self) -> None:
        """Let transactions finish; when it is called again, do not wait for them."""


@frozen
class Worker:
    """What a worker is given by its supervisor."""

    number: int
    """From 0; whoever replaces it has the same."""
    supervisor: socket.socket
    places: Places
    listeners: Sequence[Listener]
    sinks: list[Sink]
    replaces: bool

    def share(self, settings: Settings) -> Share:
        """Return what its service needs of it."""
        journal = make_journal(settings.log, self.sinks)
        # What is about the service is written by the supervisor, once for all workers.
        journal.service_elsewhere = self._say
        return Share(
            journal,
            self.places,
            [partial(listener.listening, self.number) for listener in self.listeners],
            lambda: self._report(Done.READY),
            lambda: self._report(Done.RELOADED),
            self.replaces,
        )

    def obey(self, reactor: Any, service: Obeying, reload: Callable[[], None]) -> None:
        """Do from now on what the supervisor says."""
        reactor.addReader(_Ear(reactor, self.supervisor, service, reload))

    def _say(self, text: str, priority: int) -> bool:
        return channel.report(self.supervisor, Said(priority, text))

    def _report(self, what: Done) -> None:
        channel.report(self.supervisor, what)


@implementer(IReadDescriptor)
class _Ear:
    """Reads orders."""

    def __init__(self, reactor: Any, supervisor: socket.socket, service: Obeying, reload: Callable[[], None]) -> None:
        self._reactor = reactor
        self._supervisor = supervisor
        self._service = service
        self._reload = reload

    def fileno(self) -> int:
        return self._supervisor.fileno()

    def logPrefix(self) -> str:
        return "worker"

    def doRead(self) -> None:
        for what in channel.orders(self._supervisor):
            match what:
                case Order.RELOAD:
                    self._reload()
                case Order.CUT_OFF:
                    self._drain()
                    self._service.stop()
                case Order.DRAIN:
                    self._drain()
                case None:
                    self._reactor.removeReader(self)
                    self._drain()

    def _drain(self) -> None:
        if not self._service.stopping:
            self._service.stop()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has ended, and so has all that could be ordered."""
