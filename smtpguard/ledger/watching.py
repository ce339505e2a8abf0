"""Sources that have done something, and not enough for an incident.

Contract: without I/O.  Bounded; who is crowded out is handed back with what it did, the one of the fewest points first
and of those the one that was heard of first.
"""

from __future__ import annotations

from typing import Final

from .deeds import Deed
from .suspicion import ENOUGH, points

WATCHED: Final = 5000
"""Sources; up to about 5 kB each, since each deed is a point at least."""


class Watched:
    """What each has done."""

    def __init__(self) -> None:
        self._deeds: dict[str, list[Deed]] = {}
        self._points: dict[str, int] = {}
        self._by_points: list[dict[str, None]] = [{} for _ in range(ENOUGH)]
        self._crowd: list[Deed] = []

    def __len__(self) -> int:
        return len(self._deeds)

    def add(self, key: str, deed: Deed, weight: int) -> list[Deed] | None:
        """Note a deed; return all of the source's, which is watched no longer, if they are enough."""
        before = self._points.get(key, 0)
        if before + weight >= ENOUGH:
            return [*self.pop(key), deed]
        if not before and len(self._deeds) >= WATCHED:
            fewest = next(filter(None, self._by_points))
            self._crowd += self.pop(next(iter(fewest)))
        self._deeds.setdefault(key, []).append(deed)
        self._have(key, before + weight)
        return None

    def crowded_out(self) -> list[Deed]:
        """Return what those did for whom there was no more room, once."""
        crowd, self._crowd = self._crowd, []
        return crowd

    def pop(self, key: str) -> list[Deed]:
        """Watch a source no longer; return what it did."""
        self._have(key, 0)
        return self._deeds.pop(key, [])

    def forget(self, before: float) -> None:
        """Forget what was done before then."""
        for key, deeds in list(self._deeds.items()):
            if min(deed.when for deed in deeds) > before:
                continue
            recent = [deed for deed in deeds if deed.when > before]
            self._have(key, sum(map(points, recent)))
            if recent:
                self._deeds[key] = recent
            else:
                del self._deeds[key]

    def _have(self, key: str, number: int) -> None:
        had = self._points.pop(key, 0)
        if had:
            del self._by_points[had][key]
        if number:
            self._points[key] = number
            self._by_points[number][key] = None
