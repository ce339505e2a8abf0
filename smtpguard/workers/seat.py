"""The clerk (clerk.py) as its supervisor has it.

Contract: it is started before the workers and ends behind them, so that what they report last is kept; one that dies or
hangs is replaced, and nobody who serves waits for it.
"""

from __future__ import annotations

import os
import select
import syslog
import time
from collections.abc import Callable
from typing import Final

from ..journal.journal import Journal, Sink
from ..lifecycle.configuration import Configuration
from ..office.facts import Facts
from . import channel
from .channel import Order
from .clerk import Clerk, Keep, Mail
from .crew import kill
from .processes import Process, how_it_ended

AGAIN_SECONDS: Final = 5.0
"""Between tries to start one, where there can be no process."""
LEAVE_SECONDS: Final = 7.0
"""For the clerk to write its file and to end its hooks, when the workers have gone (smtpguard.ledger.ledger, hook);
with `timeouts.shutdown` and renewal.GRACE_SECONDS less than systemd waits (TimeoutStopSec)."""


class ClerkProcess(Process):
    """The process."""

    @property
    def name(self) -> str:
        return f"clerk (process {self.pid})" if self.pid else "clerk"

    @property
    def title(self) -> str:
        return "smtpguard-clerk"


class Seat:
    """The process, or the wait for the next one."""

    def __init__(
        self, mail: Mail, keep: Keep, facts: Callable[[], Facts], journal: Journal, let_go: Callable[[], None]
    ) -> None:
        """`facts` returns what the service is now; `let_go` closes, in the clerk, what is not its own."""
        self.due = float("inf")
        """When the next clerk starts, if there is none."""
        self.process: Process | None = None
        self._mail = mail
        self._keep = keep
        self._facts = facts
        self._journal = journal
        self._let_go = let_go
        self._configuration: Configuration | None = None
        self._told = b""

    @property
    def _clerk(self) -> Process | None:
        """The process, if it lives."""
        return self.process if self.process is not None and self.process.pid else None

    def start(self, configuration: Configuration, sinks: list[Sink]) -> None:
        """Start it."""
        self.due, self._told, self._configuration = float("inf"), b"", configuration
        process = self.process = self.process or ClerkProcess(0, 0, configuration, sinks, 0)
        facts = self._facts()
        try:
            process.start(
                time.monotonic(),
                lambda supervisor: self._as_clerk(Clerk(configuration, supervisor, self._mail, sinks, facts)),
            )
        except OSError as error:
            self._journal.service(f"the clerk cannot be started: {error.strerror}", syslog.LOG_ERR)
            self.due = time.monotonic() + AGAIN_SECONDS

    def _as_clerk(self, clerk: Clerk) -> int:
        self._let_go()
        return self._keep(clerk)

    def tell(self, configuration: Configuration) -> None:
        """Tell it what has changed, if anything has."""
        clerk = self._clerk
        if clerk is None or clerk.channel is None:
            return
        if configuration is not self._configuration:
            self._configuration = configuration
            clerk.order(Order.RELOAD)
        octets = self._facts().to_json()
        if octets != self._told and channel.tell(clerk.channel, octets):
            self._told = octets

    def tell_what_stands(self) -> None:
        """Have it tell the workers."""
        if self._clerk is not None:
            self._clerk.order(Order.STANDING)

    def ping(self) -> None:
        """Ask whether it lives, and kill one that hangs."""
        clerk = self._clerk
        if clerk is None:
            return
        clerk.unanswered += 1
        if clerk.hangs:
            self._journal.service(f"{clerk.name} hangs: killed", syslog.LOG_ERR)
            kill(clerk)
        else:
            clerk.order(Order.PING)

    def reap(self, last_words: Callable[[Process], None], replace: bool) -> None:
        """See whether it has died; `last_words` reads what it has still said."""
        clerk = self._clerk
        if clerk is None:
            return
        pid, status = os.waitpid(clerk.pid, os.WNOHANG)
        if not pid:
            return
        name, how = clerk.name, how_it_ended(status)
        last_words(clerk)
        pause = clerk.ended(time.monotonic())
        if replace:
            self.due = time.monotonic() + pause
            when = f"in {pause:g} s" if pause else "now"
            self._journal.service(f"{name} {how}: workers go on, and another one starts {when}", syslog.LOG_ERR)

    def end(self, listen_to: Callable[[Process], None]) -> None:
        """Let it write down what the workers reported last."""
        clerk = self._clerk
        if clerk is None:
            return
        clerk.leave(Order.DRAIN)
        end = time.monotonic() + LEAVE_SECONDS
        while clerk.channel is not None and time.monotonic() < end:
            clerk.outgoing.flush(clerk.channel)
            poll = select.poll()  # and not select(2), which knows of 1024 descriptors
            poll.register(clerk.channel, select.POLLIN | (select.POLLOUT if clerk.outgoing.waits else 0))
            poll.poll(max(0.0, end - time.monotonic()) * 1000)
            listen_to(clerk)
        if clerk.channel is not None:
            kill(clerk)
        os.waitpid(clerk.pid, 0)
