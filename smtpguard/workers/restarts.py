"""When a worker that died is started again.

Contract: at once, and then later and later as long as it goes on dying; one that has lived for a while
begins anew.
"""

from __future__ import annotations

from typing import Final

PAUSES: Final = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before each start; the last one goes on.  Clients that were given to this worker wait meanwhile, so no longer
than a client waits for a banner without giving up (RFC 5321 4.5.3.2.1 has five minutes)."""
LIVED_SECONDS: Final = 60.0
"""Who lived that long did not die of its start."""


class Restarts:
    """Of one worker."""

    def __init__(self) -> None:
        self._deaths = 0

    def pause_after(self, lived: float) -> float:
        """Return how many seconds to wait, after a life of that many."""
        if lived >= LIVED_SECONDS:
            self._deaths = 0
        pause = PAUSES[min(self._deaths, len(PAUSES) - 1)]
        self._deaths += 1
        return pause
