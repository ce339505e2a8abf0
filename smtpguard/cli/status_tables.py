"""The tables of a service's status, one function each.

Contract: as showing.py; a row that is none is left out, and so is what is beyond `ROWS`, which is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from attrs import evolve

from ..ledger.words import deeds
from .shown import Table
from .status_words import ago, clock, cut, list_of, mapping, minutes, number, span, step, text_of, without_folder

ROWS: Final = 12
"""Of a table; `--json`, `smtpguard bans` and `smtpguard incidents` have all."""
NAMES: Final = 5
"""That an incident tried; of all of them `smtpguard incidents` tells."""
MOST: Final = 1e15
"""A number of rows that is larger is none."""

Status = Mapping[str, Any]
Row = Mapping[str, Any]
Cell = Callable[[Row], str]


def tables(status: Status, now: float) -> Iterator[Table]:
    """Yield all of them, those without rows too."""
    yield _listeners(status)
    yield _processes(status, now)
    yield _backends(status, now)
    yield _verdicts(status)
    yield _commands(status)
    yield _limits(status)
    yield _bans(status, now)
    yield _standing(status, now)
    yield _incidents(status, now)
    yield _sessions(status)


def _table(title: str, given: object, columns: Mapping[str, Cell]) -> Table:
    rows = [row for row in list_of(given) if isinstance(row, Mapping)]
    cells = [tuple(cut(cell(row)) for cell in columns.values()) for row in rows[:ROWS]]
    return Table(title, tuple(columns), cells, len(rows) - len(cells))


def _of(key: str) -> Cell:
    return lambda row: text_of(row.get(key))


def _ago(key: str, now: float) -> Cell:
    return lambda row: ago(row.get(key), now)


def _clock(key: str, now: float) -> Cell:
    return lambda row: clock(row.get(key), now)


def _listeners(status: Status) -> Table:
    return _table("Listeners", status.get("listeners"), {"listener": _of("name"), "address": _of("address")})


def _processes(status: Status, now: float) -> Table:
    columns = {
        "process": _of("name"),
        "pid #": _of("pid"),
        "state": _of("state"),
        "sessions #": _of("sessions"),
        "since": _ago("since", now),
    }
    return _table("Processes", status.get("processes"), columns)


def _backends(status: Status, now: float) -> Table:
    columns = {
        "backend": _of("endpoint"),
        "state": _of("state"),
        "since": _ago("since", now),
        "sessions #": _of("sessions"),
        "failures #": _of("failures"),
        "last fault": _of("fault"),
    }
    return _table("Backends", status.get("backends"), columns)


def _verdicts(status: Status) -> Table:
    columns: dict[str, Cell] = {
        "rule": lambda row: without_folder(text_of(row.get("rule"))),
        "action": _of("action"),
        "last hour #": lambda row: str(sum(minutes(row))),
        "all #": _of("count"),
    }
    table = _table("Verdicts", status.get("verdicts"), columns)
    return evolve(table, bars=[minutes(row) for row in list_of(status.get("verdicts"))[: len(table.rows)]])


def _commands(status: Status) -> Table:
    columns = {"verb": _of("verb"), "passed #": _of("passed"), "all #": _of("all")}
    return _table("Commands", status.get("verbs"), columns)


def _limits(status: Status) -> Table:
    columns = {
        "limit": _of("name"),
        "counts": _of("counts"),
        "rate": _of("rate"),
        "crossed #": _of("crossed"),
        "standing #": _of("standing"),
    }
    return _table("Limits", status.get("limits"), columns)


def _bans(status: Status, now: float) -> Table:
    columns = {"who": _of("key"), "for": _of("limit"), "until": _clock("until", now)}
    return _table("Bans", status.get("bans"), columns)


def _standing(status: Status, now: float) -> Table:
    columns = {"who": _of("key"), "step": step, "for": _of("limit"), "until": _clock("until", now)}
    table = _table("Slowed or sent away", status.get("standing"), columns)
    # There may be more of them than the document has.
    total = int(min(number(status.get("standing_total")), MOST))
    return evolve(table, more=max(table.more, total - len(table.rows)))


def _incidents(status: Status, now: float) -> Table:
    columns: dict[str, Cell] = {
        "id #": _of("id"),
        "who": _of("key"),
        "verdict": _of("verdict"),
        "state": lambda row: "open" if row.get("closed") is None else "closed",
        "last": _ago("last", now),
        "deeds": lambda row: ", ".join(
            deeds(text_of(n), text_of(kind)) for kind, n in mapping(row.get("deeds")).items()
        ),
        "tried": lambda row: ", ".join(map(text_of, list_of(row.get("names"))[:NAMES])),
    }
    return _table("Incidents", status.get("incidents"), columns)


def _sessions(status: Status) -> Table:
    columns: dict[str, Cell] = {
        "session": _of("id"),
        "client": _of("address"),
        "state": _of("state"),
        "for": lambda row: span(number(row.get("seconds"))),
        "commands #": _of("commands"),
        "TLS": lambda row: "yes" if row.get("tls") else "",
        "backend": _of("backend"),
    }
    return _table("Sessions", mapping(status.get("sessions")).get("live"), columns)
