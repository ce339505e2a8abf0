"""How often something happened in each of the last sixty minutes.

Contract: time is an argument.  Where it goes back, what happens counts for the newest minute; where it goes back by
a day or more, the clock was wrong, and all begins anew but the total.
"""

from __future__ import annotations

from typing import Final

MINUTES: Final = 60
WRONG: Final = 1440
"""Minutes; a clock that is set back by less is waited for."""


class History:
    """One row of the status page."""

    __slots__ = ("_counts", "_minute", "total")

    def __init__(self) -> None:
        self._counts = [0] * MINUTES
        """A ring: the count of minute m is at m % MINUTES."""
        self._minute = 0
        self.total = 0
        """Since the beginning."""

    def add(self, number: int, now: float) -> None:
        """Count, `now` being seconds since 1970."""
        self._move(now)
        self._counts[self._minute % MINUTES] += number
        self.total += number

    def at(self, now: float) -> list[int]:
        """Return the counts of the minutes up to this one, the oldest first."""
        self._move(now)
        start = (self._minute + 1) % MINUTES
        return self._counts[start:] + self._counts[:start]

    def _move(self, now: float) -> None:
        minute = int(now // 60)
        passed = minute - self._minute
        if passed >= MINUTES or passed <= -WRONG:
            self._counts = [0] * MINUTES
            self._minute = minute
        else:
            for behind in range(1, passed + 1):
                self._counts[(self._minute + behind) % MINUTES] = 0
        self._minute = max(self._minute, minute)
