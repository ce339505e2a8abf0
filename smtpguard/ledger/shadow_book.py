"""What would have been refused if nothing were in shadow, over all processes.

Contract: without I/O; the time is what the rows say.  ROWS rows at most, of an hour, a rule, a verb, an outcome and a
source each.  Where there is no more room the sources of the oldest hours are counted together (MANY), and within one
hour those that come last; only where nothing else is left does the oldest row go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import evolve

from .shadowed import Key, Shadowed
from .sources import MANY

ROWS: Final = 5000
"""In memory, and as many again of those that are counted together; about 5 MB.  The state file has more (store.py)."""


class ShadowBook:
    """The table."""

    def __init__(self, most: int = ROWS) -> None:
        self._most = most
        self._rows: dict[Key, Shadowed] = {}
        """In the order of the hours, or nearly so."""
        self._full_in = -1  # an hour in which nothing older can make room

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Shadowed]:
        return iter(self._rows.values())

    def add(self, one: Shadowed) -> Shadowed:
        """Note what was told; return it as it is kept, which may be under MANY."""
        if one.key not in self._rows and len(self._rows) >= self._most and not self._make_room(one.key[0]):
            one = _of_many(one)
            if one.key not in self._rows and len(self._rows) >= 2 * self._most:
                del self._rows[next(iter(self._rows))]
        self._put(one)
        return one

    def _make_room(self, hour: int) -> bool:
        """Count the sources of the oldest rows together, of hours before this one; False if there are none."""
        if self._full_in == hour:
            return False
        old = [row for key, row in self._rows.items() if key[0] < hour and row.source != MANY]
        for row in old[: self._most // 10 + 1]:
            del self._rows[row.key]
            self._put(_of_many(row))
        if len(self._rows) < self._most:
            self._rows = dict(sorted(self._rows.items()))
            return True
        self._full_in = hour
        return False

    def _put(self, one: Shadowed) -> None:
        known = self._rows.get(one.key)
        self._rows[one.key] = one if known is None else known.with_(one)


def _of_many(one: Shadowed) -> Shadowed:
    return evolve(one, source=MANY, name="")
