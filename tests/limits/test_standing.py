"""Measures that stand: the hardest is found, they end in time, and there are no more than there may be."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from smtpguard.ledger.measures import Measure
from smtpguard.ledger.standing import Standing
from smtpguard.policy.limits import HARDER, Hardness

KEYS = ("192.0.2.7", "2001:db8::/64", "2001:db8::1")
MEASURES = st.builds(
    lambda hardness, key, until, seconds: Measure(hardness, key, float(until), "a", 0.0, float(seconds)),
    st.sampled_from(HARDER),
    st.sampled_from(KEYS),
    st.integers(1, 100),
    st.integers(0, 5),
)


@given(st.lists(st.tuples(MEASURES, st.integers(0, 10)), max_size=40), st.sets(st.sampled_from(KEYS)))
@settings(max_examples=300, deadline=None)
def test_it_stands_as_a_plain_list_of_measures_would(steps: list[tuple[Measure, int]], keys: set[str]) -> None:
    """Of one hardness the later end and the longer delay; of several the hardest."""
    standing = Standing()
    known: dict[tuple[str, Hardness], tuple[float, float]] = {}
    now = 0.0
    for measure, gap in steps:
        now += gap
        standing.expire(now)
        known = {of: ends for of, ends in known.items() if ends[0] > now}
        if measure.until > now:
            of = measure.key, measure.hardness
            until, seconds = known.get(of, (0.0, 0.0))
            known[of] = max(until, measure.until), max(seconds, measure.seconds)
            assert standing.add(measure) == (not until or measure.seconds > seconds)
        mine = {of: ends for of, ends in known.items() if of[0] in keys}
        found = standing.against(keys, now)
        if not mine:
            assert found is None
            continue
        hardest = max((hardness for _, hardness in mine), key=HARDER.index)
        assert found is not None
        assert found.hardness is hardest
        assert found.seconds == max(seconds for (_, hardness), (_, seconds) in mine.items() if hardness is hardest)
        assert (found.until, found.seconds) == known[found.key, hardest]
        assert {(one.key, one.hardness) for one in standing.all()} == set(known)


def test_what_ends_is_told_once_and_at_its_own_time() -> None:
    """Even if it was made longer meanwhile."""
    standing = Standing()
    assert standing.add(Measure(Hardness.CLOSE, "192.0.2.7", 10.0, "a", 0.0))
    assert not standing.add(Measure(Hardness.CLOSE, "192.0.2.7", 20.0, "a", 0.0))
    assert standing.expire(10.0) == []
    assert [one.until for one in standing.expire(20.0)] == [20.0]
    assert standing.expire(30.0) == []
    assert len(standing) == 0


def test_of_too_many_the_one_that_would_end_first_makes_room() -> None:
    """And a long ban is not driven out by a flood of short ones."""
    standing = Standing(most=100)
    standing.add(Measure(Hardness.BAN, "192.0.2.7", 1e6, "a", 0.0))
    for number in range(5000):
        standing.add(Measure(Hardness.CLOSE, f"2001:db8:{number:x}::/64", 100.0 + number, "a", 0.0))
        assert len(standing) <= 100
    assert standing.evicted == 4901
    assert standing.against(["192.0.2.7"], 0.0) is not None
    assert standing.against(["2001:db8:1387::/64"], 0.0) is not None


def test_no_flood_of_what_is_softer_drives_out_a_ban() -> None:
    """However soon it ends; only a table full of harder measures has no room for it."""
    standing = Standing(most=100)
    for number, hardness in enumerate((*HARDER, Hardness.BAN)):
        standing.add(Measure(hardness, f"192.0.2.{number}", 10.0 + number, "a", 0.0))
    for number in range(5000):
        hardness = HARDER[number % 2]
        standing.add(Measure(hardness, f"2001:db8:{number:x}::/64", 1000.0 + number, "a", 0.0))
    assert standing.evicted == 4904
    assert {one.key for one in standing.all() if one.hardness is Hardness.BAN} == {"192.0.2.2", "192.0.2.3"}
    assert {one.hardness for one in standing.all()} == {Hardness.CLOSE, Hardness.BAN}
    for number in range(200):
        standing.add(Measure(Hardness.BAN, f"2001:db8:{number:x}::/64", 1e6 + number, "a", 0.0))
    assert {one.hardness for one in standing.all()} == {Hardness.BAN}
    assert standing.against(["192.0.2.2"], 0.0) is None


def test_what_is_made_longer_ten_thousand_times_takes_no_more_room() -> None:
    """The queue of ends is made anew."""
    standing = Standing(most=100)
    for number in range(10_000):
        standing.add(Measure(Hardness.CLOSE, "192.0.2.7", float(number + 1), "a", 0.0))
    assert sum(map(len, standing._ends.values())) < 100
    assert standing.expire(9_999.0) == []
    assert len(standing.expire(10_000.0)) == 1


def test_bans_outlive_the_limit_that_led_to_them() -> None:
    """What else stands does not."""
    standing = Standing()
    for hardness in HARDER:
        standing.add(Measure(hardness, "192.0.2.7", 100.0, "a", 0.0))
    standing.add(Measure(Hardness.CLOSE, "192.0.2.8", 100.0, "b", 0.0))
    assert {one.hardness for one in standing.lift_of(frozenset({"a"}))} == {Hardness.DELAY, Hardness.CLOSE}
    assert {(one.key, one.hardness) for one in standing.all()} == {
        ("192.0.2.7", Hardness.BAN),
        ("192.0.2.8", Hardness.CLOSE),
    }


def test_who_is_slowed_or_sent_away_is_told_the_hardest_and_newest_first() -> None:
    """Each once, with the harder of two; who is banned is not among them."""
    standing = Standing()
    for number in range(10):
        key = f"192.0.2.{number}"
        standing.add(Measure(Hardness.DELAY, key, 100.0, "a", float(number), 1.0))
        if number in (3, 4):
            standing.add(Measure(Hardness.CLOSE, key, 100.0, "b", float(number)))
    standing.add(Measure(Hardness.BAN, "192.0.2.9", 100.0, "b", 9.0))
    found, total = standing.held(4)
    assert [(one.key[-1], one.hardness.value) for one in found] == [
        ("4", "close"), ("3", "close"), ("8", "delay"), ("7", "delay"),
    ]  # fmt: skip
    assert total == 9
