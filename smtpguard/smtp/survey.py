"""One look at a piece of a message: which octets are in it that could end a line, or something worse.

Contract: `survey` returns the number of LF in the upper bits, above `FLAGS`, and below them what else there
is.  It looks at each octet once and copies none.  _survey.c does the same with vector instructions, a
hundred times faster than octets can be told apart here; without a compiler this one counts with what
`bytes` has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

BARE_LF: Final = 1
"""An LF with no CR in front of it, or with nothing in front of it."""
BARE_CR: Final = 2
"""A CR with no LF behind it.  One at the very end does not count: its LF may come."""
NUL: Final = 4
EIGHT_BIT: Final = 8
"""An octet above 0x7f."""
DOT: Final = 16
"""A dot behind an LF, so perhaps an end of data."""
FLAGS: Final = 5
"""How many bits are flags."""


def survey_plainly(octets: bytes) -> int:
    """Survey without a compiler's help."""
    pairs, newlines = octets.count(b"\r\n"), octets.count(b"\n")
    flags = 0
    if newlines != pairs:
        flags |= BARE_LF
    if octets.count(b"\r") - octets.endswith(b"\r") != pairs:
        flags |= BARE_CR
    if b"\0" in octets:
        flags |= NUL
    if not octets.isascii():
        flags |= EIGHT_BIT
    if b"\n." in octets:
        flags |= DOT
    return newlines << FLAGS | flags


def _fastest() -> Callable[[bytes], int]:
    try:
        from ._survey import survey
    except ImportError:
        return survey_plainly
    return survey


survey: Final = _fastest()
