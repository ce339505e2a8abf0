"""What all processes of a service have counted since it began.

Contract: sums of what `Counts.take` returned; what is in no catalogue is dropped, so that a process gone wrong cannot
fill memory.  A metric whose labels the policy or the settings bound has at most MOST_SERIES series: of more, the one
that was not counted for longest goes, and its count goes to `other`, so that sums never fall.  Time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .catalogue import (
    CATALOGUE,
    COMMANDS,
    CROSSED,
    MOST_SERIES,
    OTHER,
    PASSED,
    SECONDS,
    SESSION_SECONDS,
    SESSIONS_BEGUN,
    TURNED_AWAY,
    VERDICTS,
    Kind,
    Metric,
)
from .counts import read_key
from .history import History

Values = tuple[str, ...]
_BUCKETS: Final = (*(f"{bound:g}" for bound in SESSION_SECONDS), "inf")
_SUM: Final = "sum"
MOST: Final = 2.0**53
"""Of one count; from here on a float cannot tell one more."""


class Totals:
    """Sums."""

    def __init__(self) -> None:
        self._sums: dict[str, dict[Values, float]] = {
            metric.name: dict.fromkeys(metric.expected, 0.0)
            for metric in CATALOGUE.values()
            if metric.kind is not Kind.GAUGE
        }
        self._seconds = dict.fromkeys((*_BUCKETS, _SUM), 0.0)
        self._verdicts: dict[Values, History] = {}

    def merge(self, counts: Mapping[str, float], now: float) -> None:
        """Add what one process has counted; `now` is seconds since 1970."""
        for key, number in counts.items():
            if not _counts(number):
                continue
            name, values = read_key(key)
            if name == SECONDS.name:
                if len(values) == 1 and values[0] in self._seconds:
                    self._seconds[values[0]] += number
            elif name in self._sums and CATALOGUE[name].takes(values):
                self._add(CATALOGUE[name], values, number)
                if name == VERDICTS.name:
                    self._remember(values, int(number), now)

    def count(self, metric: Metric, *values: str, number: float = 1) -> None:
        """Count something that the process that keeps the totals does itself."""
        if metric.takes(values):
            self._add(metric, values, number)

    def _add(self, metric: Metric, values: Values, number: float) -> None:
        series = self._sums[metric.name]
        before = series.pop(values, None)  # what was counted last stands last
        if before is None and metric.labels and len(series) >= MOST_SERIES:
            self._make_room(metric, series)
        series[values] = (before or 0) + number

    def _make_room(self, metric: Metric, series: dict[Values, float]) -> None:
        oldest = next(one for one in series if not _is_other(one))
        rest = tuple(
            OTHER if label.values is None else value for label, value in zip(metric.labels, oldest, strict=True)
        )
        series[rest] = series.get(rest, 0) + series.pop(oldest)

    def _remember(self, values: Values, number: int, now: float) -> None:
        history = self._verdicts.pop(values, None)
        if history is None:
            history = History()
            if len(self._verdicts) >= MOST_SERIES:
                del self._verdicts[next(iter(self._verdicts))]
        self._verdicts[values] = history
        history.add(number, now)

    # -- for an exposition ---------------------------------------------------------------------------

    def series(self, metric: Metric) -> Iterator[tuple[Values, float]]:
        """Yield the values of the labels and the sum of each series of a counter."""
        yield from self._sums[metric.name].items()

    def seconds(self) -> tuple[list[tuple[str, float]], float]:
        """Return the cumulative buckets of SESSION_SECONDS, and the sum."""
        buckets, below = [], 0.0
        for bound in _BUCKETS:
            below += self._seconds[bound]
            buckets.append(("+Inf" if bound == "inf" else bound, below))
        return buckets, self._seconds[_SUM]

    # -- for the status document ---------------------------------------------------------------------

    def verdicts(self, now: float) -> list[dict[str, Any]]:
        """Return the decisions by rule and action, the most frequent of the last hour first."""
        rows = [
            {"rule": rule, "action": action, "count": history.total, "history": history.at(now)}
            for (rule, action), history in self._verdicts.items()
        ]
        return sorted(rows, key=lambda row: (-sum(row["history"]), -row["count"], row["rule"]))

    def verbs(self) -> list[dict[str, Any]]:
        """Return the commands by verb, the most frequent first."""
        passed = self._sums[PASSED.name]
        rows = [
            {"verb": verb, "passed": int(passed.get((verb,), 0)), "all": int(number)}
            for (verb,), number in self._sums[COMMANDS.name].items()
        ]
        return sorted(rows, key=lambda row: (-row["all"], row["verb"]))

    def sessions(self) -> int:
        """Return how many sessions began."""
        return int(sum(self._sums[SESSIONS_BEGUN.name].values()))

    def turned_away(self) -> dict[str, int]:
        """Return how many clients got no session, by reason."""
        counted = sorted(self._sums[TURNED_AWAY.name].items())
        return {reason: int(number) for (reason,), number in counted if number}

    def crossed(self) -> dict[str, int]:
        """Return how often each limit was crossed, at any of its steps."""
        found: dict[str, int] = {}
        for (limit, _), number in self._sums[CROSSED.name].items():
            found[limit] = found.get(limit, 0) + int(number)
        return found


def _counts(number: object) -> bool:
    return isinstance(number, int | float) and 0 <= number <= MOST


def _is_other(values: Values) -> bool:
    return OTHER in values
