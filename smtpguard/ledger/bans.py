"""Bans that stand, over all processes that serve.

Contract: without I/O, time is an argument; bounded.  A ban has a key, an address or a prefix in the form of
smtpguard.ledger.sources.written; of two for one key the one that ends later stands.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, Final

from .lifting import concerned
from .measures import Hardness, Measure
from .sources import written

BANS: Final = 10_000
"""Bans at once; of more, those that end first make room."""


class Bans:
    """The table."""

    def __init__(self) -> None:
        self._bans: dict[str, Measure] = {}
        self.crowded_out = 0
        """How many made room for others."""

    def __len__(self) -> int:
        return len(self._bans)

    def __iter__(self) -> Iterator[Measure]:
        return iter(self._bans.values())

    def add(self, ban: Measure, now: float) -> list[str] | None:
        """Note a ban; return the keys that made room for it, or None if it says nothing new."""
        known = self._bans.get(ban.key)
        if ban.hardness is not Hardness.BAN or ban.until <= now or (known is not None and known.until >= ban.until):
            return None
        gone = []
        if known is None and len(self._bans) >= BANS:
            first = min(self._bans.values(), key=lambda one: one.until)
            if first.until >= ban.until:
                return None
            gone.append(first.key)
            del self._bans[first.key]
            self.crowded_out += 1
        self._bans[ban.key] = ban
        return gone

    def lift(self, text: str) -> list[str]:
        """End the bans of an address and of the prefixes that hold it, or of all in a prefix; return their keys."""
        try:
            wanted = written(text)
        except ValueError:
            return []
        gone = concerned(wanted, self._bans)
        for key in gone:
            del self._bans[key]
        return gone

    def end(self, key: str) -> None:
        """End the ban of a key, if there is one."""
        self._bans.pop(key, None)

    def expire(self, now: float) -> list[str]:
        """End what is over; return the keys."""
        gone = [key for key, ban in self._bans.items() if ban.until <= now]
        for key in gone:
            del self._bans[key]
        return gone

    def rows(self, most: int = BANS) -> list[dict[str, Any]]:
        """Return the newest as the status shows them, the newest first."""
        return [as_dict(one) for one in heapq.nlargest(most, self._bans.values(), key=lambda one: one.since)]


def as_dict(ban: Measure) -> dict[str, Any]:
    """Return a ban as the status shows it."""
    return {"key": ban.key, "until": ban.until, "since": ban.since, "limit": ban.limit, "count": ban.count}
