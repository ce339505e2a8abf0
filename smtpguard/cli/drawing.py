"""The status of a service on a terminal, by rich.

Contract: takes what is to be shown (shown.py); nothing in it is read as rich's markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table as Drawn
from rich.text import Text

from ..config.faults import printable
from .shown import Shown, Table

_HEIGHTS: Final = " ▁▂▃▄▅▆▇█"
_MINUTES_A_BAR: Final = 3
_COLOURS: Final = {"up": "green", "serving": "green", "down": "bold red", "refused-relay": "bold red", "open": "yellow"}


def console() -> Console:
    """Return the terminal."""
    return Console(highlight=False, markup=False, emoji=False)


def drawn(shown: Shown | None, fault: str = "") -> RenderableType:
    """Return a picture of it; with a `fault`, of what was known before."""
    parts: list[RenderableType] = []
    if fault:
        parts += [Text(f"no news: {printable(fault)}", style="bold white on red"), Text()]
    if shown is None:
        return Group(*parts)
    parts.append(Text(shown.headline, style="bold green" if shown.good else "bold red"))
    parts += [Text(trouble, style="red") for trouble in shown.troubles]
    facts = Drawn.grid(padding=(0, 2, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, text in shown.facts:
        facts.add_row(Text(name), Text(text))
    return Group(*parts, facts, *(part for table in shown.tables for part in (Text(), _table(table))))


def _table(table: Table) -> RenderableType:
    caption = Text(f"({table.more} more)") if table.more else None
    made = Drawn(
        title=Text(table.title) if table.title else None,
        title_justify="left",
        title_style="bold",
        caption=caption,
        box=box.SIMPLE_HEAD,
    )
    made.show_edge = made.pad_edge = False  # rows of the terminal are few
    for name in table.columns:
        made.add_column(Text(name.rstrip(" #")), justify="right" if name.endswith("#") else "left", overflow="fold")
    if table.bars:
        made.add_column(Text("by time"), no_wrap=True)
    for place, row in enumerate(table.rows):
        cells = [Text(cell, style=_COLOURS.get(cell, "")) for cell in row]
        if table.bars:
            cells.append(Text(bars(table.bars[place]), style="cyan"))
        made.add_row(*cells)
    return made


def bars(minutes: Sequence[int]) -> str:
    """Return a character for every three minutes, as high as there is much in them."""
    sums = [sum(minutes[at : at + _MINUTES_A_BAR]) for at in range(0, len(minutes), _MINUTES_A_BAR)]
    most = max([*sums, 1])
    return "".join(_HEIGHTS[-(-one * (len(_HEIGHTS) - 1) // most)] for one in sums)
