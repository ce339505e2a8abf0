"""The tables of a stored run in a document: `python -m tests.bench.quoting RESULTS FILE.md`.

Contract: what stands between the two marks is made from the results and from nothing else, so a test can hold the
document to them; what stands around it is not touched.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .report import Document, tables

BEGIN: Final = "<!-- measured: made by `make plots`; do not edit -->"
END: Final = "<!-- measured: end -->"


def quote(markdown: str, told: Document) -> str:
    """Return the document with the tables of a run between its marks; ValueError if it has not both, once each."""
    head, begin, rest = markdown.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in tail:
        raise ValueError(f"the document must have one line {BEGIN} and one line {END} behind it")
    return "\n".join([f"{head}{BEGIN}", "", *_introduction(told), *tables(told), "", f"{END}{tail}"])


def _introduction(told: Document) -> Iterator[str]:
    machine = told["machine"]
    yield (
        f"Measured {machine['date'][:10]} on {machine['processor']}, {machine['cores']} cores, "
        f"Linux {machine['kernel']}, Python {machine['python']}; "
        f"medians of {told['counts']['rounds']} rounds, and the least and the most of them."
    )
    yield "Versions: " + ", ".join(f"{name} {version}" for name, version in told["versions"].items()) + "."


if __name__ == "__main__":
    results, document = map(Path, sys.argv[1:])
    document.write_text(quote(document.read_text(), json.loads(results.read_text())))
