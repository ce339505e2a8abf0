"""docs/performance.md says what was measured, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench.quoting import quote

DOCS = Path(__file__).parents[2] / "docs"


def test_the_tables_are_those_of_the_stored_run() -> None:
    """`make plots` makes both."""
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    told = json.loads((DOCS / "performance/results.json").read_text(encoding="utf-8"))
    assert quote(page, told) == page


def test_the_pictures_are_there() -> None:
    """Those that the page shows."""
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    assert "performance/costs.svg" in page
    assert (DOCS / "performance/costs.svg").read_text(encoding="utf-8").startswith("<svg")
