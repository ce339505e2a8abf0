"""Time-outs of many connections on one timer.

Contract: who waits for something has a `deadline`, which it moves as often as it likes at no cost, and is
told by `ring` when that has passed: late by two ticks at most, and early only by as much as the event loop
itself was late.  It has to be let go by `discard`.  A timer of its own for each would cost more than all
else that a short session needs, and to ask for the time at every command half as much.
"""

from __future__ import annotations

from typing import Any, Final, Protocol, final

from twisted.logger import Logger
from twisted.python.failure import Failure

_log: Final = Logger()

NEVER: Final = float("inf")
TICK_SECONDS: Final = 0.5
"""Deadlines are looked at so often; the time-outs of RFC 5321 are minutes."""
TICKS_A_TIMEOUT: Final = 20
"""Or more often, so that the shortest time-out ends when at most a tenth more than it has passed."""


class Timed(Protocol):
    """Who waits."""

    @property
    def deadline(self) -> float:
        """When to ring, in the seconds of `Deadlines.now`; NEVER if nothing is awaited."""

    def ring(self) -> None:
        """The deadline has passed.  It may be moved, and if it is not, rings again."""


@final
class Deadlines:
    """Looks at everybody's deadline now and then, as long as there is anybody."""

    def __init__(self, clock: Any, shortest: float = TICK_SECONDS * TICKS_A_TIMEOUT) -> None:
        """`clock` is an IReactorTime; `shortest` is the least time-out that there is, in seconds."""
        self.now: Final = clock.seconds
        """Returns the time, in seconds since whenever."""
        self._recently: float = 0.0
        self.tick: Final = min(TICK_SECONDS, shortest / TICKS_A_TIMEOUT)
        self._clock = clock
        self._timed: dict[Timed, None] = {}
        self._looks = False

    def add(self, one: Timed) -> None:
        """Look after one more; bounded by the connections that there are."""
        self._timed[one] = None
        if not self._looks:
            self._looks = True
            self._recently = self.now()
            self._clock.callLater(self.tick, self._look)

    def discard(self, one: Timed) -> None:
        """Let go of one; harmless if it is not there."""
        self._timed.pop(one, None)

    def in_seconds(self, seconds: float) -> float:
        """Return a deadline that is so far away, and up to a tick further; there has to be somebody already."""
        return self._recently + self.tick + seconds

    def _look(self) -> None:
        now = self._recently = self.now()
        for one in [one for one in self._timed if one.deadline <= now]:
            if one in self._timed:  # still, for whoever rang before may have let go of it
                try:
                    one.ring()
                except Exception:  # noqa: BLE001 - the fault of one connection must not end the time-outs of all
                    _log.failure("a time-out failed", failure=Failure())
        self._looks = bool(self._timed)
        if self._looks:
            self._clock.callLater(self.tick, self._look)
