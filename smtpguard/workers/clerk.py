"""The process that keeps the office of a service of several workers (smtpguard.office).

Contract: workers report to it through one pair of sockets, which the supervisor holds, so that whoever is the clerk
reads what was reported while there was none; a report for which there is no room is made again a second later.  What
the clerk orders goes to all workers by way of the supervisor.  Mail is served without a clerk: one that dies or hangs
is replaced (seat.py), and workers keep to the limits by themselves meanwhile.
"""

from __future__ import annotations

import contextlib
import socket
import syslog
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted.internet.interfaces import IReadDescriptor, IReadWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..journal.journal import Journal, Sink
from ..journal.opening import make_journal
from ..ledger.reports import Orders, Report
from ..lifecycle.configuration import Configuration
from ..office.facts import Facts
from ..office.office import Office
from . import channel
from .channel import Done, Order, Said, Told

ROOM: Final = 1 << 20
"""Octets for reports that wait, as far as net.core.wmem_max allows; one is 100 kB at most."""
REPORTS_A_TURN: Final = 64
"""Read before anything else gets its turn."""
LAST_REPORTS: Final = 1024
"""Read at the end: what workers have said before they ended, a few reports of each."""

_log: Final = Logger()


class Mail:
    """The pair of sockets."""

    def __init__(self) -> None:
        self.inbox, self.outbox = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (self.inbox, self.outbox):
            end.setblocking(False)
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)

    def post(self, report: Report) -> bool:
        """Report; False if there is no room now."""
        try:
            self.outbox.send(report.to_json())
        except OSError:
            return False
        return True


Keep = Callable[["Clerk"], int]
"""What the clerk does, until it ends with a status."""


class Clerk:
    """The clerk's own side."""

    def __init__(
        self, configuration: Configuration, supervisor: socket.socket, mail: Mail, sinks: list[Sink], facts: Facts
    ) -> None:
        self.configuration: Final = configuration
        self.journal: Final = make_journal(configuration.settings.log, sinks)
        self.journal.forked()
        self.journal.service_elsewhere = self.say
        self.facts: Final = facts
        self._supervisor = supervisor
        self._mail = mail
        self._outgoing = channel.Outgoing()
        self._wait: Callable[[], None] = lambda: None

    def say(self, text: str, priority: int, event: str, fields: dict[str, Any] | None) -> bool:
        """Have a line written that is about the service."""
        return channel.report(self._supervisor, Said(priority, text, event, fields))

    def order(self, orders: Orders) -> None:
        """Tell all workers."""
        sent = [self._outgoing.send(self._supervisor, octets) for octets in orders.forms(channel.LONGEST)]
        if not all(sent):
            self.journal.service("clerk: workers are told no more: too much waits for them already", syslog.LOG_ERR)
        if self._outgoing.waits:
            self._wait()

    def obey(self, reactor: Any, office: Office, reload: Callable[[], None], end: Callable[[], None]) -> None:
        """Do from now on what the supervisor says, and read what the workers report."""
        inbox = _Inbox(self._mail.inbox, office)

        def behind_the_last_report() -> None:
            inbox.read(LAST_REPORTS)
            end()

        line = _Line(reactor, self._supervisor, self._outgoing, self.journal, office, reload, behind_the_last_report)
        reactor.addReader(line)
        reactor.addReader(inbox)
        self._wait = partial(reactor.addWriter, line)
        if self._outgoing.waits:
            self._wait()


@implementer(IReadDescriptor)
class _Inbox:
    """Reads reports."""

    def __init__(self, inbox: socket.socket, office: Office) -> None:
        self._inbox = inbox
        self._office = office

    def fileno(self) -> int:
        return self._inbox.fileno()

    def logPrefix(self) -> str:
        return "clerk"

    def doRead(self) -> None:
        self.read(REPORTS_A_TURN)

    def read(self, most: int) -> None:
        """Take what has been reported."""
        for _ in range(most):
            try:
                octets = self._inbox.recv(ROOM)
            except OSError:
                return
            try:
                self._office.told(Report.from_json(octets))
            except Exception:  # noqa: BLE001 - our bug, which must not end the others' reports
                _log.failure("a report cannot be used", failure=Failure())

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has ended."""


@implementer(IReadWriteDescriptor)
class _Line:
    """The supervisor's: reads orders, and passes on what there was no room for."""

    def __init__(
        self,
        reactor: Any,
        supervisor: socket.socket,
        outgoing: channel.Outgoing,
        journal: Journal,
        office: Office,
        reload: Callable[[], None],
        end: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._supervisor = supervisor
        self._outgoing = outgoing
        self._journal = journal
        self._office = office
        self._reload = reload
        self._end = end

    def fileno(self) -> int:
        return self._supervisor.fileno()

    def logPrefix(self) -> str:
        return "clerk"

    def doRead(self) -> None:
        for what in channel.orders(self._supervisor):
            match what:
                case Order.PING:
                    channel.report(self._supervisor, Done.ALIVE)
                case Order.REOPEN:
                    self._journal.reopen()
                case Order.RELOAD:
                    self._reload()
                case Order.STANDING:
                    self._office.tell_what_stands()
                case Told(octets):
                    self._office.know(Facts.from_json(octets))
                case None | Order.DRAIN | Order.CUT_OFF:
                    self._end()
                    return

    def doWrite(self) -> None:
        self._outgoing.flush(self._supervisor)
        if not self._outgoing.waits:
            self._reactor.removeWriter(self)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has ended."""
