"""How fast a message comes: whoever sends an octet now and then holds a session, and the backend's, for as long as it
likes, since each of them begins the time-out anew.

Contract: without a clock, in the seconds of deadlines.py.  Only time in which the client was read counts: what the
backend or the guard makes it wait for is no fault of its own.
"""

from __future__ import annotations

from typing import Final, final

NOT_NOW: Final = -1.0
"""In place of a time: the client is read."""


@final
class Pace:
    """Of one message, from one period to the next."""

    __slots__ = ("_from", "_paused", "_paused_at", "_rate", "octets", "seconds", "until")

    def __init__(self, rate: float, seconds: float, octets: int, now: float, paused: bool) -> None:
        """`rate` is in octets a second; `octets` is how many there were before."""
        self._rate = rate
        self.seconds: Final = seconds
        """Of one period."""
        self.octets = 0
        """That came in the last period."""
        self._from = octets
        self._paused = 0.0  # seconds of this period in which the client was not read
        self._paused_at = now if paused else NOT_NOW
        self.until = now + seconds
        """When the period is over."""

    def pause(self, paused: bool, now: float) -> None:
        """From now on the client is not read, or it is again."""
        if paused and self._paused_at == NOT_NOW:
            self._paused_at = now
        elif not paused and self._paused_at != NOT_NOW:
            self._paused += now - self._paused_at
            self._paused_at = NOT_NOW

    def is_slow(self, octets: int, now: float) -> bool:
        """Say so of a period that is over, `octets` having come by now; and begin the next one, or go on with it for as
        long as the client was not read."""
        if self._paused_at != NOT_NOW:
            self._paused += now - self._paused_at
            self._paused_at = now
        if self._paused > 0.0:
            self.until = now + self._paused
            self._paused = 0.0
            return False
        self.octets = octets - self._from
        self._from = octets
        self.until = now + self.seconds
        return self.octets < self._rate * self.seconds
