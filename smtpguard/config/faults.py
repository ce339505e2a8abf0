"""What is wrong with a file: where, what, and what to write instead.

Contract: a reader collects every fault it can find and raises `Faulty` once.  A fault prints as
FILE:LINE:COLUMN: text, the form that editors jump to; always as one line of printable characters,
whatever stands in the file and in its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

from attrs import frozen


@frozen(order=True)
class Fault:
    """One fault, or a warning."""

    file: str
    line: int
    """1-based; 0 if it is about no place in the file, as where there is no file."""
    column: int
    """1-based."""
    text: str
    warning: bool = False

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return printable(f"{place}: {'warning: ' if self.warning else ''}{self.text}")


def printable(text: str) -> str:
    """Return `text` on one line, with what a terminal could act on escaped as in Python."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class Faulty(Exception):
    """A file cannot be used."""

    def __init__(self, faults: Sequence[Fault], unread: OSError | None = None) -> None:
        """`unread` is why a file that is named could not be read, which is among the faults, too."""
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults
        self.unread = unread


WORDS_SEARCHED: Final = 200
LONGEST_WORD: Final = 64
SEARCHES: Final = 30
"""To look for a close word takes its time, and a file may have as many faults as it has names."""


class Known:
    """Words that are known, for the text of faults about words that are not."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = sorted(words)
        self._searches = 0

    def hint(self, word: str) -> str:
        """Return ` (did you mean X?)` for a word that is close, else the known ones if they are few.

        Only the first faults get one, and only the first of very many words are looked at.
        """
        self._searches += 1
        if self._searches > SEARCHES or len(word) > LONGEST_WORD:
            return ""
        close = get_close_matches(word, self._words[:WORDS_SEARCHED], n=1, cutoff=0.6)
        if close:
            return f" (did you mean {close[0]}?)"
        return f" (known: {', '.join(self._words)})" if 0 < len(self._words) <= 20 else ""


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return the hint for a single word."""
    return Known(known).hint(word)
