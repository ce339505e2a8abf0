"""`smtpguard bans`: who is banned, and letting somebody off."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import click

from ..config.faults import printable
from ..ledger.sources import written
from . import kept, telling
from .asking import DEFAULT_SETTINGS, NoAnswer, ask, place_of
from .showing import Shown, Table

NOTHING = 1
"""Exit status where there was no such ban."""


@click.command()
@click.argument("action", type=click.Choice(["list", "lift"]), default="list")
@click.argument("address", required=False)
@click.option("--config", metavar="FILE", help=f"Settings that name endpoint and file.  [default: {DEFAULT_SETTINGS}]")
@click.option("--admin", metavar="ENDPOINT", help="Where to ask, as in unix:/run/smtpguard/admin.sock.")
@click.option("--state", metavar="FILE", help="Where to read if nobody answers.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def bans(
    action: str, address: str | None, config: str | None, admin: str | None, state: str | None, as_json: bool
) -> int:
    """Tell who is banned, or lift the ban of an ADDRESS and of prefixes that have it.

    If no service answers, `list` tells what its state file has.  Exit status: 0 done; 1 there was no such ban; 69 no
    answer.
    """
    if (action == "lift") != (address is not None):
        raise click.UsageError("name the address: smtpguard bans lift 192.0.2.7" if action == "lift" else "bans list")
    if action == "lift":
        return _lift(address or "", config, admin)
    try:
        rows = _asked(config, admin)
    except NoAnswer as error:
        if admin is not None:
            click.echo(printable(f"smtpguard: {error}"), err=True)
            return os.EX_UNAVAILABLE
        path = state or kept.file_of(config or DEFAULT_SETTINGS)
        try:
            rows = kept.bans(path, time.time())
        except kept.Unreadable as unreadable:
            click.echo(printable(f"smtpguard: {error}; {unreadable}"), err=True)
            return os.EX_UNAVAILABLE
        click.echo(printable(f"smtpguard: {error}; this is what {path} has"), err=True)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        telling.tell(shown(rows, time.time()))
    return os.EX_OK


def _asked(config: str | None, admin: str | None) -> list[dict[str, Any]]:
    place = place_of(config, admin)
    rows = ask(place, "/bans.json")
    if not isinstance(rows, list):
        raise NoAnswer(f"{place.text} is no admin endpoint: its answer is no list of bans")
    return [row for row in rows if isinstance(row, dict)]


def _lift(address: str, config: str | None, admin: str | None) -> int:
    try:
        key = written(address)
    except ValueError:
        raise click.UsageError(f"{address!r} is neither an address nor a prefix such as 2001:db8:1:2::/64") from None
    try:
        answer = ask(place_of(config, admin), "/bans/lift", {"address": key})
    except NoAnswer as error:
        click.echo(printable(f"smtpguard: {error}"), err=True)
        return os.EX_UNAVAILABLE
    if isinstance(answer, dict) and answer.get("lifted") is True:
        click.echo(f"{key}: let off")
        return os.EX_OK
    click.echo(f"{key}: there is no ban against it; if it was slowed or sent away, it no longer is", err=True)
    return NOTHING


def shown(rows: list[dict[str, Any]], now: float) -> Shown:
    """Return what there is to say of them."""
    cells = [
        (
            telling.text(row.get("key")),
            telling.text(row.get("limit")),
            telling.text(row.get("count")),
            telling.moment(row.get("since")),
            telling.moment(row.get("until")),
            telling.span(row.get("until"), now),
        )
        for row in rows
    ]
    table = Table("", ("who", "limit", "counted #", "since", "until", "in"), cells)
    number = f"{len(cells)} bans" if len(cells) != 1 else "1 ban"
    return Shown(True, number if cells else "nobody is banned", [], [], [table] if cells else [])
