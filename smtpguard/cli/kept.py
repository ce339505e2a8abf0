"""What a service has kept in its state file, read without it.

Contract: the file is only read, whether or not a service is writing it; `Unreadable` says what is wrong.  Rows that are
not as we write them are left out.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from ..config.faults import Faulty
from ..config.state import DEFAULT_NAME, State, beside
from ..config.yaml_reader import read_file
from ..ledger.bans import as_dict
from ..ledger.incident import Incident
from ..ledger.measures import Hardness, Measure
from ..ledger.reading import Unwritten, rows_of
from ..ledger.shadowed import Shadowed
from ..ledger.sources import holds
from .defaults import DEFAULT_SETTINGS

DEFAULT_FILE: Final = f"/var/lib/smtpguard/{DEFAULT_NAME}"
"""In the StateDirectory of the shipped unit, where no file is named."""
DENIED: Final = "permission denied: ask as root, or as whom the service runs"
ROWS: Final = 10_000
"""Incidents that are read at most, the newest ones."""


class Unreadable(Exception):
    """The file cannot be used; the text says why."""


def file_of(config: str) -> str:
    """Return the state file of a settings file, of which nothing but `state` need be right; raises OSError.

    Where there are no settings in the usual place, it is the one in its own usual place.
    """
    try:
        data = read_file(config).data
        named = data.get("state") if isinstance(data, dict) else None
        state = State() if named is None else State.model_validate(beside(named, Path(config).parent))
    except (Faulty, ValidationError):
        return DEFAULT_FILE
    except FileNotFoundError:
        if config != DEFAULT_SETTINGS:
            raise
        return DEFAULT_FILE
    return state.path() or DEFAULT_FILE


def incidents(
    path: str, since: float = 0.0, address: str = "", still_open: bool = False, number: int | None = None
) -> list[dict[str, Any]]:
    """Return those that went on since then, of an address, still open, or of a number; the newest first."""
    query = (
        "SELECT body FROM incidents WHERE (closed IS NULL OR last >= ?) AND (closed IS NULL OR NOT ?) "
        "AND (? IS NULL OR id = ?) ORDER BY id DESC"
    )
    found: list[dict[str, Any]] = []
    for (body,) in _rows(path, query, (since, still_open, number, number)):
        try:
            one = Incident.from_dict(json.loads(body)).to_dict()
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if not address or concerns(one, address):
            found.append(one)
            if len(found) == ROWS:
                break
    return found


def concerns(incident: dict[str, Any], address: str) -> bool:
    """True if it is of an address, or of a prefix that has it."""
    return incident["key"] == address or holds(incident["key"], address) or address in incident["addresses"]


def bans(path: str, now: float) -> list[dict[str, Any]]:
    """Return the bans that stand, the newest first."""
    query = "SELECT key, until, since, rule, number FROM bans WHERE until > ? ORDER BY since DESC LIMIT ?"
    return [
        as_dict(Measure(Hardness.BAN, str(key), until, str(limit), since, count=count))
        for key, until, since, limit, count in _rows(path, query, (now, ROWS))
    ]


def shadow(path: str, since: float) -> list[Shadowed]:
    """Return what would have been decided since then if nothing were in shadow; the earliest hours first."""
    query = (
        "SELECT rule, verb, would, source, first, last, number, name, shown FROM shadow WHERE last >= ? ORDER BY hour"
    )
    try:
        return [one for row in _rows(path, query, (since,)) for one in shadowed([*row])]
    except Unreadable as error:
        if "no such table: shadow" in str(error):  # of an earlier version, which nothing has written since
            return []
        raise


def shadowed(row: Any) -> Iterator[Shadowed]:
    """Yield what a row says, if it is one of ours."""
    try:
        yield Shadowed.from_row(row)
    except (ValueError, TypeError):
        return


def _rows(path: str, query: str, values: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    try:
        with rows_of(path) as file:
            yield from file.execute(query, values)
    except Unwritten:
        return
    except sqlite3.Error as error:
        if not os.access(path, os.R_OK, effective_ids=True):  # SQLite has no words for why it cannot open a file
            raise Unreadable(f"{path}: {DENIED}") from None
        raise Unreadable(f"{path}: {error}") from None
    except PermissionError:
        raise Unreadable(f"{path}: {DENIED}") from None
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}: does the service keep its state in a file?") from None


def exists(path: str) -> bool:
    """True if there is such a file, or something that keeps us from knowing."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True
