"""What one process has counted since it last told.

Contract: a key is a metric's name and the values of its labels, joined by TABs, so that counts are a flat mapping that
JSON carries.  `add` is one addition in a dict.  Nothing that a client writes is in a key.
"""

from __future__ import annotations

from typing import Final

from .catalogue import MOST_SERIES, NO_RULE, SHADOWED, VERDICTS, Metric

MOST_KEYS: Final = 4 * MOST_SERIES
"""Between two `take`, which is a second; beyond it, as when nobody takes, new keys are not counted."""


def key_of(metric: Metric, *values: str) -> str:
    """Return the key of one of a metric's series."""
    return "\t".join((metric.name, *map(_plain, values)))


def read_key(key: str) -> tuple[str, tuple[str, ...]]:
    """Return the metric's name and the values of its labels."""
    name, *values = key.split("\t")
    return name, tuple(values)


def _plain(value: str) -> str:
    return value if value.isprintable() else "".join(c if c.isprintable() else "?" for c in value)


class Counts:
    """A process's counters."""

    def __init__(self) -> None:
        self._counted: dict[str, float] = {}
        self._rules: dict[tuple[str, str], str] = {}
        self._shadow: dict[tuple[str, str], str] = {}

    def add(self, key: str, number: float = 1) -> None:
        """Count."""
        counted = self._counted
        if key in counted:
            counted[key] += number
        elif len(counted) < MOST_KEYS:
            counted[key] = number

    def count(self, metric: Metric, *values: str, number: float = 1) -> None:
        """The same where the key is not worth keeping."""
        self.add(key_of(metric, *values), number)

    def verdict(self, rule: str, action: str) -> None:
        """Count a decision; its key is kept, since a flood has few rules."""
        key = self._rules.get((rule, action))
        if key is None:
            if len(self._rules) >= MOST_SERIES:  # a policy may have more, and reloads make new ones
                self._rules.clear()
            key = self._rules[rule, action] = key_of(VERDICTS, rule or NO_RULE, action)
        self.add(key)

    def shadowed(self, rule: str, verb: str) -> None:
        """Count what a rule in shadow would have decided; `verb` is of the table, or UNKNOWN."""
        key = self._shadow.get((rule, verb))
        if key is None:
            if len(self._shadow) >= MOST_SERIES:
                self._shadow.clear()
            key = self._shadow[rule, verb] = key_of(SHADOWED, rule or NO_RULE, verb)
        self.add(key)

    def take(self) -> dict[str, float]:
        """Return what was counted since the last call."""
        taken, self._counted = self._counted, {}
        return taken
