"""Times that a person gives to a command, as `--since 7d`.

Contract: a click callback; None for what was not given.
"""

from __future__ import annotations

import re
from typing import Final

import click

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def since(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """Return seconds."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,6})([smhdw])", value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no time: write it as 30m, 12h, 7d or 4w")
    return float(match[1]) * _UNITS[match[2]]
