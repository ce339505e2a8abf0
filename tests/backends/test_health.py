"""When a backend is up, when it is down, and when it is tried again; no network."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from smtpguard.backends.health import FIRST_SECONDS, LONGEST_SECONDS, Health


def _none() -> float:
    return 0.0


def _health(rise: int = 1, fall: int = 3, jitter: Callable[[], float] = _none) -> Health:
    return Health(rise, fall, 100.0, jitter)


def test_it_falls_by_failures_in_a_row_only() -> None:
    """A client's session that goes well in between begins the count anew."""
    health = _health()
    for _ in range(5):
        assert not health.failed(101, "x", checked=False)
        assert not health.failed(102, "x", checked=True)
        health.passed(103, checked=False)
    assert health.up
    assert [health.failed(104, "why", checked=False) for _ in range(3)] == [False, False, True]
    assert (health.up, health.since, health.fault, health.failures) == (False, 104, "why", 13)


def test_what_is_certain_needs_no_second_time() -> None:
    """Nobody listens there."""
    health = _health(fall=100)
    assert health.failed(101, "refused", checked=False, certain=True)
    assert not health.failed(101, "refused", checked=False, certain=True)  # told once


def test_only_checks_bring_it_back_and_as_many_as_rise_says() -> None:
    """A session may have begun before it went away; a check that fails begins the count anew."""
    health = _health(rise=2)
    health.failed(101, "x", checked=True, certain=True)
    assert not health.passed(102, checked=False)
    assert not health.passed(102, checked=True)
    health.failed(103, "x", checked=True)
    assert not health.passed(104, checked=True)
    assert health.next_try == 105
    assert health.passed(105, checked=True)
    assert (health.up, health.since) == (True, 105)


def test_it_is_left_alone_for_longer_and_longer_and_at_most_a_minute() -> None:
    """For years, if need be; and what sessions find does not put it off."""
    health = _health()
    health.failed(0, "x", checked=False, certain=True)
    now, waits = 0.0, []
    for _ in range(2000):
        health.failed(now, "late news", checked=False)
        waits.append(health.next_try - now)
        now = health.next_try
        health.failed(now, "x", checked=True, certain=True)
    assert waits[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert max(waits) == LONGEST_SECONDS
    health.passed(now, checked=True)
    health.failed(now, "x", checked=False, certain=True)
    assert health.next_try == now + FIRST_SECONDS


@pytest.mark.parametrize("drawn", [0.0, 0.5, 1.0])
def test_the_lot_spreads_waits_within_the_bounds(drawn: float) -> None:
    """A quarter, and never below a second."""
    health = _health(jitter=lambda: drawn)
    now, waits = 0.0, []
    health.failed(now, "x", checked=True, certain=True)
    for _ in range(10):
        waits.append(health.next_try - now)
        now = health.next_try
        health.failed(now, "x", checked=True)
    assert waits[:3] == [1.0, 2 * (1 - drawn / 4), 4 * (1 - drawn / 4)]
    assert all(FIRST_SECONDS <= wait <= LONGEST_SECONDS for wait in waits)


def test_what_was_found_is_good_for_a_while_and_not_behind_a_doubt() -> None:
    """Then it is checked."""
    health = _health()
    assert not health.found_within(30, 100)
    health.passed(110, checked=False)
    assert health.found_within(30, 140)
    assert not health.found_within(30, 141)
    health.doubt()
    assert not health.found_within(30, 111)
    assert health.up
