"""What would have been decided about a client's commands if nothing were in shadow.

Contract: values without I/O; `shown` has gone through smtpguard.journal.lines.printable.  They cross between processes
as JSON arrays (`as_row`, `from_row`).
"""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve, frozen

from ..smtp.verdict import Verdict
from .measures import Measure

HOUR: Final = 3600.0
"""Seconds: what is alike within one is kept as one row."""

Key = tuple[int, str, str, str, str]
"""The hour, counted from 1970, rule, verb, outcome and source."""


@frozen
class Shadowed:
    """Commands that are alike, of one client."""

    rule: str
    """FILE:LINE and name, as the log has it; `limit NAME` for what a limit would have done."""
    verb: str
    """Of smtpguard.smtp.verbs.KNOWN_VERBS, or UNKNOWN, or empty for a limit."""
    would: str
    """What would have come of it: the reply, `closed`, `forwarded`, `delayed`; for a limit its step."""
    source: str
    """An address, or a prefix."""
    first: float
    """Seconds since 1970."""
    last: float
    number: int = 1
    name: str = ""
    """Of the client, looked up and confirmed; empty if it has none, or is not known yet."""
    shown: str = ""
    """The first line of them."""

    @property
    def key(self) -> Key:
        """What is kept as one row."""
        return int(self.first // HOUR), self.rule, self.verb, self.would, self.source

    def with_(self, other: Shadowed) -> Shadowed:
        """Return this one and another of the same key together."""
        earlier = self if self.first <= other.first else other
        return evolve(
            earlier,
            last=max(self.last, other.last),
            number=self.number + other.number,
            name=other.name or self.name,
            shown=earlier.shown or self.shown or other.shown,
        )

    def as_row(self) -> list[Any]:
        """Return what JSON can carry."""
        return [
            self.rule, self.verb, self.would, self.source, self.first, self.last, self.number, self.name, self.shown,
        ]  # fmt: skip

    @staticmethod
    def from_row(row: list[Any]) -> Shadowed:
        """Read it back; raises ValueError or TypeError on anything else."""
        one = Shadowed(*row)
        numbers, texts = (one.first, one.last, one.number), (one.rule, one.verb, one.would, one.source, one.name)
        if not all(isinstance(number, int | float) and number >= 0 for number in numbers):
            raise ValueError(f"{row!r} has no times, or no number")
        if not all(isinstance(text, str) for text in (*texts, one.shown)):
            raise ValueError(f"{row!r} has something else for a text")
        return one


def outcome(would: Verdict) -> str:
    """Return what would have come of a command, with the reply that it would have got."""
    if would.outcome == "closed" or would.reply is None:
        return would.outcome
    return str(would.reply)


def of(measure: Measure) -> Shadowed:
    """Return what a limit in shadow would have done."""
    return Shadowed(f"limit {measure.limit}", "", measure.hardness.value, measure.key, measure.since, measure.since)
