"""What the page draws: bars over an hour, small lines in cells, shares.

Contract: pure.  A picture is SVG in the page, which is stretched to the room that there is; what is to be read
beside it is HTML, so that it keeps its size.  Colours are classes (assets/style.css): `s0` to `s5`, `s6` for others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from .page_markup import Markup, el
from .page_words import count, listed, local, many

MINUTES: Final = 60
"""Of a history: an hour is what an incident lasts, and still shows its minutes."""
SERIES: Final = 6
"""Series with a colour of their own; more nobody tells apart, and they are drawn as one."""
_HEIGHT: Final = 100
_STEPS: Final = (1, 2, 5)


@frozen
class Series:
    """What is counted by the minute."""

    name: str
    history: tuple[int, ...]
    """Of MINUTES, oldest first."""

    @property
    def total(self) -> int:
        """Of the hour."""
        return sum(self.history)


def history(value: object) -> tuple[int, ...]:
    """Return the last MINUTES of what a status document has."""
    found = [count(one) for one in listed(value)][-MINUTES:]
    return (0,) * (MINUTES - len(found)) + tuple(found)


def top(series: Sequence[Series]) -> list[Series]:
    """Return the largest ones, at most SERIES, and one for all others."""
    ranked = sorted((one for one in series if one.total), key=lambda one: (-one.total, one.name))
    if len(ranked) <= SERIES + 1:
        return ranked
    others = ranked[SERIES:]
    summed = tuple(map(sum, zip(*(one.history for one in others), strict=True)))
    return [*ranked[:SERIES], Series(f"{len(others)} others", summed)]


def scale(most: int) -> int:
    """Return the round number at the upper end of an axis that has to reach `most`; its half is a whole one."""
    size = 2
    while True:
        for step in _STEPS:
            if step * size >= most:
                return step * size
        size *= 10


def bars(series: Sequence[Series], now: float) -> Markup:
    """Draw them one on the other, a bar a minute, with a legend."""
    sums = [sum(one.history[minute] for one in series) for minute in range(MINUTES)]
    high = scale(max(sums))
    paths: list[list[str]] = [[] for _ in series]
    hints = []
    for minute, total in enumerate(sums):
        below = 0
        for path, one in zip(paths, series, strict=True):
            if value := one.history[minute]:
                low, below = below, below + value
                path.append(f"M{minute * 10 + 1} {_y(low, high)}h8V{_y(below, high)}h-8z")
        hints.append(_hint(minute, total, series, now))
    drawn = el(
        "svg",
        el("path", d=f"M0 0H{MINUTES * 10}M0 {_HEIGHT // 2}H{MINUTES * 10}", class_="grid"),
        *(el("path", d="".join(path), class_=_colour(index)) for index, path in enumerate(paths)),
        el("path", d=f"M0 {_HEIGHT}H{MINUTES * 10}", class_="axis"),
        *hints,
        viewBox=f"0 0 {MINUTES * 10} {_HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"Bars: {many(sum(sums), 'verdict')} in the last hour, at most {max(sums):,} in a minute. "
        "The table has the numbers.",
    )
    up = el("div", *(el("span", f"{one:,}") for one in (high, high // 2, 0)), class_="up", aria_hidden="true")
    along = el("div", *map(_span, ("60 min ago", "30 min", "now")), class_="along", aria_hidden="true")
    return el("div", up, drawn, along, legend(series), class_="chart")


def legend(series: Sequence[Series]) -> Markup:
    """Return which colour is whose, with the sum of each."""
    return el(
        "ul",
        *(
            el("li", _swatch(index), el("span", one.name), el("span", f"{one.total:,}", class_="sum"))
            for index, one in enumerate(series)
        ),
        class_="legend",
    )


def line(values: Sequence[int]) -> Markup:
    """Draw an hour in a cell; its numbers stand beside it."""
    high = max(*values, 1)
    points = "".join(f"L{minute} {20 - value * 18 / high:.4g}" for minute, value in enumerate(values))
    last = len(values) - 1
    return el(
        "svg",
        el("path", d=f"M0 20{points}L{last} 20z"),
        class_="line",
        viewBox=f"0 0 {last} 20",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def share(part: float, level: str = "") -> Markup:
    """Draw a part of a whole, 0 to 1."""
    width = f"{100 * min(1.0, max(0.0, part)):.4g}"
    return el(
        "svg",
        el("rect", width="100", height="6", class_="whole"),
        el("rect", width=width, height="6", class_="part"),
        class_=f"share {level}".strip(),
        viewBox="0 0 100 6",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def _span(words: str) -> Markup:
    return el("span", words)


def _y(value: int, high: int) -> str:
    return f"{_HEIGHT - value * _HEIGHT / high:.4g}"


def _colour(index: int) -> str:
    return f"s{min(index, SERIES)}"


def _swatch(index: int) -> Markup:
    square = el("rect", width="10", height="10", class_=_colour(index))
    return el("svg", square, class_="swatch", viewBox="0 0 10 10", aria_hidden="true")


def _hint(minute: int, total: int, series: Sequence[Series], now: float) -> Markup:
    clock = local(now - 60 * (MINUTES - 1 - minute)).strftime("%H:%M")
    words = [f"{clock}: {total:,}", *(f"{one.name}: {one.history[minute]:,}" for one in series if one.history[minute])]
    text = el("title", " · ".join(words), most=_HINT)
    return el("rect", text, x=str(minute * 10), y="0", width="10", height=str(_HEIGHT), class_="hint")


_HINT: Final = 400
"""Characters of what is shown for a minute: a name and a number for each of the series."""
