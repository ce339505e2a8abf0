"""Drawing a chart as SVG 1.1: rectangles, lines, text, and nothing from outside the file.

Contract: a `Picture` is a white rectangle with what is drawn on it, in pixels from its upper left corner; its text
is in whatever sans-serif font the reader has, so nothing may depend on how wide it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

GREY: Final = "#6b7280"
PALE: Final = "#e5e7eb"
INK: Final = "#111827"
_FONT: Final = 13


class Picture:
    """One SVG file."""

    def __init__(self, width: float, height: float, title: str) -> None:
        """Begin an empty one; the title is for readers who do not see it."""
        self._head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
            f'height="{height:g}" role="img" font-family="sans-serif" font-size="{_FONT}">'
        )
        self._parts = [f"<title>{escape(title)}</title>"]
        self.bar(0, 0, width, height, "#ffffff")

    def bar(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """Draw a rectangle."""
        self._parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"/>')

    def line(self, points: Sequence[tuple[float, float]], stroke: str, width: float = 1, dashed: bool = False) -> None:
        """Draw from point to point."""
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(f'<polyline points="{way}" fill="none" stroke="{stroke}" stroke-width="{width:g}"{dashes}/>')

    def text(self, x: float, y: float, words: str, anchor: str = "start", fill: str = INK, bold: bool = False) -> None:
        """Write; `anchor` says which end of the words x is: start, middle or end."""
        weight = ' font-weight="bold"' if bold else ""
        place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
        self._parts.append(f'<text {place} fill="{fill}"{weight}>{escape(words)}</text>')

    def __str__(self) -> str:
        """Return the file."""
        return "\n".join([self._head, *self._parts, "</svg>", ""])
