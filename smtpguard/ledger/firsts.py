"""The first of many texts: names that were tried, addresses of a prefix.

Contract: keeps the texts that were seen first, by the time that comes with each and not by the order in which they are
told, since several processes tell.  Of all others it counts how often they came.
"""

from __future__ import annotations

from collections.abc import Iterable


class Firsts:
    """Up to `most` texts."""

    __slots__ = ("_edge", "_most", "_tries", "_when", "more")

    def __init__(self, most: int, texts: Iterable[str] = (), more: int = 0) -> None:
        """`texts` and `more` are what was kept earlier."""
        self._most = most
        self._when = {text: float(place) for place, text in enumerate([*texts][:most])}  # before all that is to come
        self._tries = dict.fromkeys(self._when, 1)
        self._edge: tuple[float, str] | None = None  # the last of them, once there is no more room
        self.more = more
        """How often others came."""

    def add(self, text: str, when: float, times: int) -> None:
        """Note that it came."""
        known = self._when.get(text)
        if known is not None:
            self._tries[text] += times
            if when < known:
                self._when[text] = when
                self._edge = None
            return
        if len(self._when) >= self._most:
            if self._edge is None:
                self._edge = max((at, name) for name, at in self._when.items())
            if (when, text) >= self._edge:
                self.more += times
                return
            self.more += self._tries.pop(self._edge[1])
            del self._when[self._edge[1]]
            self._edge = None
        self._when[text] = when
        self._tries[text] = times

    def texts(self) -> list[str]:
        """Return them in the order of their times."""
        return sorted(self._when, key=lambda text: (self._when[text], text))

    def __len__(self) -> int:
        return len(self._when)
