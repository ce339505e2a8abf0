"""Numbers of several rounds: median, spread, percentiles, ratios.

Contract: pure functions of what was measured; a value of no rounds is None, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from attrs import frozen


@frozen
class Spread:
    """What several rounds say of one number."""

    median: float
    least: float
    most: float
    rounds: tuple[float, ...]


def spread(rounds: Sequence[float]) -> Spread | None:
    """Return the median and the ends, or None where nothing was measured."""
    return Spread(median(rounds), min(rounds), max(rounds), tuple(rounds)) if rounds else None


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of all do not exceed (nearest rank).  Needs one value."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def ratio(value: float | None, base: float | None) -> float | None:
    """Return value / base, or None where one is missing or the base is not above 0."""
    return value / base if value is not None and base is not None and base > 0 else None
