"""What the state file has, read: by the service at its start, by the commands at any time.

Contract: blocking; nothing is changed, and nothing is made beside the file where no service has it open.  Rows that are
not as store.py writes them are left out.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from contextlib import closing
from typing import Any, Final
from urllib.parse import quote

from attrs import frozen

from .incident import Incident
from .measures import Hardness, Measure

SCHEMA: Final = 2
"""PRAGMA user_version; 2 has the table `shadow` beside those of 1."""
APPLICATION: Final = 0x534D5450
"""PRAGMA application_id: the file is ours ("SMTP")."""
BUSY_SECONDS: Final = 2.0
"""To wait for somebody else who uses the file, as a backup."""
RECENT: Final = 200
"""Closed incidents that are read at the start, for the status."""
BANS_READ: Final = 10_000
OPEN_READ: Final = 1000
"""Rows that are read; the tables of the ledger have as much room."""


class Unwritten(sqlite3.DatabaseError):
    """A service is about to make the file, and nothing is in it yet."""


@frozen
class Kept:
    """What the file had."""

    bans: list[Measure]
    open: list[Incident]
    recent: list[Incident]
    """The last ones that were closed, the newest first."""
    last_id: int


def read(file: sqlite3.Connection) -> Kept:
    """Return what the service goes on with."""
    bans = "SELECT key, until, since, rule, number FROM bans ORDER BY until DESC LIMIT ?"
    still_open = "SELECT body FROM incidents WHERE closed IS NULL ORDER BY id DESC LIMIT ?"
    recent = "SELECT body FROM incidents WHERE closed NOT NULL ORDER BY id DESC LIMIT ?"
    (last,) = file.execute("SELECT coalesce(max(id), 0) FROM incidents").fetchone()
    return Kept(
        [one for row in file.execute(bans, (BANS_READ,)) for one in _ban(row)],
        [one for (body,) in file.execute(still_open, (OPEN_READ,)) for one in _incident(body)],
        [one for (body,) in file.execute(recent, (RECENT,)) for one in _incident(body)],
        int(last),
    )


def rows_of(path: str) -> closing[sqlite3.Connection]:
    """Open a file to read it only, whether or not a service is writing it; raises sqlite3.Error (Unwritten) or OSError.

    Where no service has it open nothing is made beside it: who looks may be another user, and the disk may be full.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise sqlite3.DatabaseError("it is no file")  # a pipe would keep us waiting
    try:
        alone = not os.stat(f"{path}-wal").st_size
    except FileNotFoundError:
        alone = True
    try:
        return closing(_read_only(path, alone))
    except sqlite3.OperationalError:
        # It was killed, and what SQLite needs to read its log cannot be made: the log is left out.
        return closing(_read_only(path, True))


def _read_only(path: str, alone: bool) -> sqlite3.Connection:
    how = "immutable=1&mode=ro" if alone else "mode=ro"
    file = sqlite3.connect(f"file:{quote(os.fsencode(path))}?{how}", BUSY_SECONDS, uri=True, isolation_level=None)
    try:
        application, version = pragma(file, "application_id"), pragma(file, "user_version")
        unwritten = not version and (application == APPLICATION or not pragma(file, "page_count"))
    except sqlite3.Error:
        file.close()
        raise
    if application != APPLICATION or not 1 <= version <= SCHEMA:
        file.close()
        if unwritten:
            raise Unwritten("nothing is in it yet")
        raise sqlite3.DatabaseError("it is no file of this smtpguard")
    return file


def _ban(row: tuple[Any, ...]) -> list[Measure]:
    """Return the ban in a list, or an empty one where a row is not as we write them."""
    key, until, since, rule, number = row
    try:
        return [Measure(Hardness.BAN, str(key), float(until), str(rule), float(since), count=int(number))]
    except (ValueError, TypeError, OverflowError):
        return []


def _incident(body: str) -> list[Incident]:
    """Return the incident in a list, or an empty one where a row is not as we write them."""
    try:
        return [Incident.from_dict(json.loads(body))]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return []


def pragma(file: sqlite3.Connection, name: str) -> int:
    return int(file.execute(f"PRAGMA {name}").fetchone()[0])
