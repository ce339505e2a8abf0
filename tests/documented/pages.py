"""Which pages a reader has."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.rig.guard import ROOT as ROOT

NOT_TYPED: Final = frozenset({"CHANGELOG.md"})
"""What was, not what is to be done."""
PAGES: Final = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
    if path.name not in NOT_TYPED
)
"""By their path from the top of the tree."""


def text(page: str) -> str:
    """Return a page's text."""
    return Path(ROOT, page).read_text("utf-8")
