"""How a process that serves comes to its end: when its last session has ended, or when there is no more time.

Contract: told to `retire`, it waits for every session, however long that takes; told to `drain`, sessions finish their
transaction within a time.  Then `over` is called, once.  Who listens has stopped before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall

from ..sessions.listener import Reception

STOPS: Final = "the service stops"
"""Why those are turned away who came in the last moment."""
DRAIN_LOOK_SECONDS: Final = 0.05
"""A process that drains looks so often whether its last session has ended."""
RETIRE_LOOK_SECONDS: Final = 0.5
"""The same for one that retires, which may take hours."""
LAST_WORDS_SECONDS: Final = 0.1
"""For replies to leave when nobody is waited for any more."""


class Ending:
    """Of one process."""

    def __init__(self, reactor: Any, reception: Reception, over: Callable[[], None]) -> None:
        self.retires = self.drains = False
        self._reactor = reactor
        self._reception = reception
        self._over = over
        self._timers: list[IDelayedCall] = []

    def retire(self) -> None:
        """Wait for all sessions."""
        self.retires = True
        self._look_soon()

    def drain(self, seconds: float) -> None:
        """Let transactions finish, and cut off what lasts longer."""
        looks = self.retires and not self.drains
        self.drains = True
        self._timers.append(self._reactor.callLater(seconds, self.cut_off))
        for arriving in list(self._reception.arriving):
            arriving.abort()
        for session in list(self._reception.sessions):
            session.drain()
        self._reception.closed_because = STOPS
        if not looks:
            self._look_soon()

    def cut_off(self) -> None:
        """Wait for nobody; lingering clients get one more turn for what was said to them."""
        for session in list(self._reception.sessions):
            session.stop()
        self._timers.append(self._reactor.callLater(LAST_WORDS_SECONDS, self._over))

    def done(self) -> None:
        """It is over: look no more."""
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        self._timers.clear()

    def _look_soon(self) -> None:
        # Not at once: of whom was accepted in this turn the transport tells in the next one.
        seconds = DRAIN_LOOK_SECONDS if self.drains else RETIRE_LOOK_SECONDS
        self._timers = [timer for timer in self._timers if timer.active()]
        self._timers.append(self._reactor.callLater(seconds, self._look))

    def _look(self) -> None:
        if self._reception.sessions or self._reception.arriving:
            self._look_soon()
        else:
            self._over()
