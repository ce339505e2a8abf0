"""The measures that stand now, found by the address of a client or by its prefix.

Contract: pure; time is an argument.  There are STANDING keys at most, and of each key one measure of each hardness; the
softest make room, and of those the one that would end first: no flood of small deeds ends a ban.  To find one takes as
long with one key as with all.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Final

from attrs import evolve

from ..policy.limits import HARDER, Hardness
from .measures import Measure

STANDING: Final = 20_000
"""Keys; about 10 MB.  A site that is attacked by more addresses at once needs a firewall (docs/limits.md)."""
RECKONED: Final = 4
"""Entries of a queue for each key, before the queue is made anew: each time that a measure is made longer leaves one
behind."""


class Standing:
    """The measures."""

    def __init__(self, most: int = STANDING) -> None:
        self._most = most
        self._of: dict[str, dict[Hardness, Measure]] = {}
        self._ends: dict[Hardness, list[tuple[float, str]]] = {hardness: [] for hardness in HARDER}
        """When and whose, a queue for each hardness; entries of measures that were made longer stay behind."""
        self.evicted = 0
        """Measures that had to go before their time."""

    def __len__(self) -> int:
        return len(self._of)

    def add(self, measure: Measure) -> bool:
        """Let a measure stand; True if that is news.

        Of two of the same hardness the longer delay counts, and the later end.
        """
        of_key = self._of.get(measure.key)
        if of_key is None:
            if len(self._of) >= self._most:
                self._make_room()
            of_key = self._of[measure.key] = {}
        before = of_key.get(measure.hardness)
        if before is not None:
            if before.until >= measure.until and before.seconds >= measure.seconds:
                return False
            until, seconds = max(before.until, measure.until), max(before.seconds, measure.seconds)
            measure = evolve(measure, until=until, seconds=seconds)
        of_key[measure.hardness] = measure
        ends = self._ends[measure.hardness]
        heapq.heappush(ends, (measure.until, measure.key))
        if len(ends) > RECKONED * (len(self._of) + self._most // 10):
            ends[:] = [(one.until, one.key) for one in self.all() if one.hardness is measure.hardness]
            heapq.heapify(ends)
        return before is None or measure.seconds > before.seconds

    def against(self, keys: Iterable[str], now: float) -> Measure | None:
        """Return the hardest measure that stands against a client with these keys."""
        found: Measure | None = None
        for key in keys:
            of_key = self._of.get(key)
            if of_key is None:
                continue
            for measure in of_key.values():
                if measure.until > now and (found is None or _rank(measure) > _rank(found)):
                    found = measure
        return found

    def of(self, key: str) -> list[Measure]:
        """Return what stands against one key."""
        return list(self._of.get(key, {}).values())

    def all(self) -> list[Measure]:
        """Return all of them."""
        return [measure for of_key in self._of.values() for measure in of_key.values()]

    def held(self, most: int) -> tuple[list[Measure], int]:
        """Return what counts against each key that is not banned, the hardest and newest ones; and how many."""
        closes: list[Measure] = []
        delays: list[Measure] = []
        for of_key in self._of.values():
            if Hardness.BAN in of_key:
                continue
            close = of_key.get(Hardness.CLOSE)
            if close is not None:
                closes.append(close)
            else:
                delays += of_key.values()
        found = heapq.nlargest(most, closes, key=_since)
        found += heapq.nlargest(most - len(found), delays, key=_since)
        return found, len(closes) + len(delays)

    def keys(self) -> list[str]:
        """Return whom something stands against."""
        return list(self._of)

    def lift(self, key: str) -> list[Measure]:
        """Let a key off, and return what stood against it."""
        return list(self._of.pop(key, {}).values())

    def lift_of(self, limits: frozenset[str]) -> list[Measure]:
        """Let off all that stands, bans apart, for these limits."""
        gone = [one for one in self.all() if one.limit in limits and one.hardness is not Hardness.BAN]
        for measure in gone:
            self._drop(measure)
        return gone

    def expire(self, now: float) -> list[Measure]:
        """Return the measures that have ended since, and forget them."""
        ended = []
        for hardness, ends in self._ends.items():
            while ends and ends[0][0] <= now:
                measure = self._next(hardness)
                if measure is not None:
                    ended.append(measure)
        return sorted(ended, key=_until)

    def _next(self, hardness: Hardness) -> Measure | None:
        """Take what is at the head of a queue, and let the measure go if it is the one that ends then."""
        until, key = heapq.heappop(self._ends[hardness])
        measure = self._of.get(key, {}).get(hardness)
        if measure is None or measure.until != until:
            return None
        self._drop(measure)
        return measure

    def _make_room(self) -> None:
        while len(self._of) >= self._most:
            softest = next(hardness for hardness in HARDER if self._ends[hardness])
            if self._next(softest) is not None:
                self.evicted += 1

    def _drop(self, measure: Measure) -> None:
        of_key = self._of.get(measure.key)
        if of_key is not None:
            of_key.pop(measure.hardness, None)
            if not of_key:
                del self._of[measure.key]


def _until(measure: Measure) -> float:
    return measure.until


def _since(measure: Measure) -> float:
    return measure.since


def _rank(measure: Measure) -> tuple[int, float, float]:
    return HARDER.index(measure.hardness), measure.seconds, measure.until
