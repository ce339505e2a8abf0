"""What the log says of the program's own faults.

Contract: one line each, with the traceback in it; the same one a second time within SAME_SECONDS is counted, and the
count told when that time is over, so that a fault that every session meets does not fill a disk.  Where there is no
memory, little is needed to say so.
"""

from __future__ import annotations

import syslog
from collections.abc import Callable
from typing import Any, Final

from twisted.logger import ILogObserver, LogLevel, formatEvent
from zope.interface import implementer

from ..journal.journal import Journal

SAME_SECONDS: Final = 60.0
"""How long the same fault is not told again."""
REMEMBERED: Final = 64
"""Faults that are told apart in that time; all others then count as one."""
RESERVE_OCTETS: Final = 1 << 20
"""Given up where there is no memory, so that some is there for the ends of sessions and a line in the log."""
NO_MEMORY: Final = "no memory: sessions end where it was needed"
FURTHER: Final = "further faults"


@implementer(ILogObserver)
class Internal:
    """Hears Twisted's own warnings and our own tracebacks."""

    def __init__(self, journal: Journal, call_later: Callable[[float, Callable[[], None]], object]) -> None:
        self._journal = journal
        self._call_later = call_later
        self._again: dict[str, int] = {}
        """What was told lately, and how often it has come again."""
        self._reserve = bytearray(RESERVE_OCTETS)

    def __call__(self, event: Any) -> None:
        if event.get("log_level", LogLevel.info) < LogLevel.warn:
            return
        failure = event.get("log_failure")
        if failure is not None and failure.check(MemoryError):
            self._no_memory()
            return
        text = formatEvent(event)
        if text.rstrip().endswith("MemoryError:"):  # as Twisted's older way to log has it
            self._no_memory()
            return
        if failure is not None:
            text = f"{text}: {failure.getTraceback()}"
        text = " | ".join(text.splitlines())
        self._tell(text, text)

    def _no_memory(self) -> None:
        self._reserve = bytearray()
        self._tell(NO_MEMORY, NO_MEMORY)

    def _tell(self, what: str, text: str) -> None:
        if what not in self._again and len(self._again) >= REMEMBERED:
            what = text = FURTHER
        if what in self._again:
            self._again[what] += 1
            return
        self._again[what] = 0
        self._write(text)
        if len(self._again) == 1:
            self._call_later(SAME_SECONDS, self._over)

    def _over(self) -> None:
        again, self._again = self._again, {}
        self._reserve = bytearray(RESERVE_OCTETS)
        for text, count in again.items():
            if count:
                self._write(f"{count} more in {SAME_SECONDS:g} s: {text}")

    def _write(self, text: str) -> None:
        self._journal.service(text, syslog.LOG_ERR, "internal")
