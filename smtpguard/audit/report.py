"""The report: a table for people, one JSON object for programs, and the exit status.

Contract: pure.  The table is plain ASCII unless `paint` adds colours; without a width every finding
is one line, and its advice another, for grep.  The keys of the JSON object are its interface: they
are added to, never changed, while `version` is 1.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from textwrap import wrap
from typing import Final

from .findings import Finding, Verdict, worst

VERSION: Final = 1
_HEAD: Final = ("VERDICT", "PROBE", "ASKED", "SEEN")
_NARROWEST: Final = 30
"""Columns that SEEN has at least, on however narrow a terminal."""

Paint = Callable[[str, Verdict], str]


def status(findings: Sequence[Finding]) -> int:
    """Return the exit status: 0, 1 for a warning or a hole, 69 if nothing at all could be asked.

    A server that might relay is not one without findings: 1, too, if it could not be asked about that.
    """
    if all(finding.unasked for finding in findings):
        return os.EX_UNAVAILABLE
    not_known = any(finding.unasked and finding.probe == "relay" for finding in findings)
    return 1 if not_known or worst(finding.verdict for finding in findings).is_bad else 0


def table(
    title: str, findings: Sequence[Finding], width: int | None = None, paint: Paint | None = None
) -> Iterator[str]:
    """Yield the lines of the table; advice stands below what it mends."""
    yield title
    yield ""
    rows = [(one.verdict.value, one.probe, one.asked, one.seen) for one in findings]
    sizes = [max(len(row[column]) for row in [_HEAD, *rows]) for column in range(3)]
    indent = sum(sizes) + 6
    seen_columns = None if width is None else max(_NARROWEST, width - indent)

    def line(cells: Sequence[str], verdict: Verdict | None) -> str:
        padded = [cell.ljust(size) for cell, size in zip(cells, sizes, strict=False)]
        if paint is not None and verdict is not None:
            padded[0] = paint(padded[0], verdict)
        return "  ".join([*padded, *cells[3:]]).rstrip()

    yield line(_HEAD, None)
    for finding, row, below in zip(findings, rows, [*findings[1:], None], strict=True):
        first, *more = _folded(finding.seen, seen_columns)
        yield line([*row[:3], first], finding.verdict)
        yield from (" " * indent + text for text in more)
        # What mends several rows of a probe is said below the last of them.
        if finding.advice and not (below and (below.probe, below.advice) == (finding.probe, finding.advice)):
            for text in _folded(f"-> {finding.advice}", seen_columns):
                yield " " * indent + text
    yield ""
    yield summary(findings)


def _folded(text: str, columns: int | None) -> list[str]:
    return [text] if columns is None else wrap(text, columns) or [""]


def summary(findings: Sequence[Finding]) -> str:
    """Return the counts by verdict, the worst first."""
    counts = _counts(findings)
    shown = ", ".join(f"{verdict.value}: {counts[verdict.value]}" for verdict in reversed(Verdict))
    unasked = sum(finding.unasked for finding in findings)
    return f"{shown}; could not be asked: {unasked}" if unasked else shown


def _counts(findings: Sequence[Finding]) -> dict[str, int]:
    return {verdict.value: sum(one.verdict is verdict for one in findings) for verdict in Verdict}


def as_json(host: str, port: int, address: str, findings: Sequence[Finding], error: str = "") -> str:
    """Return the report as one JSON object; `error` if there was nothing to audit."""
    return json.dumps(
        {
            "version": VERSION,
            "host": host,
            "port": port,
            "address": address,
            "status": os.EX_UNAVAILABLE if error else status(findings),
            "error": error,
            "counts": _counts(findings),
            "findings": [
                {
                    "probe": one.probe,
                    "asked": one.asked,
                    "verdict": one.verdict.value,
                    "seen": one.seen,
                    "advice": one.advice,
                    "unasked": one.unasked,
                }
                for one in findings
            ],
        },
        indent=2,
    )
