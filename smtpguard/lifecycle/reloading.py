"""A reload: read anew, check, take; and what came of it.

Contract: a `Reloading` reads in a thread and hands what it has read to `take`, which raises `Refused` for what
cannot be served.  Whatever is wrong, nothing has changed: every fault is told, and then that what is in use stays
in use.  What is asked for while one reload runs is done once, behind it.
"""

from __future__ import annotations

import syslog
import time
from collections.abc import Callable
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from ..backends.relay_question import what_is_asked
from ..journal.journal import Journal
from .configuration import Configuration, Read, told


class Refused(Exception):
    """What was read cannot be served."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@frozen
class LastReload:
    """What came of the last reload."""

    ok: bool
    faults: tuple[str, ...] = ()
    """Why it was refused, each as it stands in the log."""
    at: float = field(factory=time.time)
    """Seconds since 1970."""
    warnings: tuple[str, ...] = ()

    @property
    def refusal(self) -> str:
        """In short, for a status line; empty if it was not refused."""
        if self.ok:
            return ""
        when = time.strftime("%H:%M", time.localtime(self.at))
        return f"reload refused at {when}: {_number(self.faults)}, first: {self.faults[0]}"


def refused(journal: Journal, faults: tuple[str, ...], in_use: Configuration) -> LastReload:
    """Log why a reload was refused, and what that means."""
    for fault in faults:
        journal.service(fault, syslog.LOG_ERR)
    journal.service(
        f"reload refused, {_number(faults)}: policy {in_use.policy.version} of {in_use.policy.path} stays in use, and "
        "so do the settings and certificates",
        syslog.LOG_ERR,
    )
    return LastReload(False, faults)


def reloaded(journal: Journal, warnings: list[str], now: Configuration) -> LastReload:
    """Log what is served from now on."""
    for warning in warnings:
        journal.service(warning, syslog.LOG_WARNING)
    journal.service(f"reloaded: policy {now.policy.version} of {now.policy.path}, settings and certificates")
    return LastReload(True, warnings=tuple(warnings))


def why(error: Exception) -> tuple[str, ...]:
    """Return what a reload is refused for."""
    return error.faults if isinstance(error, Refused) else told(error)


def _number(faults: tuple[str, ...]) -> str:
    return "1 fault" if len(faults) == 1 else f"{len(faults)} faults"


def same_question(old: Configuration, new: Configuration) -> bool:
    """True if the backend is the same, is shown the same, and its answer means the same."""
    return what_is_asked(old.settings, old.policy.policy) == what_is_asked(new.settings, new.policy.policy)


class Reloading:
    """One reload at a time."""

    def __init__(
        self,
        reactor: Any,
        read: Read,
        take: Callable[[Configuration], Deferred[None]],
        begins: Callable[[], None],
        failed: Callable[[tuple[str, ...]], None],
    ) -> None:
        """`begins` is told of each one, `failed` why one was refused."""
        self._reactor = reactor
        self._read = read
        self._take = take
        self._begins = begins
        self._failed = failed
        self._busy = self._again = False

    def __call__(self) -> None:
        """Reload, or once more behind the reload that runs."""
        if self._busy:
            self._again = True
            return
        self._busy = True
        self._begins()
        reading = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self._read)
        reading.addCallback(self._take).addErrback(self._refused).addBoth(lambda _: self._done())

    def _refused(self, failure: Failure) -> None:
        error = failure.value
        self._failed(why(error) if isinstance(error, Exception) else (str(error),))

    def _done(self) -> None:
        self._busy = False
        if self._again:
            self._again = False
            self()
