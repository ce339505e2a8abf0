"""What is in a status document, in words; whatever is there, and whatever is missing.

Contract: pure; no control characters, whatever clients have sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from ..config.faults import printable

LONGEST_CELL: Final = 60
"""Characters; of more the end is left out, since what counts is in front."""
_STEPS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def text_of(value: object) -> str:
    """Return a value as text; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return printable(str(value))


def without_folder(rule: str) -> str:
    """Return the name of a rule, which begins with its file's, with no more of that than tells it from others."""
    file, colon, rest = rule.partition(":")
    return file.rpartition("/")[2] + colon + rest


def cut(text: str) -> str:
    """Return no more of a cell than a table has room for."""
    return text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 3] + "..."


def number(value: object) -> float:
    """Return a number; 0 for what is none."""
    return float(value) if isinstance(value, int | float) else 0.0


def list_of(value: object) -> list[Any]:
    """Return a list; an empty one for what is none."""
    return value if isinstance(value, list) else []


def mapping(value: object) -> Mapping[str, Any]:
    """Return a mapping; an empty one for what is none."""
    return value if isinstance(value, Mapping) else {}


def minutes(row: object) -> list[int]:
    """Return what was counted of a row in each minute."""
    return [int(number(one)) for one in list_of(mapping(row).get("history"))]


def span(seconds: float) -> str:
    """Return a time in its two largest units."""
    rest = int(max(seconds, 0))
    parts: list[str] = []
    for length, name in _STEPS:
        count, rest = divmod(rest, length)
        if parts:  # the second one, which is left out if there is none of it
            return " ".join([*parts, f"{count} {name}"] if count else parts)
        if count:
            parts.append(f"{count} {name}")
    return parts[0] if parts else "0 s"


def ago(when: object, now: float) -> str:
    """Return how long ago a moment was; nothing for what is none."""
    return f"{span(now - number(when))} ago" if isinstance(when, int | float) else ""


def clock(when: object, now: float) -> str:
    """Return a moment to come, in this host's time."""
    if not isinstance(when, int | float):
        return ""
    try:
        at = datetime.fromtimestamp(when).astimezone()
    except (OverflowError, OSError, ValueError):
        return "the end of time"
    return f"{at:%Y-%m-%d %H:%M:%S} (in {span(when - now)})"


def step(row: Mapping[str, Any]) -> str:
    """Return what is done to somebody, a row of `bans` or of `standing`."""
    match row.get("step", "ban"):
        case "ban":
            return "banned"
        case "close":
            return "sent away"
        case "delay":
            return f"each command waits {text_of(row.get('seconds'))} s"
    return text_of(row.get("step"))
