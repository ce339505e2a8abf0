"""The table of metrics in docs/monitoring.md, made of the catalogue.

Contract: `table` is pure; `python -m smtpguard.metrics.reference FILE` puts it between the two marks of a document,
which `make docs` does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .catalogue import CATALOGUE, Label

BEGIN: Final = "<!-- metrics: made by `make docs` from the code; do not edit -->\n"
END: Final = "<!-- end of metrics -->\n"
FEW: Final = 8
"""Values of a label that are listed."""


def table() -> str:
    """Return the table."""
    lines = ["| metric | type | labels | what |", "| --- | --- | --- | --- |"]
    for metric in CATALOGUE.values():
        labels = ", ".join(_label(label) for label in metric.labels)
        lines.append(f"| `{metric.full_name}` | {metric.kind.value} | {labels} | {metric.help} |")
    return "\n".join(lines) + "\n"


def placed(document: str) -> str:
    """Return the document with the table of now."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _label(label: Label) -> str:
    return f"`{label.name}`" + "".join(f" ({text})" for text in _about(label))


def _about(label: Label) -> Iterator[str]:
    if label.about:
        yield label.about
    elif label.values is not None and len(label.values) <= FEW:
        yield ", ".join(f"`{value}`" for value in sorted(label.values))


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(placed(file.read_text("utf-8")), "utf-8")
