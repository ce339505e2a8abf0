"""What the processes that serve are told to do, in messages that are not too long.

Contract: without I/O, time is an argument; bounded.  Whoever was let off is remembered for a while, since a process
that has not heard of it may still tell of a ban.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from .measures import Measure
from .reports import Orders

ORDERED: Final = 200
"""Measures in one message to the processes that serve, about 25 kB: a message between processes has a length."""
LET_OFF: Final = 1000
"""Keys of which it is remembered that they were let off."""


class Ordering:
    """Passes orders on."""

    def __init__(self, pass_on: Callable[[Orders], None]) -> None:
        self._pass_on = pass_on
        self._let_off: dict[str, float] = {}  # when, by keys

    def order(self, now: float, measures: Sequence[Measure] = (), lifted: Sequence[str] = ()) -> None:
        """Have measures taken, and others ended."""
        for key in lifted:
            self._let_off.pop(key, None)
            self._let_off[key] = now
            if len(self._let_off) > LET_OFF:
                del self._let_off[next(iter(self._let_off))]
        for orders in messages(measures, lifted):
            self._pass_on(orders)

    def was_let_off(self, ban: Measure) -> bool:
        """True if a ban is older than the letting off: it was told before its process heard of that."""
        return ban.since <= self._let_off.get(ban.key, float("-inf"))


def messages(measures: Sequence[Measure], lifted: Sequence[str] = ()) -> Iterator[Orders]:
    """Yield messages that are not too long."""
    for start in range(0, len(lifted), ORDERED):
        yield Orders(lifted=tuple(lifted[start : start + ORDERED]))
    for start in range(0, len(measures), ORDERED):
        yield Orders(tuple(measures[start : start + ORDERED]))
