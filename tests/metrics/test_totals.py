"""Sums over processes, their bounds, and what happened in the last hour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpguard.ledger.reports import Report
from smtpguard.metrics import catalogue
from smtpguard.metrics.catalogue import CATALOGUE, MOST_SERIES, OTHER, Kind
from smtpguard.metrics.counts import MOST_KEYS, Counts, key_of, read_key
from smtpguard.metrics.history import MINUTES, History
from smtpguard.metrics.totals import Totals

NOW = 1_796_000_000.0
_values = st.sampled_from(["a", "b", "reply", "forward", "VRFY", "ok", OTHER, "5", "inf", "sum"])
_keys = st.builds(
    lambda metric, values: "\t".join([metric, *values]),
    st.sampled_from([*CATALOGUE, "nonsense"]),
    st.lists(_values, max_size=2),
)
_counts = st.dictionaries(_keys, st.integers(0, 1000).map(float), max_size=20)


def sums(totals: Totals) -> dict[str, Any]:
    """Return all that there is in it."""
    found: dict[str, Any] = {
        metric.name: sorted(totals.series(metric)) for metric in CATALOGUE.values() if metric.kind is Kind.COUNTER
    }
    return {**found, "seconds": totals.seconds()}


@given(st.lists(_counts, max_size=8), st.randoms())
def test_the_order_in_which_processes_report_does_not_matter(reports: list[dict[str, float]], random: Any) -> None:
    """Nor does it how often they do."""
    one, other, merged = Totals(), Totals(), Counts()
    for counts in reports:
        one.merge(counts, NOW)
        for key, number in counts.items():
            merged.add(key, number)
    shuffled = random.sample(reports, len(reports))
    for counts in shuffled:
        other.merge(counts, NOW)
    assert sums(one) == sums(other)
    third = Totals()
    third.merge(merged.take(), NOW)
    assert sums(third) == sums(one)


@given(_counts)
def test_counts_come_through_a_report_as_they_are(counts: dict[str, float]) -> None:
    """JSON carries them between processes."""
    assert Report.from_json(Report(0, counts=counts).to_json()).counts == counts


@given(
    st.dictionaries(
        st.text(max_size=30) | _keys, st.floats() | st.integers() | st.none() | st.text(max_size=3) | st.just(10**400)
    )
)
def test_what_is_in_no_catalogue_is_dropped(counts: Mapping[str, Any]) -> None:
    """A worker that has gone wrong fills nothing, and takes nothing away."""
    totals = Totals()
    totals.merge(counts, NOW)
    for metric in CATALOGUE.values():
        if metric.kind is Kind.COUNTER:
            for values, number in totals.series(metric):
                assert metric.takes(values)
                assert number >= 0


def test_rules_are_bounded_and_sums_never_fall() -> None:
    """Of too many the one that was not used for longest becomes `other`; a rule that is used stays."""
    totals, told = Totals(), 0
    used = key_of(catalogue.VERDICTS, "used.yaml:1", "reply")
    for number in range(3 * MOST_SERIES):
        counts = {key_of(catalogue.VERDICTS, f"policy.yaml:{number}", "reply"): 2.0, used: 1.0}
        told += 3
        totals.merge(counts, NOW + number)
        series = dict(totals.series(catalogue.VERDICTS))
        assert len(series) <= MOST_SERIES + 1
        assert sum(series.values()) == told
    assert series["used.yaml:1", "reply"] == 3 * MOST_SERIES
    assert series[OTHER, "reply"] > 0
    rows = totals.verdicts(NOW + 3 * MOST_SERIES)
    assert len(rows) == MOST_SERIES
    assert rows[0]["rule"] == "used.yaml:1"


def test_a_process_that_nobody_asks_holds_a_bounded_number_of_keys() -> None:
    """The place where it is told may be away for long; what it counts already goes on."""
    counts = Counts()
    for number in range(2 * MOST_KEYS):
        counts.verdict(f"policy.yaml:{number}", "reply")
        counts.verdict("policy.yaml:1", "reply")
    taken = counts.take()
    assert len(taken) <= MOST_KEYS
    assert taken[key_of(catalogue.VERDICTS, "policy.yaml:1", "reply")] == 2 * MOST_KEYS + 1


@given(st.lists(st.text(), max_size=2))
def test_a_key_can_be_read_back_whatever_the_policys_file_is_called(values: list[str]) -> None:
    """A TAB or a line end in a file's name is a question mark."""
    name, read = read_key(key_of(catalogue.VERDICTS, *values))
    assert name == catalogue.VERDICTS.name
    assert [len(value) for value in read] == [len(value) for value in values]
    assert all(value.isprintable() for value in read)


# -- for the status document -----------------------------------------------------------------------


def test_the_status_gets_verdicts_verbs_sessions_and_who_was_turned_away() -> None:
    """The most frequent first."""
    totals = Totals()
    counts = Counts()
    for rule, times in (("a", 1), ("b", 3)):
        for _ in range(times):
            counts.verdict(rule, "reply")
    counts.verdict("", "forward")
    counts.count(catalogue.COMMANDS, "VRFY", number=4)
    counts.count(catalogue.COMMANDS, "MAIL", number=5)
    counts.count(catalogue.PASSED, "MAIL", number=2)
    counts.count(catalogue.SESSIONS_BEGUN, "tcp:25", number=7)
    counts.count(catalogue.TURNED_AWAY, "limit", number=2)
    counts.count(catalogue.CROSSED, "scanners", "ban")
    counts.count(catalogue.CROSSED, "scanners", "delay", number=2)
    totals.merge(counts.take(), NOW)
    rows = totals.verdicts(NOW)
    assert [(row["rule"], row["action"], row["count"]) for row in rows] == [
        ("b", "reply", 3),
        ("a", "reply", 1),
        ("none", "forward", 1),
    ]
    assert rows[0]["history"] == [0] * 59 + [3]
    assert totals.verbs() == [{"verb": "MAIL", "passed": 2, "all": 5}, {"verb": "VRFY", "passed": 0, "all": 4}]
    assert totals.sessions() == 7
    assert totals.turned_away() == {"limit": 2}
    assert totals.crossed() == {"scanners": 3}


@given(st.lists(st.tuples(st.floats(0, 8000), st.integers(0, 9)), max_size=30), st.floats(0, 20_000))
def test_the_history_is_that_of_the_last_sixty_minutes(events: list[tuple[float, int]], later: float) -> None:
    """As a list of all events would have it."""
    history, moments = History(), []
    now = NOW
    for passed, number in events:
        now += passed
        history.add(number, now)
        moments.append((int(now // 60), number))
    now += later
    minute = int(now // 60)
    expected = [sum(n for at, n in moments if at == minute - MINUTES + 1 + place) for place in range(MINUTES)]
    assert history.at(now) == expected
    assert history.total == sum(number for _, number in events)


def test_a_clock_that_was_years_ahead_leaves_no_hour_that_never_ends() -> None:
    """Set right again, it is a new beginning for all but the total."""
    history = History()
    history.add(5, NOW + 10 * 365 * 86400)
    history.add(1, NOW)
    assert history.at(NOW) == [0] * 59 + [1]
    assert history.at(NOW + MINUTES * 60) == [0] * MINUTES
    assert history.total == 6


def test_a_clock_that_goes_back_counts_for_the_newest_minute() -> None:
    """And nothing is lost."""
    history = History()
    history.add(1, NOW)
    history.add(1, NOW - 7200)
    assert history.at(NOW - 7200) == [0] * 59 + [2]


@pytest.mark.parametrize("metric", CATALOGUE.values(), ids=lambda metric: metric.name)
def test_a_metric_has_help_and_labels_with_bounds(metric: catalogue.Metric) -> None:
    """A label that is open is one that settings or policy give values to; there are five."""
    assert metric.help.endswith(".")
    assert {label.name for label in metric.labels if label.values is None} <= {
        "listener",
        "rule",
        "endpoint",
        "limit",
        "version",
        "policy",
    }
