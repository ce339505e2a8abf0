"""Sections and tables of the page.

Contract: pure.  A table has a caption, heads with a scope, and words where it has no rows; what is beyond its bound is
told as a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from attrs import frozen

from .page_markup import Child, Markup, el, together, visible


@frozen
class Column:
    """One column."""

    title: str
    kind: str = ""
    """`number`: right-aligned; `wide`: what takes the room that is left; `drawn`: a small picture."""


def section(name: str, title: str, *children: Child, note: Child = None) -> Markup:
    """Return a part of the page; `name` is what links call it, and the script."""
    head = el("header", el("h2", title, id=f"{name}-title"), el("p", note, class_="note") if note else None)
    label = f"{name}-title"
    return el("section", head, *children, id=name, class_="card", aria_labelledby=label, data_live=True)


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Iterable[Sequence[Child]],
    empty: str,
    most: int,
    total: int | None = None,
    alone: bool = False,
) -> Markup:
    """Return a table of at most `most` rows; the first cell of each is its head.

    `total` is how many there are, where that is more than there are rows.  The caption of a table that is `alone` in
    its section is for who cannot see that.
    """
    every = iter(rows)
    found = [_row(columns, row) for row in islice(every, most)]
    if not found:
        return el("p", empty, class_="empty")
    left = sum(1 for _ in every) if total is None else total - len(found)
    heads = [el("th", column.title, scope="col", class_=column.kind or None) for column in columns]
    drawn = el(
        "table",
        el("caption", caption, class_="hidden" if alone else None),
        el("thead", el("tr", *heads)),
        el("tbody", *found),
    )
    return together([
        el("div", drawn, class_="scroll", role="group", aria_label=caption),
        el("p", f"and {left:,} more", class_="more") if left > 0 else None,
    ])  # fmt: skip


def _cell(tag: str, column: Column, cell: Child, scope: str | None = None) -> Markup:
    long = isinstance(cell, str) and len(visible(cell)) > _LONG_TEXT
    return el(tag, cell, class_=f"{column.kind} {'long' if long else ''}".strip() or None, scope=scope)


_LONG_TEXT: Final = 24
"""Characters from which on a text in a cell is wrapped."""


def _row(columns: Sequence[Column], row: Sequence[Child]) -> Markup:
    first, *rest = zip(columns, row, strict=True)
    column, cell = first
    return el(
        "tr",
        _cell("th", column, cell, scope="row"),
        *(_cell("td", column, cell) for column, cell in rest),
    )


def facts(*pairs: tuple[str, Child]) -> Markup:
    """Return names and what is known of each; one that has nothing to say is left out."""
    return el("dl", *(el("div", el("dt", name), el("dd", value)) for name, value in pairs if value), class_="facts")
