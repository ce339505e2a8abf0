"""Signs of life for systemd: the watchdog's, and the status line.

Contract: a `Pulse` says WATCHDOG=1 twice in the time within which systemd wants to hear it
(sd_watchdog_enabled(3)), from the event loop itself, so that a loop that is stuck says nothing and systemd ends
the process.  It keeps the status line true.  Where nobody is told, it does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall

from . import systemd

STATUS_SECONDS: Final = 5.0
"""The number of sessions in the status line is no older; nothing is sent while it has not changed."""


class Pulse:
    """Of a service that is one process."""

    def __init__(self, reactor: Any, status: Callable[[], str]) -> None:
        """`status` is asked what the status line is now."""
        self._reactor = reactor
        self._status = status
        self._line = systemd.StatusLine()
        self._watchdog = systemd.watchdog_seconds()
        self._timers: list[IDelayedCall] = []
        self._on = False

    def start(self) -> None:
        """Begin; READY=1 is said apart."""
        if not systemd.is_told() or self._on:
            return
        self._on = True
        self._every(STATUS_SECONDS, self.show)
        if self._watchdog is not None:
            self._every(self._watchdog / 2, lambda: systemd.notify("WATCHDOG=1"))

    def show(self, with_it: str = "") -> None:
        """Tell the status now, if it has changed, and `with_it` in any case."""
        if systemd.is_told():
            self._line.show(self._status(), with_it)

    def stop(self) -> None:
        """End."""
        self._on = False
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        self._timers.clear()

    def _every(self, seconds: float, act: Callable[[], None]) -> None:
        def turn() -> None:
            self._timers[:] = [timer for timer in self._timers if timer.active()]
            act()
            if self._on:
                self._timers.append(self._reactor.callLater(seconds, turn))

        turn()
