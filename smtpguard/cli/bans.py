"""`smtpguard bans`: who is banned, slowed or sent away, and letting somebody off."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import click

from ..config.admin import AdminPlace
from ..config.faults import printable
from ..ledger.lifting import LIFTED
from ..ledger.sources import written
from ..ledger.words import many
from . import kept, telling
from .asking import NoAnswer, ask, place_of
from .defaults import DEFAULT_SETTINGS
from .shown import Shown, Table
from .status_words import step

NOTHING = 1
"""Exit status where nothing stood against whom to let off."""
NAMES = 10
"""Of those that were let off."""


@click.command()
@click.argument("action", type=click.Choice(["list", "lift"]), default="list")
@click.argument("address", required=False)
@click.option("--all", "everybody", is_flag=True, help="List who is slowed or sent away, too.")
@click.option("--config", metavar="FILE", help=f"Settings that name endpoint and file.  [default: {DEFAULT_SETTINGS}]")
@click.option("--admin", metavar="ENDPOINT", help="Where to ask, as in unix:/run/smtpguard/admin.sock.")
@click.option("--state", metavar="FILE", help="Where to read if nobody answers.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def bans(
    action: str,
    address: str | None,
    everybody: bool,
    config: str | None,
    admin: str | None,
    state: str | None,
    as_json: bool,
) -> int:
    """Tell who is banned, or let off an ADDRESS with the prefixes that have it, or all that is in a prefix.

    If no service answers, `list` tells what its state file has.  Exit status: 0 done; 1 nothing stood against it; 69
    no answer.
    """
    if (action == "lift") != (address is not None):
        raise click.UsageError("name the address: smtpguard bans lift 192.0.2.7" if action == "lift" else "bans list")
    if action == "lift":
        return _lift(address or "", config, admin)
    more = 0
    try:
        place = place_of(config, admin)
        rows = _asked(place)
        if everybody:
            held, more = _held(place)
            rows = [*({**row, "step": "ban"} for row in rows), *held]
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
        only = ", which knows of bans only" if everybody else ""
        click.echo(printable(f"smtpguard: {error}; this is what {path} has{only}"), err=True)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        telling.tell(shown(rows, time.time(), everybody, more))
    return os.EX_OK


def _asked(place: AdminPlace) -> list[dict[str, Any]]:
    rows = ask(place, "/bans.json")
    if not isinstance(rows, list):
        raise NoAnswer(f"{place.text} is no admin endpoint: its answer is no list of bans")
    return [row for row in rows if isinstance(row, dict)]


def _held(place: AdminPlace) -> tuple[list[dict[str, Any]], int]:
    """Return who is slowed or sent away, and how many more there are."""
    document = ask(place, "/status.json")
    rows = document.get("standing") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise NoAnswer(f"{place.text} does not tell who is slowed or sent away")
    total = document.get("standing_total")
    held = [row for row in rows if isinstance(row, dict)]
    return held, max(total - len(held), 0) if isinstance(total, int) else 0


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
    if not isinstance(answer, dict) or answer.get("lifted") is not True:
        so = "nobody in it was slowed, sent away or banned" if "/" in key else "it was not slowed, sent away or banned"
        click.echo(f"{key}: {so}", err=True)
        return NOTHING
    named = answer.get("keys")
    keys = list(map(telling.text, named)) if isinstance(named, list) else []
    number = max(answer["number"], len(keys)) if isinstance(answer.get("number"), int) else len(keys)
    if keys in ([], [key]):
        click.echo(f"{key}: let off")
        return os.EX_OK
    names = ", ".join(keys[:NAMES]) + (f" and {number - NAMES} more" if number > NAMES else "")
    click.echo(f"{key}: {number} let off: {names}")
    if number >= LIFTED:
        click.echo(f"{key}: there may be more, since so many are let off at once: lift it again", err=True)
    return os.EX_OK


def shown(rows: list[dict[str, Any]], now: float, everybody: bool = False, more: int = 0) -> Shown:
    """Return what there is to say of them; `more` are slowed or sent away beside them."""
    cells = [
        (
            telling.text(row.get("key")),
            *((step(row),) if everybody else ()),
            telling.text(row.get("limit")),
            telling.text(row.get("count")),
            telling.moment(row.get("since")),
            telling.moment(row.get("until")),
            telling.span(row.get("until"), now),
        )
        for row in rows
    ]
    steps = ("step",) if everybody else ()
    table = Table("", ("who", *steps, "limit", "counted #", "since", "until", "in"), cells, more)
    return Shown(True, _number(rows, everybody, more), [], [], [table] if cells else [])


def _number(rows: list[dict[str, Any]], everybody: bool, more: int) -> str:
    banned = sum(row.get("step", "ban") == "ban" for row in rows)
    if not everybody:
        return many(banned, "ban") if banned else "nobody is banned"
    held = len(rows) - banned + more
    return f"{many(banned, 'ban')}, {held} slowed or sent away" if rows else "nobody is banned, slowed or sent away"
