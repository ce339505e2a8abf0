"""Findings: what a probe asked, what came back, what that is worth, and how it is mended.

Contract: values only.  A `Finding` that exists can be shown on any terminal: its texts are printable
ASCII, whatever the server sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import Final

from attrs import Attribute, field, frozen

_SHOWABLE: Final = re.compile(r"[\x20-\x7e]*")


class Verdict(Enum):
    """What a finding is worth, from the best to the worst."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    HOLE = "hole"

    @property
    def rank(self) -> int:
        return list(Verdict).index(self)

    @property
    def is_bad(self) -> bool:
        """True if it changes the exit status."""
        return self in (Verdict.WARNING, Verdict.HOLE)


def _showable(_finding: object, attribute: Attribute[str], value: str) -> None:
    if _SHOWABLE.fullmatch(value) is None:
        raise ValueError(f"{attribute.name} is not printable: {value!r}")


@frozen
class Finding:
    """One row of the report."""

    probe: str = field(validator=_showable)
    asked: str = field(validator=_showable)
    """In a few words, within the probe."""
    verdict: Verdict
    seen: str = field(validator=_showable)
    """The server's words, escaped, or ours for what it did."""
    advice: str = field(default="", validator=_showable)
    """What mends it; empty if nothing needs to be."""
    unasked: bool = False
    """True if the question could not be put."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of some verdicts; that of none is `ok`."""
    return max(verdicts, key=lambda verdict: verdict.rank, default=Verdict.OK)
