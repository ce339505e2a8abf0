"""The storage in memory that the library's strategy counts in: right, bounded, and without a thread."""

from __future__ import annotations

import threading

from hypothesis import given, settings
from hypothesis import strategies as st
from limits.limits import RateLimitItemPerSecond
from limits.strategies import SlidingWindowCounterRateLimiter

from smtpguard.ledger.windows import LOOKED_AT, Windows

SECONDS = 60
KEYS = ("192.0.2.1", "192.0.2.2", "2001:db8::/64")

HITS = st.lists(
    st.tuples(st.floats(0, 40, allow_nan=False), st.sampled_from(KEYS), st.integers(1, 5)), min_size=1, max_size=60
)


class Naive:
    """Every hit with its moment, and the same arithmetic done over all of them."""

    def __init__(self) -> None:
        self.hits: list[tuple[float, int]] = []

    def count(self, now: float) -> int:
        """Return what a window counts: this one, and the part of the one before that is left."""
        if not self.hits:
            return 0
        begins, previous, current = self.hits[0][0], 0, 0
        for when, amount in self.hits:
            while when >= begins + SECONDS:
                begins, previous, current = begins + SECONDS, current, 0
            if not previous and not current:
                begins = when
            current += amount
        if now >= begins + 2 * SECONDS:
            return 0
        if now >= begins + SECONDS:
            begins, previous, current = begins + SECONDS, current, 0
        return int(previous * (begins + SECONDS - now) / SECONDS) + current


@given(HITS)
@settings(max_examples=300, deadline=None)
def test_it_counts_as_all_hits_one_by_one_would(hits: list[tuple[float, str, int]]) -> None:
    """Of each key by itself, whatever the gaps."""
    now = 0.0
    windows = Windows(lambda: now)
    limiter = SlidingWindowCounterRateLimiter(windows)
    item = RateLimitItemPerSecond(1 << 40, SECONDS)
    naive = {key: Naive() for key in KEYS}
    for gap, key, amount in hits:
        now += gap
        assert limiter.hit(item, key, cost=amount)
        naive[key].hits.append((now, amount))
        for one in KEYS:
            assert windows.get(item.key_for(one)) == naive[one].count(now)
            assert limiter.get_window_stats(item, one).remaining == (1 << 40) - naive[one].count(now)


@given(HITS, st.integers(1, 20))
@settings(max_examples=200, deadline=None)
def test_no_window_has_more_than_its_limit(hits: list[tuple[float, str, int]], limit: int) -> None:
    """Where the strategy is asked to refuse: the library's promise holds over this storage."""
    now = 0.0
    windows = Windows(lambda: now)
    limiter = SlidingWindowCounterRateLimiter(windows)
    item = RateLimitItemPerSecond(limit, SECONDS)
    for gap, key, amount in hits:
        now += gap
        before = windows.get(item.key_for(key))
        assert limiter.hit(item, key, cost=amount) == (before + amount <= limit)
        assert windows.get(item.key_for(key)) <= limit


def test_the_first_window_counts_exactly() -> None:
    """So that `20/hour` is crossed by the 21st of an hour, and not by some estimate."""
    now = 1000.0
    windows = Windows(lambda: now)
    for number in range(1, 50):
        now += 1
        assert windows.acquire_sliding_window_entry("a", 1 << 40, SECONDS)
        assert windows.get("a") == number
    now = 1001.0 + 2 * SECONDS
    assert windows.get("a") == 0


@given(st.lists(st.integers(0, 200), min_size=1, max_size=400), st.integers(LOOKED_AT, 40))
@settings(max_examples=100, deadline=None)
def test_it_holds_no_more_keys_than_it_may(keys: list[int], most: int) -> None:
    """Whatever comes."""
    windows = Windows(lambda: 0.0, most)
    for key in keys:
        windows.acquire_sliding_window_entry(str(key), 1 << 40, SECONDS)
        assert len(windows) <= most


def test_a_flood_of_addresses_drives_out_itself_and_not_who_has_counted_much() -> None:
    """One address has nearly crossed a limit; ten thousand others do one thing each."""
    windows = Windows(lambda: 0.0, 100)
    for number in range(10):
        windows.acquire_sliding_window_entry(f"before {number}", 1 << 40, SECONDS)
    for _ in range(19):
        windows.acquire_sliding_window_entry("guesser", 1 << 40, SECONDS)
    for number in range(10_000):
        windows.acquire_sliding_window_entry(f"flood {number}", 1 << 40, SECONDS)
    assert windows.get("guesser") == 19
    assert windows.forgotten > 9_900


def test_what_is_over_is_swept_and_nothing_else() -> None:
    """In as many calls as it takes."""
    now = 0.0
    windows = Windows(lambda: now)
    for number in range(3000):
        windows.acquire_sliding_window_entry(f"old {number}", 1 << 40, SECONDS)
    now = 1.5 * SECONDS
    windows.acquire_sliding_window_entry("new", 1 << 40, SECONDS)
    for _ in range(10):
        windows.sweep()
    assert len(windows) == 3001  # the previous window still counts
    now = 2 * SECONDS
    for _ in range(10):
        windows.sweep()
    assert len(windows) == 1
    assert windows.get("new") == 1


def test_a_clock_that_is_set_back_multiplies_nothing() -> None:
    """What fades counts at most what it was, or a step of the clock would ban whoever did a thing or two."""
    now = 1_000_000.0
    windows = Windows(lambda: now)
    item = RateLimitItemPerSecond(1 << 40, SECONDS)
    limiter = SlidingWindowCounterRateLimiter(windows)
    limiter.hit(item, KEYS[0], cost=5)
    limiter.hit(item, KEYS[1], cost=5)
    now += SECONDS
    limiter.hit(item, KEYS[0])
    now -= 86_400
    assert windows.get(item.key_for(KEYS[0])) == 6
    assert limiter.get_window_stats(item, KEYS[0]).remaining == (1 << 40) - 6
    windows.sweep()
    now += 2 * SECONDS
    windows.sweep()
    assert len(windows) == 0


def test_it_starts_no_thread() -> None:
    """Unlike the library's own storage in memory, which a service that forks could not use."""
    before = threading.active_count()
    windows = Windows(lambda: 0.0)
    SlidingWindowCounterRateLimiter(windows).hit(RateLimitItemPerSecond(5, SECONDS), "a")
    assert threading.active_count() == before
