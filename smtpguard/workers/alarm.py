"""One thing to do later, for a loop that has no reactor.

Contract: what was asked for last is done once, when `ring` is called at or behind its time.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Alarm:
    """Remembers what is to be done, and when."""

    def __init__(self) -> None:
        self.due = float("inf")
        """Of time.monotonic(); infinite if there is nothing to do."""
        self._act: Callable[[], None] | None = None

    def call_later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do it in so many seconds."""
        self.due = time.monotonic() + seconds
        self._act = act

    def ring(self) -> None:
        """Do what is due."""
        act = self._act
        if act is not None and self.due <= time.monotonic():
            self.due, self._act = float("inf"), None
            act()
