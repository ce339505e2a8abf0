"""The report of a run: tables for the terminal, and all numbers for a file.

Contract: `document` is plain JSON data and holds every number that was measured; `tables` shows nothing that is not
in such a document, so a stored one can be shown again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import asdict

from .bench import Bench, Rounds
from .spread import spread
from .targets import TARGETS

Document = dict[str, Any]

TITLES: Final = {
    "sessions": "sessions of 1 kB",
    "ehlo": "sessions of 1 kB, with EHLO",
    "kept": "messages of 1 kB, kept connections",
    "content": "messages of 1 MB",
    "idle": "idle sessions",
    "roundtrip": "round trips of a NOOP",
    "flood": "VRFY from outside",
    "scale": "networks and rules",
    "workers": "workers",
    "parallel": "sessions at once",
    "size": "octets of a message",
    "networks": "CIDRs",
}
"""What the figures are called in a table."""
LABELS: Final = {
    "cpu_us": "CPU us",
    "wall_s": "all, s",
    "rate": "a second",
    "peak_mb": "peak MB",
    "kb": "kB each",
    "kb_rcpt": "kB each behind RCPT",
    "base_mb": "MB before",
    "p50_us": "p50 us",
    "p99_us": "p99 us",
    "added_p50_us": "added p50 us",
    "added_p99_us": "added p99 us",
    "a_cpu_s": "answers a CPU second, 20 a write",
    "single_a_cpu_s": "one a write",
    "quiet_p99_us": "insider's quiet p99 us",
    "paced_p99": "by that, during 5,000 a second",
    "one_p99": "from one connection",
    "single_p99": "from 10 connections",
    "pipelined_p99": "20 a write from 10",
    "reached": "reached the server",
    "load_s": "load s",
    "check_s": "check s",
    "explain_s": "explain s",
    "start_s": "start s",
    "share": "the lesser's share %",
}
"""What the metrics are called there; others are numbers of something, and speak for themselves."""

FORMAT: Final = 1
"""Of the JSON file; another number when its keys change."""


def document(bench: Bench, machine: Mapping[str, Any], versions: Mapping[str, str]) -> Document:
    """Return all of it as JSON data."""
    return {
        "format": FORMAT,
        "machine": dict(machine),
        "versions": dict(versions),
        "counts": asdict(bench.counts),
        "absent": dict(bench.absent),
        "faults": dict(bench.faults),
        "figures": {
            figure: {
                system: {metric: _numbers(values) for metric, values in metrics.items()}
                for system, metrics in systems.items()
            }
            for figure, systems in bench.figures.items()
        },
        "targets": verdicts(bench.figures),
    }


def _numbers(values: Sequence[float]) -> dict[str, Any]:
    found = spread(values)
    assert found is not None, "a metric without a round"
    return {"median": found.median, "least": found.least, "most": found.most, "rounds": list(found.rounds)}


def verdicts(figures: Mapping[str, Rounds]) -> list[dict[str, Any]]:
    """Return every target whose figure was measured, with its ratio and whether it is met (None: not measured)."""
    told = []
    for target in TARGETS:
        if target.figure not in figures:
            continue
        found = target.measured(figures[target.figure])
        told.append(
            {
                "text": target.text,
                "figure": target.figure,
                "bound": target.by_at(),
                "value": None if found is None else found.median,
                "least": None if found is None else found.least,
                "most": None if found is None else found.most,
                "part": None if found is None else target.part(found.median),
                "met": None if found is None else target.met(found.median),
                "further": target.further,
            }
        )
    return told


def tables(told: Document) -> Iterator[str]:
    """Yield the lines of a report in Markdown: a table a figure, then the targets."""
    for figure, systems in told["figures"].items():
        metrics = list(dict.fromkeys(metric for numbers in systems.values() for metric in numbers))
        yield ""
        yield from _table(
            [TITLES.get(figure, figure), *(LABELS.get(metric, metric.replace("_", " ")) for metric in metrics)],
            [
                [system, *(_cell(numbers[metric]) if metric in numbers else "-" for metric in metrics)]
                for system, numbers in systems.items()
            ],
        )
    if told["absent"] or told["faults"]:
        yield ""
    for name, reason in (*told["absent"].items(), *told["faults"].items()):
        yield f"* {name}: {reason}"
    if told["targets"]:
        yield ""
        yield from _table(
            ["target", "bound", "measured", "rounds", ""],
            [
                [
                    one["text"],
                    one["bound"],
                    "-" if one["value"] is None else short(one["value"]),
                    "-" if one["value"] is None else f"{short(one['least'])}-{short(one['most'])}",
                    _VERDICTS[one["met"]] if one["met"] is not False or not one["further"] else "not yet",
                ]
                for one in told["targets"]
            ],
        )


_VERDICTS: Final = {True: "met", False: "MISSED", None: "not measured"}


def _cell(numbers: Mapping[str, Any]) -> str:
    middle = short(numbers["median"])
    if numbers["least"] == numbers["most"]:
        return middle
    return f"{middle} ({short(numbers['least'])}-{short(numbers['most'])})"


def short(number: float) -> str:
    """Return a number with three digits that count, or all before the point."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, ["-" * width for width in widths], *rows):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
