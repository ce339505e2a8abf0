"""`smtpguard report`: what would have been refused if nothing were in shadow, to whom, by which rule."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import click

from ..config import policy_file
from ..config.faults import Faulty, printable
from ..config.settings import load
from ..ledger.shadowed import Shadowed
from . import kept, spans
from .asking import NoAnswer, ask, place_of
from .defaults import DEFAULT_SETTINGS
from .reported import Reported, blocks, conclusion, document, put_together


@click.command()
@click.option("--since", callback=spans.since, metavar="TIME", help="What came since then, as in 90m, 24h or 7d.")
@click.option("--config", metavar="FILE", help=f"Settings that name file and endpoint.  [default: {DEFAULT_SETTINGS}]")
@click.option("--state", metavar="FILE", help="The state file.")
@click.option("--admin", metavar="ENDPOINT", help="Ask the service there, and read no file.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def report(since: float | None, config: str | None, state: str | None, admin: str | None, as_json: bool) -> int:
    """Tell what rules in shadow would have refused, and to whom.

    It is read from the state file, whether or not the service runs, or asked of the service if there is none: that
    knows of what came since it began.
    """
    earliest = 0.0 if since is None else time.time() - since
    try:
        rows, shadow = _rows(earliest, config, state, admin)
    except (NoAnswer, kept.Unreadable) as error:
        click.echo(printable(f"smtpguard: {error}"), err=True)
        return os.EX_UNAVAILABLE
    found: list[Reported] = put_together(row for row in rows if row.last >= earliest)
    if as_json:
        click.echo(json.dumps(document(found, earliest, shadow), indent=2))
        return os.EX_OK
    for block in blocks(found):
        click.echo(f"{block}\n")
    click.echo(conclusion(found, earliest, shadow))
    return os.EX_OK


def _rows(
    since: float, config: str | None, state: str | None, admin: str | None
) -> tuple[list[Shadowed], tuple[str, ...] | None]:
    """Return what was kept, and what is in shadow now, if that can be told."""
    shadow = None if state is not None or admin is not None else _in_shadow(config or DEFAULT_SETTINGS)
    if admin is None:
        path = state or kept.file_of(config or DEFAULT_SETTINGS)
        if state is not None or kept.exists(path):
            return kept.shadow(path, since), shadow
    place = place_of(config, admin)
    rows = ask(place, "/shadow.json")
    if not isinstance(rows, list):
        raise NoAnswer(f"{place.text} is no admin endpoint: its answer is no list")
    return [one for row in rows for one in kept.shadowed(row)], shadow


def _in_shadow(config: str) -> tuple[str, ...] | None:
    """Return what of the settings' policy is in shadow, or None if that cannot be told."""
    try:
        settings: Any = load(config, {}).settings
        return policy_file.load(policy_file.find(settings.policy)).shadow
    except (Faulty, OSError):
        return None
