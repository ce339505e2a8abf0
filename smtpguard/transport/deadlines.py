"""A time-out that many share.

Contract: what is begun and not ended within `seconds` is told so, late by no more than the loop is.  There
is one timer, set when something is begun and none is, so that what ends in time costs no timer at all.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class Bounded(Protocol):
    """What must end in time."""

    def timed_out(self) -> None:
        """It has not."""


class Deadlines:
    """What has been begun, the oldest first."""

    __slots__ = ("_began", "_loop", "_seconds", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._began: dict[Bounded, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, what: Bounded) -> None:
        """The time of `what` begins."""
        self._began[what] = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._ring)

    def end(self, what: Bounded) -> None:
        """It has ended; harmless twice."""
        self._began.pop(what, None)

    def _ring(self) -> None:
        self._timer = None
        # libuv's clock has whole milliseconds, and may ring that much early.
        now = self._loop.time() + 0.001
        late = []
        for what, began in self._began.items():
            if began + self._seconds > now:
                self._timer = self._loop.call_later(began + self._seconds - now + 0.001, self._ring)
                break
            late.append(what)
        for what in late:
            if self._began.pop(what, None) is not None:  # another's end may have ended it
                what.timed_out()
