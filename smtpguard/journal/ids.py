"""Session ids of sendmail's shape: 6AM5bOfK015118.

Contract: eight characters that tell the second and a sequence number, then the process id, as
sendmail 8.12 and later write them (14 or more word characters, which is what log filters look for).
No two sessions of a process have the same id: where the clock is set back, or more begin within a second than there are
sequence numbers, the ids go on from the last second that was used.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from typing import Final

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwx"
_SEQUENCE: Final = 60 * 60
"""Ids of one second: what two of these digits can tell apart."""


class SessionIds:
    """Makes the ids of one process."""

    def __init__(self, clock: Callable[[], float] = time.time, pid: int | None = None) -> None:
        self._clock = clock
        self._pid = f"{os.getpid() if pid is None else pid:06d}"
        self._sequence = secrets.randbelow(_SEQUENCE)
        self._second = -1
        self._first = 0  # sequence number in that second
        self._digits = ""  # of that second

    def next(self) -> str:
        second = int(self._clock())
        following = (self._sequence + 1) % _SEQUENCE
        if second <= self._second:  # the clock may have been set back
            second = self._second + 1 if following == self._first else self._second
        if second != self._second:
            self._second = second
            self._first = following
            now = time.gmtime(second)
            fields = (now.tm_year - 1900, now.tm_mon - 1, now.tm_mday, now.tm_hour, now.tm_min, now.tm_sec)
            self._digits = "".join(_DIGITS[digit % 60] for digit in fields)
        self._sequence = following
        return f"{self._digits}{_DIGITS[self._sequence // 60]}{_DIGITS[self._sequence % 60]}{self._pid}"
