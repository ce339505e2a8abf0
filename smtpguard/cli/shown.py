"""What is shown to a person: lines and tables of text.

Contract: values; their text is such that a terminal may be given it.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import field, frozen


@frozen
class Table:
    """One table."""

    title: str
    columns: tuple[str, ...]
    """Numbers stand to the right: their names end in `#`, which is not shown."""
    rows: Sequence[tuple[str, ...]]
    more: int = 0
    """Rows that are left out."""
    bars: Sequence[Sequence[int]] = field(factory=list)
    """What was counted in each minute, for each row, where that is drawn."""


@frozen
class Shown:
    """All of it."""

    good: bool
    """Clients are served, and the last reload was not refused."""
    headline: str
    troubles: Sequence[str]
    facts: Sequence[tuple[str, str]]
    tables: Sequence[Table]
