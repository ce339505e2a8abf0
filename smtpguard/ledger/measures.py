"""Measures: what follows for a client from what it did.

Contract: values without I/O.  A measure stands against a key, the text of an address or of a prefix
(`192.0.2.7`, `2001:db8:1:2::/64`), until a moment; of several the hardest counts.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from ..policy.limits import Hardness as Hardness


@frozen
class Measure:
    """What stands against one client, or prefix."""

    hardness: Hardness
    key: str
    until: float
    """Seconds since 1970."""
    limit: str
    """The name of the limit that was crossed; `operator` where a person asked for it."""
    since: float
    seconds: float = 0.0
    """For DELAY: how long each command waits."""
    count: int = 0
    """How much had been counted."""
    shadow: bool = False
    """It is only told of, and stands against nobody."""

    def as_row(self) -> list[Any]:
        """Return what JSON can carry."""
        row = [self.hardness.value, self.key, self.until, self.limit, self.since, self.seconds, self.count]
        return [*row, True] if self.shadow else row

    @staticmethod
    def from_row(row: list[Any]) -> Measure:
        """Read it back; raises ValueError or TypeError on anything else."""
        hardness, *rest = row
        return Measure(Hardness(hardness), *rest)
