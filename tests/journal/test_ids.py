"""Session ids when the clock does what it should not."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from smtpguard.journal.ids import SessionIds

NOW = 1783243061.5


def test_a_clock_that_was_set_back_makes_no_id_twice() -> None:
    """The same seconds come again, and the ids go on from the last one."""
    now = NOW
    ids = SessionIds(lambda: now, pid=15118)
    made = []
    for second in [*range(100), *range(100)]:
        now = NOW + second
        made += [ids.next() for _ in range(90)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"[0-9A-Za-x]{8}015118", one) for one in made)


def test_more_sessions_in_a_second_than_there_are_numbers_borrow_from_the_next() -> None:
    """And the time goes on as it was once the clock has passed that."""
    now = NOW
    ids = SessionIds(lambda: now, pid=15118)
    made = [ids.next() for _ in range(3600 * 3)]
    assert len(set(made)) == len(made)
    now += 10
    assert ids.next()[:6] == SessionIds(lambda: now, pid=1).next()[:6]


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(1, 2000)), max_size=12))
def test_whatever_the_clock_does_no_id_comes_twice(steps: list[tuple[int, int]]) -> None:
    """Steps of the clock, and sessions behind each."""
    now = NOW
    ids = SessionIds(lambda: now, pid=15118)
    made = []
    for step, sessions in steps:
        now += step
        made += [ids.next() for _ in range(sessions)]
    assert len(set(made)) == len(made)
