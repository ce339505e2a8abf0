"""Numbers, times and states as the page words them, and values out of a status document.

Contract: pure.  The status document comes from several processes, perhaps of another version: what is missing, or
of another type, is nothing (0, empty), and raises nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from .page_markup import LONG, Child, Markup, el, visible

_STEPS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_LAST: Final = 253_370_000_000.0  # in the year 9998: what datetime can say, in any time zone
NOTHING: Final = "\u2013"
"""In a cell that has nothing to say."""


def text(value: object) -> str:
    """Return it as one text."""
    if isinstance(value, str):
        return value
    return "" if value is None else str(value)


def number(value: object) -> float:
    """Return it as a number that can be counted with."""
    try:
        found = float(value) if isinstance(value, int | float) else 0.0
    except OverflowError:
        return 0.0
    return found if math.isfinite(found) else 0.0


def count(value: object) -> int:
    """Return it as a whole number, 0 or more."""
    return max(0, int(number(value)))


def record(value: object) -> Mapping[str, Any]:
    """Return it as what has keys."""
    return value if isinstance(value, Mapping) else {}


def listed(value: object) -> list[Any]:
    """Return it as a list."""
    return list(value) if isinstance(value, list | tuple) else []


def records(value: object) -> list[Mapping[str, Any]]:
    """Return those of a list that have keys."""
    return [one for one in listed(value) if isinstance(one, Mapping)]


def texts(value: object) -> list[str]:
    """Return a list of texts."""
    return [text(one) for one in listed(value)]


def shown(value: object) -> str:
    """Return a text for a cell, which says something in any case."""
    return text(value) or NOTHING


def whole(value: object) -> str:
    """Return a count, with its thousands apart."""
    return f"{count(value):,}"


def many(value: object, one: str, more: str = "") -> str:
    """Return `1 session`, `2 sessions`."""
    return f"{whole(value)} {one if count(value) == 1 else more or one + 's'}"


def duration(seconds: float) -> str:
    """Return `4 s`, `3 min`, `2 h`: the largest unit alone, since it is read at a glance."""
    seconds = abs(seconds)
    size, unit = next(((size, unit) for size, unit in _STEPS if seconds >= size), _STEPS[-1])
    return f"{int(seconds // size):,} {unit}"


def ago(when: float, now: float) -> str:
    """Return `3 min ago`, or `in 3 min`."""
    if abs(when - now) < 1:
        return "now"
    return f"{duration(now - when)} ago" if when < now else f"in {duration(when - now)}"


def local(when: float) -> datetime:
    """Return a moment in the server's time zone, which is its log's."""
    return datetime.fromtimestamp(when).astimezone()


def moment(value: object, now: float) -> Child:
    """Return a time as people say it, with the clock's for who wants to look it up in the log."""
    when = number(value)
    if not 0 < when < _LAST:
        return NOTHING
    there = local(when)
    title = there.strftime("%Y-%m-%d %H:%M:%S %z")
    return el("time", ago(when, now), datetime=there.isoformat(timespec="seconds"), title=title)


_SHAPES: Final = {
    "good": "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12z",
    "warn": "M8 1.5L15.5 14.5H.5z",
    "bad": "M2 2h12v12H2z",
    "off": "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12zm0 2a4 4 0 1 1 0 8a4 4 0 1 1 0-8z",
}
"""A circle, a triangle, a square and a ring: who cannot tell colours apart has the shape, and the word."""


def mark(level: str) -> Markup:
    """Return the shape of a level, for eyes only."""
    return el("svg", el("path", d=_SHAPES[level]), class_=f"mark {level}", viewBox="0 0 16 16", aria_hidden="true")


def state(word: str, level: str) -> Markup:
    """Return a state as word, shape and colour."""
    return el("span", mark(level), el("span", word), class_=f"state {level}")


WRAPPED: Final = 40
"""Characters from which on a text in a cell is wrapped; an IPv6 address has fewer."""


def code(value: object, most: int = LONG) -> Markup:
    """Return what a computer says or reads, as that."""
    words = visible(shown(value), most)
    return el("code", words, most=most, class_="long" if len(words) > WRAPPED else None)


def joined(parts: Iterable[str], between: str = ", ") -> str:
    """Return the texts that there are, in one."""
    return between.join(part for part in parts if part)
