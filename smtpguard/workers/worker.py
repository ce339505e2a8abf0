"""A worker's own side: what it has of the service, and how it obeys.

Contract: a worker does what its supervisor says, and nothing that a signal says: those of a terminal, or of
systemd, come to all processes at once, and to each of them a second time through the supervisor.  If the
supervisor is gone, whatever it died of, transactions are finished and the worker ends.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

from attrs import Factory, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from ..config.settings import Settings
from ..journal.journal import Journal, Sink
from ..journal.opening import make_journal
from ..ledger import reports
from ..lifecycle.share import Share
from ..office.desk import Desk
from ..sessions.places import Places
from . import channel
from .channel import Done, Order, Report, Said, Shut, Told
from .sockets import Listener

KNOWING_SECONDS: Final = 1.0
"""For a clerk to tell who is banned, before a worker serves without knowing; it has had the time since PREPARED."""


class Obeying(Protocol):
    """What a worker runs (smtpguard.service.Service)."""

    @property
    def stopping(self) -> bool:
        """True once it was stopped."""

    @property
    def journal(self) -> Journal:
        """What it writes to."""

    @property
    def desk(self) -> Desk:
        """What it has of the office."""

    def stop(self) -> None:
        """Let transactions finish; when it is called again, do not wait for them."""

    def retire(self) -> None:
        """Stop listening, and end when the last session has ended."""


@frozen
class Worker:
    """What a worker is given by its supervisor."""

    number: int
    """From 0; whoever replaces it has the same."""
    supervisor: socket.socket
    places: Places
    places_by_prefix: Places
    listeners: Sequence[Listener]
    sinks: list[Sink]
    replaces: bool
    believes: bool
    """See smtpguard.lifecycle.share.Share, as the one before."""
    post: Callable[[reports.Report], bool]
    """Passes a report on to the clerk (clerk.py)."""
    told_to_serve: Deferred[None] = Factory(lambda: Deferred())
    _untold: list[Report] = Factory(list)

    def share(self, settings: Settings) -> Share:
        """Return what its service needs of it."""
        journal = make_journal(settings.log, self.sinks)
        journal.forked()
        # What is about the service is written by the supervisor, once for all workers.
        journal.service_elsewhere = self._say
        return Share(
            journal,
            self.places,
            self.places_by_prefix,
            [partial(listener.listening, self.number) for listener in self.listeners],
            self._prepared,
            lambda: self.report(Done.READY),
            lambda why: self.report(Shut(why)),
            self.post,
            self.replaces,
            self.believes,
            looks=self.number == 0,
        )

    def obey(self, reactor: Any, service: Obeying) -> None:
        """Do from now on what the supervisor says."""
        reactor.addReader(_Ear(reactor, self, service))

    def report(self, what: Report) -> None:
        """Tell the supervisor; what has no room now is told at the next ping."""
        if not channel.report(self.supervisor, what) and what is not Done.ALIVE:
            self._untold.append(what)

    def answer(self) -> None:
        """Say that this process lives, and what could not be told before."""
        untold = self._untold[:]
        self._untold.clear()
        for what in (*untold, Done.ALIVE):
            self.report(what)

    def _prepared(self) -> Deferred[None]:
        self.report(Done.PREPARED)
        return self.told_to_serve

    def _say(self, text: str, priority: int, event: str, fields: dict[str, Any] | None) -> bool:
        return channel.report(self.supervisor, Said(priority, text, event, fields))


@implementer(IReadDescriptor)
class _Ear:
    """Reads orders."""

    def __init__(self, reactor: Any, worker: Worker, service: Obeying) -> None:
        self._reactor = reactor
        self._worker = worker
        self._supervisor = worker.supervisor
        self._service = service
        self._may_serve = False
        self._knows = False

    def fileno(self) -> int:
        return self._supervisor.fileno()

    def logPrefix(self) -> str:
        return "worker"

    def doRead(self) -> None:
        for what in channel.orders(self._supervisor):
            match what:
                case Order.PING:
                    self._worker.answer()
                case Order.SERVE:
                    if not self._may_serve and not self._knows:
                        self._reactor.callLater(KNOWING_SECONDS, self._serve)
                    self._may_serve = True
                    if self._knows:
                        self._serve()
                case Order.RETIRE:
                    self._service.retire()
                    self._worker.report(Done.RETIRED)
                case Order.REOPEN:
                    self._service.journal.reopen()
                case Told(octets):
                    orders = reports.Orders.from_json(octets)
                    self._service.desk.obey(orders)
                    if orders.complete and not self._knows:
                        self._knows = True
                        if self._may_serve:
                            self._serve()
                case Order.CUT_OFF:
                    self._drain()
                    self._service.stop()
                case Order.DRAIN:
                    self._drain()
                case None:
                    self._reactor.removeReader(self)
                    self._drain()

    def _serve(self) -> None:
        if not self._worker.told_to_serve.called and not self._service.stopping:
            self._worker.told_to_serve.callback(None)

    def _drain(self) -> None:
        if not self._service.stopping:
            self._service.stop()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has ended, and so has all that could be ordered."""
