"""Pictures of a stored run: `python -m tests.bench.plots RESULTS FOLDER`.

Contract: everything is drawn from the document that the run has written (report.py), so pictures and tables cannot
differ. `costs` shows what each system costs by what nginx costs, `targets` how far the guard is from each bound,
`growth` the curves, where they were measured.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from .peers import HAPROXY, NGINX_MAIL
from .report import Document, short
from .svg import GREY, PALE, Picture
from .systems import GUARD

_COLOURS: Final = {GUARD.name: "#047857", NGINX_MAIL.name: "#2563eb", HAPROXY.name: "#d97706"}
_MISSED: Final = "#b91c1c"
_COSTS: Final = (
    ("sessions", "cpu_us", "CPU a 1 kB session"),
    ("kept", "cpu_us", "CPU a message, kept connection"),
    ("content", "cpu_us", "CPU a MB of content"),
    ("idle", "kb_rcpt", "memory a session, idle behind RCPT"),
    ("roundtrip", "added_p50_us", "round trip added, p50"),
    ("roundtrip", "added_p99_us", "round trip added, p99"),
)
_GROWTH: Final = (
    ("parallel", "at_", "sessions at once"),
    ("size", "octets_", "octets of a message"),
    ("networks", "networks_", "CIDRs in the policy"),
)
_WIDTH: Final = 860
_LEFT: Final = 350
"""For the names of the bars."""
_RIGHT: Final = 150
"""For the numbers behind them."""
_ROW: Final = 20
_APART: Final = 15
_FURTHEST: Final = 4.0
"""Bars end here, in multiples of nginx or of the bound; the number behind them does not."""


def costs(told: Document) -> str:
    """Return the chart of costs by nginx's; a group of bars a figure."""
    groups = []
    for figure, metric, title in _COSTS:
        systems = told["figures"].get(figure, {})
        medians = {name: numbers[metric]["median"] for name, numbers in systems.items() if metric in numbers}
        base = medians.get(NGINX_MAIL.name)
        if base is not None and base > 0:
            groups.append((title, {name: median / base for name, median in medians.items()}))
    height = 60 + sum(_ROW * (len(bars) + 2) for _, bars in groups)
    picture = Picture(_WIDTH, height, "What each system costs, by what nginx's mail proxy costs")
    picture.text(16, 28, "Cost by that of nginx's mail proxy (1 = the same; less is better)", bold=True)
    _mark(picture, 50, height - 2 * _ROW + 10)
    y = 50.0
    for title, bars in groups:
        picture.text(16, y + 14, title)
        y += _ROW
        for name, value in bars.items():
            _bar(picture, y, name, value, f"{short(value)}x", _COLOURS.get(name, GREY))
            y += _ROW
        y += _ROW
    return str(picture)


def targets(told: Document) -> str:
    """Return the chart of the targets: what was measured as a part of what is allowed."""
    rows = [one for one in told["targets"] if one["value"] is not None and one["part"] is not None]
    picture = Picture(_WIDTH, 70 + _ROW * len(rows), "How far the guard is from each target")
    picture.text(16, 28, "Measured as a part of what is allowed (1 = just met; less is better)", bold=True)
    _mark(picture, 50, 50 + _ROW * len(rows))
    y = 50.0
    for one in rows:
        colour = _COLOURS[GUARD.name] if one["met"] else GREY if one["further"] else _MISSED
        _bar(picture, y, one["text"], one["part"], f"{short(one['value'])} ({one['bound']})", colour)
        y += _ROW
    return str(picture)


def growth(told: Document) -> str | None:
    """Return the curves, both axes logarithmic; None if they were not measured."""
    figures = told["figures"]
    panels = [(figures[figure], prefix, title) for figure, prefix, title in _GROWTH if figure in figures]
    if not panels:
        return None
    picture = Picture(_WIDTH, 40 + 250 * len(panels), "How cost grows")
    picture.text(16, 28, "CPU in microseconds, by", bold=True)
    for number, (systems, prefix, title) in enumerate(panels):
        curves = {
            name: [(float(metric.removeprefix(prefix)), value["median"]) for metric, value in numbers.items()]
            for name, numbers in systems.items()
        }
        _panel(picture, 40 + 250 * number, title, curves)
    return str(picture)


def _bar(picture: Picture, y: float, name: str, value: float, words: str, colour: str) -> None:
    width = _across(min(value, _FURTHEST)) - _LEFT
    picture.text(_LEFT - 8, y + 14, name, "end")
    picture.bar(_LEFT, y + 3, max(width, 1), _ROW - 6, colour)
    picture.text(_LEFT + max(width, 1) + 6, y + 14, words, fill=GREY)


def _across(value: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * max(value, 0) / _FURTHEST


def _mark(picture: Picture, top: float, bottom: float) -> None:
    picture.line([(_across(1), top), (_across(1), bottom)], GREY, dashed=True)


def _panel(picture: Picture, top: float, title: str, curves: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    left, right, upper, lower = 70.0, _WIDTH - 130.0, top + 24, top + 200
    points = [point for curve in curves.values() for point in curve]
    spans = [(math.log10(min(part)), math.log10(max(part))) for part in zip(*points, strict=True)]
    (x0, x1), (y0, y1) = ((least, max(most, least + 0.1)) for least, most in spans)
    y0, y1 = math.floor(y0), math.ceil(y1)

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            left + (right - left) * (math.log10(x) - x0) / (x1 - x0),
            lower - (lower - upper) * (math.log10(y) - y0) / (y1 - y0),
        )

    picture.text(left, top + 14, title, bold=True)
    for power in range(y0, y1 + 1):
        y = at(10**x0, 10.0**power)[1]
        picture.line([(left, y), (right, y)], PALE)
        picture.text(left - 6, y + 4, f"{10**power:,}", "end", GREY)
    for x in sorted({x for x, _ in points}):
        picture.text(at(x, 10.0**y0)[0], lower + 18, f"{x:,.0f}", "middle", GREY)
    lowest = math.inf
    for name, curve in sorted(curves.items(), key=lambda item: item[1][-1][1]):
        colour = _COLOURS.get(name, GREY)
        picture.line([at(*point) for point in curve], colour, 2)
        x, y = at(*curve[-1])
        lowest = min(y, lowest - _APART)  # names do not lie on each other
        picture.text(x + 8, lowest + 4, name, fill=colour)


def write(told: Document, folder: Path) -> list[Path]:
    """Write every picture that there is to write; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, drawn in (("costs", costs(told)), ("targets", targets(told)), ("growth", growth(told))):
        if drawn is not None:
            path = folder / f"{name}.svg"
            path.write_text(drawn)
            written.append(path)
    return written


if __name__ == "__main__":
    results, target = map(Path, sys.argv[1:])
    write(json.loads(results.read_text()), target)
