"""What all workers say is written once.

Contract: a line is written unless another worker has said the same a moment ago; who says it a second
time says something new.  Takes the time as an argument.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

SAME_SECONDS: Final = 60.0
"""Workers find the same thing out apart by no more than this: a backend that is away is asked every 30 s
(smtpguard.backends.relay_watch.ASK_AGAIN_SECONDS)."""
REMEMBERED: Final = 256
"""Lines; the oldest is forgotten, and may then be written twice."""


class Sayings:
    """Which worker has said what."""

    def __init__(self) -> None:
        self._said: OrderedDict[str, tuple[float, set[int]]] = OrderedDict()

    def is_new(self, worker: int, text: str, now: float) -> bool:
        """Note that a worker said it; True if it is to be written."""
        since, by = self._said.get(text, (0.0, set()))
        if by and worker not in by and now - since <= SAME_SECONDS:
            by.add(worker)
            return False
        self._said[text] = now, {worker}
        self._said.move_to_end(text)
        if len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        return True
