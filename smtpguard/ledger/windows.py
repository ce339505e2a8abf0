"""Counts in sliding windows, in memory: the storage that the strategies of the library `limits` count in here.

Contract: the library's own storage in memory starts timer threads and keeps every key; this one has neither a thread
nor a clock of its own (`now` is asked), holds WINDOWS keys at most, and forgets, when it must, one that counted
little.  It counts as the library's storage in Redis does, so that a limit means the same in both: a window begins with
the first hit; when it is over it becomes the previous one, whose count fades away while the next one lasts.  That is
two numbers a key, however high the limit is, where a list of moments would be as long as the attack.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Final

from limits.storage import SlidingWindowCounterSupport, Storage

WINDOWS: Final = 50_000
"""Keys, a client and a limit each; about 15 MB.  Whoever has more addresses than that is nobody a count would hold."""
LOOKED_AT: Final = 16
"""Of the oldest keys, when one has to go: it is the one of them that has counted least, so that a flood of addresses
that did one thing each drives out its own, and not who has nearly crossed a limit."""
SWEPT: Final = 500
"""Keys that are looked at in one `sweep`, whether they are over."""


class _Window:
    """What one key has counted."""

    __slots__ = ("count", "ends", "previous", "seconds")

    def __init__(self, ends: float, seconds: float) -> None:
        self.count = 0
        self.previous = 0
        self.ends = ends
        self.seconds = seconds

    def move_on(self, now: float) -> None:
        """Let the windows become the ones of `now`."""
        late = now - self.ends
        if late < 0:
            self.bound(now)
            return
        if late < self.seconds:
            self.previous = self.count
            self.ends += self.seconds
        else:
            self.previous = 0
            self.ends = now + self.seconds
        self.count = 0

    def bound(self, now: float) -> None:
        """End no later than one that begins now: if the clock was set back, or what fades would count many times."""
        self.ends = min(self.ends, now + self.seconds)

    def total(self, now: float) -> int:
        """Return how many there are in the window that ends now."""
        if not self.previous:
            return self.count
        return int(self.previous * (self.ends - now) / self.seconds) + self.count


class Windows(Storage, SlidingWindowCounterSupport):
    """The storage."""

    STORAGE_SCHEME = None  # no URL leads here

    def __init__(self, now: Callable[[], float], most: int = WINDOWS) -> None:
        super().__init__()
        self._now = now
        self._most = most
        self._windows: dict[str, _Window] = {}
        self.forgotten = 0
        """Keys that had to go before their time."""

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    # -- what the sliding window is made of ----------------------------------------------------------

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` if no more than `limit` are in the window then."""
        now = self._now()
        window = self._windows.get(key)
        if window is None:
            if amount > limit:
                return False
            if len(self._windows) >= self._most:
                self._make_room(now)
            window = self._windows[key] = _Window(now + expiry, expiry)
        else:
            window.move_on(now)
            if window.total(now) + amount > limit:
                return False
            if not window.count and not window.previous:
                window.ends = now + expiry  # it begins with this hit
        window.count += amount
        return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return the count of the previous window and what is left of its time, and the same of this one."""
        now = self._now()
        window = self._windows.get(key)
        if window is None:
            return 0, 0.0, 0, 0.0
        window.move_on(now)
        left = window.ends - now
        return window.previous, left if window.previous else 0.0, window.count, left + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        self._windows.pop(key, None)

    # -- what every storage has ----------------------------------------------------------------------

    def get(self, key: str) -> int:
        """Return how many are in the window that ends now."""
        window = self._windows.get(key)
        if window is None:
            return 0
        now = self._now()
        window.move_on(now)
        return window.total(now)

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        self.acquire_sliding_window_entry(key, 1 << 62, int(expiry), amount)
        return self.get(key)

    def get_expiry(self, key: str) -> float:
        """Return when nothing is left of it, if nothing more comes."""
        window = self._windows.get(key)
        return self._now() if window is None else window.ends + window.seconds

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        count = len(self._windows)
        self._windows.clear()
        return count

    # -- bounds --------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Forget what is over, of some of the keys; said now and then, it is all of them."""
        now = self._now()
        for key in list(islice(self._windows, SWEPT)):
            window = self._windows.pop(key)
            window.bound(now)
            if now < window.ends + window.seconds:
                self._windows[key] = window  # to the end, so that others are next

    def _make_room(self, now: float) -> None:
        oldest = list(islice(self._windows.items(), LOOKED_AT))
        for _, window in oldest:
            window.move_on(now)
        least, _ = min(oldest, key=lambda pair: pair[1].total(now))
        for key, window in oldest:
            del self._windows[key]
            if key != least:
                self._windows[key] = window
        self.forgotten += 1
