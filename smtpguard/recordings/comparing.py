"""Where two policies differ on the same recording.

Contract: as tallies.py: values, bounded.  Two outcomes are equal if the client is told the same and the server gets the
same; which rule decided makes no difference.  What follows in a session that only one of the policies has ended is not
compared, but counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import Factory, define, frozen

from .exchanges import Exchange
from .recorded import Recorded
from .replaying import Happened, Outcome
from .tallies import KINDS, MORE, shown, verb_of

CLIENTS_OF_ONE: Final = 10_000
"""Addresses told apart for one difference."""
_BESIDE_THE_POINT: Final = frozenset({Happened.OVER, Happened.UNSAID})


@frozen
class Difference:
    """One line that the two treat otherwise."""

    place: int
    """In the session, from 0 on."""
    before: Outcome
    after: Outcome


@frozen(order=True)
class Kind:
    """Differences that have the same cause."""

    verb: str
    before: str
    before_rule: str
    after: str
    after_rule: str


@define
class Kept:
    """What is kept of one kind."""

    count: int = 0
    unread: int = 0
    """Later lines of sessions that only one of the policies had ended."""
    clients: set[str] = Factory(set)
    sample: tuple[int, str] = (0, "")
    """Number of the session, and the line."""


def differences(before: Sequence[Outcome], after: Sequence[Outcome]) -> list[Difference]:
    """Return where two sequences of outcomes differ."""
    return [
        Difference(place, one, other)
        for place, (one, other) in enumerate(zip(before, after, strict=True))
        if one.told != other.told and not {one.happened, other.happened} & _BESIDE_THE_POINT
    ]


@define
class Comparison:
    """Of two policies."""

    count: int = 0
    sessions: int = 0
    """That have a difference."""
    kinds: dict[Kind, Kept] = Factory(dict)

    def add(
        self,
        recorded: Recorded,
        exchanges: Sequence[Exchange],
        before: Sequence[Outcome],
        after: Sequence[Outcome],
    ) -> list[Difference]:
        """Compare a session; return its differences."""
        found = differences(before, after)
        self.sessions += bool(found)
        self.count += len(found)
        for one in found:
            exchange = exchanges[one.place]
            kind = Kind(verb_of(exchange), one.before.told, one.before.rule, one.after.told, one.after.rule)
            if kind not in self.kinds and len(self.kinds) >= KINDS:
                kind = Kind(MORE, "", "", "", "")
            kept = self.kinds.setdefault(kind, Kept(sample=(recorded.number, shown(exchange))))
            kept.count += 1
            if recorded.client is not None and len(kept.clients) < CLIENTS_OF_ONE:
                kept.clients.add(recorded.client.text)
            if (one.before.happened is Happened.CLOSE) is not (one.after.happened is Happened.CLOSE):
                kept.unread += len(exchanges) - one.place - 1
        return found
