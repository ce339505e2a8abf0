"""What a process that serves has seen of rules in shadow, until it is told.

Contract: without I/O, time is an argument.  A command costs one look-up and an addition; its line is put into words
only if it is the first of its kind.  HELD rows at most: of more, those of one rule and verb are counted together.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Final, final

from ..journal.lines import as_shown
from ..smtp.effects import Judged
from ..smtp.tally import named
from ..smtp.verbs import KNOWN_VERBS
from ..smtp.verdict import Verdict
from .shadowed import Shadowed, outcome
from .sources import MANY

HELD: Final = 5000
"""Rows that wait to be told, of a rule, a verb and an address each; about 3 MB."""
MOST: Final = HELD + 1000
"""With those of MANY; what is beyond is only counted by the metrics."""

Name = Callable[[], str | None]
"""Says what a client is called, if that is known by now."""


@final
class _Row:
    """Commands that are alike."""

    __slots__ = ("first", "last", "name", "number", "shown", "verb", "would")

    def __init__(self, would: Verdict, verb: str, shown: str, name: Name, now: float) -> None:
        self.would = would
        self.verb = verb
        self.shown = shown
        self.name = name
        self.first = self.last = now
        self.number = 0


class ShadowTally:
    """Of one process."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, bytes, str], _Row] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def noted(self, note: Judged, address: str, name: Name, now: float) -> None:
        """Count a command on which a rule in shadow would have decided otherwise."""
        would = note.verdict.would
        assert would is not None
        verb = note.command.verb
        if verb not in KNOWN_VERBS:
            verb = b""
        key = would.rule, verb, address
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= HELD:
                key = would.rule, verb, MANY
                row = self._rows.get(key)
            if row is None:
                if len(self._rows) >= MOST:
                    return
                row = self._rows[key] = _Row(would, named(verb), as_shown(note.command.line), name, now)
        row.number += 1
        row.last = now
        row.name = name

    def first(self, most: int) -> list[Shadowed]:
        """Return the first rows, which stay."""
        return [
            Shadowed(
                row.would.rule,
                row.verb,
                outcome(row.would),
                address,
                row.first,
                row.last,
                row.number,
                ("" if address == MANY else row.name()) or "",
                row.shown,
            )
            for (_, _, address), row in islice(self._rows.items(), most)
        ]

    def drop(self, number: int) -> None:
        """Forget the first rows, which were told."""
        for key in list(islice(self._rows, number)):
            del self._rows[key]
