"""What is wrong with a file: where, what, and what to write instead.

Contract: a reader collects every fault it can find and raises `Faulty` once.  A fault prints as
FILE:LINE:COLUMN: text, the form that editors jump to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from attrs import frozen


@frozen(order=True)
class Fault:
    """One fault, or a warning."""

    file: str
    line: int
    """1-based."""
    column: int
    """1-based."""
    text: str
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {'warning: ' if self.warning else ''}{self.text}"


class Faulty(Exception):
    """A file cannot be used."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean X?)` for a known word that is close, else the known ones if they are few."""
    known = sorted(known)
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f" (did you mean {close[0]}?)"
    return f" (known: {', '.join(known)})" if 0 < len(known) <= 20 else ""
