"""What the commands that read what is kept have in common: times and texts for a person, on a terminal or not.

Contract: whatever clients have sent, nothing but printable characters is written.
"""

from __future__ import annotations

import sys
from datetime import datetime

import click

from ..config.faults import printable
from .shown import Shown
from .status import plain


def tell(shown: Shown) -> None:
    """Write it: drawn on a terminal, in plain columns elsewhere."""
    if sys.stdout.isatty():
        from .drawing import console, drawn  # here, since it takes longer to import than all else takes

        console().print(drawn(shown))
    else:
        click.echo(plain(shown))


def text(value: object) -> str:
    """Return a value as printable text."""
    return "" if value is None else printable(str(value))


def moment(when: object) -> str:
    """Return a time of this host."""
    if not isinstance(when, int | float) or isinstance(when, bool):
        return ""
    try:
        return f"{datetime.fromtimestamp(when).astimezone():%Y-%m-%d %H:%M:%S}"
    except (OverflowError, OSError, ValueError):
        return "?"


def span(end: object, start: object) -> str:
    """Return how long it is from one to the other."""
    if not isinstance(end, int | float) or not isinstance(start, int | float) or not abs(end - start) < 1e9:
        return ""
    seconds = max(0, int(end - start))
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds // 86400} d"
