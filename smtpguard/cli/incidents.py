"""`smtpguard incidents`: who tried what, session by session put together."""

from __future__ import annotations

import json
import os
import time
from typing import Any, Final

import click

from ..config.faults import printable
from ..ledger import words
from ..ledger.sources import written
from . import kept, spans, telling
from .asking import NoAnswer, ask, place_of
from .defaults import DEFAULT_SETTINGS
from .shown import Shown, Table

NOTHING: Final = 1
"""Exit status where there is no incident of that number."""
NAMES: Final = 4
"""Names in a row of the table; with a number all that are kept are told."""
LONGEST_NAMES: Final = 60
"""Characters of them."""


def _address(_context: click.Context, _option: click.Parameter, value: str | None) -> str:
    try:
        return written(value) if value else ""
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither an address nor a prefix") from None


@click.command()
@click.argument("number", metavar="[ID]", type=click.IntRange(min=1), required=False)
@click.option("--since", callback=spans.since, metavar="TIME", help="Those that went on since then, as in 12h or 7d.")
@click.option("--address", callback=_address, metavar="ADDRESS", help="Those of an address, or of a prefix with it.")
@click.option("--open", "still_open", is_flag=True, help="Those that are still open.")
@click.option("--config", metavar="FILE", help=f"Settings that name file and endpoint.  [default: {DEFAULT_SETTINGS}]")
@click.option("--state", metavar="FILE", help="The state file.")
@click.option("--admin", metavar="ENDPOINT", help="Ask the service there, and read no file.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def incidents(
    number: int | None,
    since: float | None,
    address: str,
    still_open: bool,
    config: str | None,
    state: str | None,
    admin: str | None,
    as_json: bool,
) -> int:
    """Tell of incidents, or of the one with this ID with its evidence.

    They are read from the state file, whether or not the service runs, or asked of the service if there is none.
    """
    now = time.time()
    earliest = 0.0 if since is None else now - since
    try:
        rows = _rows(number, earliest, address, still_open, config, state, admin)
    except (NoAnswer, kept.Unreadable) as error:
        click.echo(printable(f"smtpguard: {error}"), err=True)
        return os.EX_UNAVAILABLE
    if number is not None and not rows:
        click.echo(f"smtpguard: there is no incident {number}", err=True)
        return NOTHING
    if as_json:
        click.echo(json.dumps(rows if number is None else rows[0], indent=2))
    else:
        telling.tell(table(rows) if number is None else one(rows[0]))
    return os.EX_OK


def _rows(
    number: int | None,
    since: float,
    address: str,
    still_open: bool,
    config: str | None,
    state: str | None,
    admin: str | None,
) -> list[dict[str, Any]]:
    if admin is None:
        path = state or kept.file_of(config or DEFAULT_SETTINGS)
        if state is not None or kept.exists(path):
            return kept.incidents(path, since, address, still_open, number)
    place = place_of(config, admin)
    rows = ask(place, "/incidents.json")
    if not isinstance(rows, list):
        raise NoAnswer(f"{place.text} is no admin endpoint: its answer is no list of incidents")
    return [
        row
        for row in rows
        if (number is None or row["id"] == number)
        and (row["closed"] is None or row["last"] >= since)
        and (row["closed"] is None or not still_open)
        and (not address or kept.concerns(row, address))
    ]


def table(rows: list[dict[str, Any]]) -> Shown:
    """Return what there is to say of several."""
    cells = []
    for row in rows:
        names = ", ".join(map(telling.text, row["names"][:NAMES]))
        if len(names) > LONGEST_NAMES:
            names = f"{names[: LONGEST_NAMES - 3]}..."
        cells.append(
            (
                telling.text(row["id"]),
                telling.text(row["key"]),
                telling.text(row["verdict"]),
                _state(row),
                telling.moment(row["opened"]),
                telling.span(row["last"], row["opened"]),
                telling.text(row["sessions"]),
                _deeds(row),
                names,
            )
        )
    columns = ("id #", "who", "verdict", "state", "opened", "for", "sessions #", "deeds", "names tried")
    still_open = sum(row["closed"] is None for row in rows)
    head = f"{words.many(len(rows), 'incident')}, {still_open} open"
    return Shown(True, head if rows else "no incidents", [], [], [Table("", columns, cells)] if cells else [])


def one(row: dict[str, Any]) -> Shown:
    """Return what there is to say of one."""
    facts = [
        ("who", telling.text(row["key"])),
        ("verdict", telling.text(row["verdict"])),
        ("state", _state(row)),
        ("opened", telling.moment(row["opened"])),
        ("last deed", f"{telling.moment(row['last'])}, {telling.span(row['last'], row['opened'])} later"),
        ("sessions", telling.text(row["sessions"])),
        ("deeds", _deeds(row)),
    ]
    if row["closed"] is not None:
        facts.insert(5, ("closed", telling.moment(row["closed"])))
    if row["addresses"] != [row["key"]]:
        facts.append(("addresses", _listed(row["addresses"], row.get("addresses_more", 0))))
    if row["names"]:
        facts.append(("names tried", _listed(row["names"], row["names_more"])))
    evidence = [
        (
            telling.moment(sample["when"]),
            telling.text(sample["session"]),
            telling.text(sample["verdict"]),
            telling.text(sample["shown"]),
        )
        for sample in row["evidence"]
    ]
    tables = [Table("Evidence", ("when", "session", "verdict", "what was sent"), evidence)]
    return Shown(True, f"incident {telling.text(row['id'])}", [], facts, tables)


def _listed(texts: list[Any], more: int) -> str:
    rest = f" (and further ones, {words.many(more, 'time')})" if more else ""
    return ", ".join(map(telling.text, texts)) + rest


def _state(row: dict[str, Any]) -> str:
    return ("open" if row["closed"] is None else "closed") + (", banned" if row["banned"] else "")


def _deeds(row: dict[str, Any]) -> str:
    return ", ".join(words.deeds(telling.text(number), telling.text(kind)) for kind, number in row["deeds"].items())
