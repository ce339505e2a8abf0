"""Whether one of several backends is up, and when one that is not may be tried again.

Contract: a `Health` is told what checks and clients' sessions have found, and takes the time as an argument.  What is
up stays up until `fall` failures in a row, or one that is certain; what is down is up again when `rise` checks in
a row have passed, which sessions cannot bring about; and in between it is left alone for longer and longer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

FIRST_SECONDS: Final = 1.0
"""What went away is tried again so soon: a restart takes no longer."""
LONGEST_SECONDS: Final = 60.0
"""Nobody waits for more than a minute for a server that is back."""
_SPREAD: Final = 0.25
"""Part of a wait that is drawn by lot, so that guards that lost a server together do not come back together."""


@final
class Health:
    """Of one backend."""

    def __init__(self, rise: int, fall: int, now: float, jitter: Callable[[], float]) -> None:
        """`jitter` returns a number from 0 to 1, drawn anew each time."""
        self.up = True
        self.since = now
        """Since when it is up, or down."""
        self.seen_at = float("-inf")
        """When it was last found up."""
        self.fault = ""
        """What was wrong the last time, in words."""
        self.failures = 0
        """How many there have been."""
        self.next_try = now
        """While it is down: not to be tried before."""
        self._rise, self._fall = rise, fall
        self._jitter = jitter
        self._in_a_row = 0  # failures while it is up, passed checks while it is down
        self._tries = 0

    def found_within(self, seconds: float, now: float) -> bool:
        """True if it was found up no longer ago."""
        return now - self.seen_at <= seconds

    def doubt(self) -> None:
        """What was found counts no more; it may be as it was."""
        self.seen_at = float("-inf")

    def passed(self, now: float, *, checked: bool) -> bool:
        """It greeted, in a check or else in a session; True if it is up by that."""
        if self.up:
            self.seen_at = now
            self._in_a_row = 0
            return False
        if not checked:
            return False  # the session had begun before
        self._in_a_row += 1
        self._tries = 0
        self.next_try = now + FIRST_SECONDS
        if self._in_a_row < self._rise:
            return False
        self._turn(True, now)
        self.seen_at = now
        return True

    def failed(self, now: float, why: str, *, checked: bool, certain: bool = False) -> bool:
        """It did not greet; True if it is down by that.  `certain` if nothing can connect to it."""
        self.failures += 1
        self.fault = why
        if self.up:
            self._in_a_row += 1
            if not certain and self._in_a_row < self._fall:
                return False
            self._turn(False, now)
            self._tries = 0
            self.put_off(now)
            return True
        if checked:
            self._in_a_row = 0
            self.put_off(now)
        return False

    def put_off(self, now: float) -> None:
        """Leave it alone, for twice as long as the time before, and at most for LONGEST_SECONDS."""
        # Bounded before it is computed: a server may be down for years.
        seconds = FIRST_SECONDS * 2.0 ** min(self._tries, 16)
        seconds *= 1 - _SPREAD * self._jitter()
        self._tries += 1
        self.next_try = now + min(max(seconds, FIRST_SECONDS), LONGEST_SECONDS)

    def _turn(self, up: bool, now: float) -> None:
        self.up = up
        self.since = now
        self._in_a_row = 0
