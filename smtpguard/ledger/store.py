"""Bans and incidents in a file, so that they outlive the service: SQLite.

Contract: blocking; a `Store` belongs to one thread.  Whatever is wrong with the file is `Unusable`, and the next `load`
tries anew.  A file that is damaged is moved aside, never written over; one that is not ours, or from a newer version,
is left alone.  The file has a bounded number of rows and of octets, and nobody but its owner may read it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from attrs import Factory, frozen

from .incident import Incident
from .measures import Measure
from .reading import APPLICATION, BUSY_SECONDS, SCHEMA, Kept, pragma, read, rows_of
from .shadowed import Key, Shadowed
from .sources import MANY

WAL_OCTETS: Final = 1 << 20
"""Of the write-ahead log, beyond which it is folded into the file and cut."""
FULL: Final = 0.9
"""Of the octets that the file may have; from there on old incidents make room."""
ROOM: Final = 0.1
"""Of the closed incidents, that make room at once."""
SHADOW_ROWS: Final = 50_000
"""Of what would have been refused, by hour, rule, verb and source; some 15 MB."""
ASIDE: Final = 3
"""Damaged files that are kept; of more, the last one is replaced."""

_HEAD: Final = 100
_MAGIC: Final = b"SQLite format 3\0" + APPLICATION.to_bytes(4, "big")
"""Octets 0 to 15 and 68 to 71 of the head (sqlite.org/fileformat2.html, 1.3)."""
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_TABLES: Final = """
CREATE TABLE bans (
    key TEXT PRIMARY KEY, until REAL NOT NULL, since REAL NOT NULL, rule TEXT NOT NULL, number INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE incidents (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, opened REAL NOT NULL, last REAL NOT NULL, closed REAL, body TEXT NOT NULL
);
CREATE INDEX incidents_closed ON incidents (closed);
"""
_SHADOW: Final = """
CREATE TABLE shadow (
    hour INTEGER NOT NULL, rule TEXT NOT NULL, verb TEXT NOT NULL, would TEXT NOT NULL, source TEXT NOT NULL,
    first REAL NOT NULL, last REAL NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, shown TEXT NOT NULL,
    PRIMARY KEY (hour, rule, verb, would, source)
) WITHOUT ROWID;
"""
_ADD: Final = """
INSERT INTO shadow VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    number = number + excluded.number, first = min(first, excluded.first), last = max(last, excluded.last),
    name = CASE excluded.name WHEN '' THEN name ELSE excluded.name END
"""
_TOGETHER: Final = f"""
INSERT INTO shadow
SELECT hour, rule, verb, would, '{MANY}', min(first), max(last), sum(number), '', min(shown) FROM
    (SELECT * FROM shadow WHERE source != '{MANY}' ORDER BY hour LIMIT ?)
    GROUP BY hour, rule, verb, would
ON CONFLICT DO UPDATE SET
    number = number + excluded.number, first = min(first, excluded.first), last = max(last, excluded.last)
"""
"""Count the sources of the oldest rows together, so many of them."""


class _Damaged(sqlite3.DatabaseError):
    """It can be read, and is wrong."""


class Unusable(Exception):
    """The file cannot be used now; the text says why.

    `kept` is what it has, where it can at least be read.
    """

    def __init__(self, why: str, kept: Kept | None = None) -> None:
        super().__init__(why)
        self.kept = kept


@frozen
class Changes:
    """What is to be written, in one transaction."""

    incidents: dict[int, dict[str, Any]] = Factory(dict)
    """By their numbers, as Incident.to_dict makes them."""
    bans: dict[str, Measure | None] = Factory(dict)
    """By their keys; None is one that is over."""
    shadow: dict[Key, Shadowed] = Factory(dict)
    """What is to be added to what the file has."""

    def __bool__(self) -> bool:
        return bool(self.incidents or self.bans or self.shadow)


class Store:
    """The file."""

    def __init__(self, path: str, max_bytes: int, kept: int) -> None:
        """`kept` is how many incidents stay."""
        self._path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._file: sqlite3.Connection | None = None
        self._inode = 0

    @property
    def is_open(self) -> bool:
        """True if it is open, and is still the file that has this name."""
        if self._file is None:
            return False
        try:
            return os.stat(self._path).st_ino == self._inode
        except OSError:
            return False

    def load(self) -> Kept:
        """Open the file, make it if there is none, and return what it has; raises Unusable."""
        self.close()
        try:
            with self._usable():
                file = self._open()
                kept = read(file)
                self._forget_others(file, kept.open)
                return kept
        except Unusable as error:
            # A disk that is full, or may only be read, must not let anybody off.
            with suppress(sqlite3.Error, OSError), rows_of(self._path) as read_only:
                error.kept = read(read_only)
            raise

    def write(self, changes: Changes) -> None:
        """Write; raises Unusable, and then nothing was written."""
        with self._usable():
            file = self._file
            if file is None:
                raise Unusable("it is not open")
            self._make_room(file)
            if changes.shadow:
                self._make_room_for_shadow(file)
            rows = [_row(one) for one in changes.incidents.values()]
            bans = [_ban(one) for one in changes.bans.values() if one is not None]
            over = [(key,) for key, one in changes.bans.items() if one is None]
            with file:
                file.execute("BEGIN IMMEDIATE")
                file.executemany("INSERT OR REPLACE INTO incidents VALUES (?, ?, ?, ?, ?, ?)", rows)
                file.executemany("INSERT OR REPLACE INTO bans VALUES (?, ?, ?, ?, ?)", bans)
                file.executemany("DELETE FROM bans WHERE key = ?", over)
                file.executemany(_ADD, map(_shadow, changes.shadow.values()))

    def close(self) -> None:
        """Close the file, with all that was written in it."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(sqlite3.Error):
                file.close()

    # -- opening -------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        self._inode = self._ours()
        file = self._file = sqlite3.connect(self._path, BUSY_SECONDS, isolation_level=None)
        version, application = pragma(file, "user_version"), pragma(file, "application_id")
        if not version and application in (0, APPLICATION):
            # The id first, and not in the write-ahead log: from then on the file is known for ours.
            file.executescript(
                f"PRAGMA auto_vacuum=INCREMENTAL; PRAGMA application_id={APPLICATION}; PRAGMA journal_mode=WAL; "
                f"BEGIN IMMEDIATE; {_TABLES} {_SHADOW} PRAGMA user_version={SCHEMA}; COMMIT;"
            )
        elif version == 1:
            file.executescript(f"BEGIN IMMEDIATE; {_SHADOW} PRAGMA user_version={SCHEMA}; COMMIT;")
        elif version != SCHEMA:
            raise Unusable(f"it has form {version}, of a newer smtpguard; this one writes form {SCHEMA}")
        file.execute("PRAGMA synchronous=NORMAL")
        file.execute(f"PRAGMA journal_size_limit={WAL_OCTETS}")
        file.execute(f"PRAGMA wal_autocheckpoint={WAL_OCTETS // pragma(file, 'page_size')}")
        file.execute(f"PRAGMA max_page_count={self._max_bytes // pragma(file, 'page_size')}")
        if file.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise _Damaged("malformed")
        return file

    @staticmethod
    def _forget_others(file: sqlite3.Connection, known: list[Incident]) -> None:
        """Delete what is open in the file and nobody goes on with, so that no row stays for ever."""
        with suppress(sqlite3.OperationalError):  # the next time, then
            marks = ",".join("?" * len(known))
            query = f"DELETE FROM incidents WHERE closed IS NULL AND id NOT IN ({marks})"
            file.execute(query, [one.id for one in known])

    def _ours(self) -> int:
        """Look at the file before SQLite does, make it if there is none, and return its inode.

        Whatever a slip of the pen names is neither changed nor moved.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            found = os.fstat(descriptor)
            head = os.pread(descriptor, _HEAD, 0) if stat.S_ISREG(found.st_mode) else b"?"
            if any(head) and head[:16] + head[68:72] != _MAGIC:
                raise Unusable("it is no file of smtpguard, and is left alone")
            if found.st_mode & 0o077:
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        if found.st_size and not any(head):
            raise _Damaged("it begins with zeros")
        return found.st_ino

    # -- room ----------------------------------------------------------------------------------------

    def _make_room(self, file: sqlite3.Connection) -> None:
        """Delete the oldest closed incidents, where there are too many or too large ones."""
        (rows,) = file.execute("SELECT count(*) FROM incidents").fetchone()
        too_many = max(rows - self._kept + 1, int(rows * ROOM) + 1 if _is_full(file) else 0)
        if too_many > 0 and rows:
            file.execute(
                "DELETE FROM incidents WHERE id IN "
                "(SELECT id FROM incidents WHERE closed NOT NULL ORDER BY closed LIMIT ?)",
                (too_many,),
            )
            file.execute("PRAGMA incremental_vacuum").fetchall()

    @staticmethod
    def _make_room_for_shadow(file: sqlite3.Connection) -> None:
        """Count the sources of the oldest hours together, where there are too many rows; or let the hours go."""
        (rows,) = file.execute("SELECT count(*) FROM shadow").fetchone()
        if rows < SHADOW_ROWS and not (rows and _is_full(file)):
            return
        most = int(rows * ROOM) + 1
        with file:
            file.execute("BEGIN IMMEDIATE")
            file.execute(_TOGETHER, (most,))
            file.execute(
                "DELETE FROM shadow WHERE (hour, rule, verb, would, source) IN "
                "(SELECT hour, rule, verb, would, source FROM shadow WHERE source != ? ORDER BY hour LIMIT ?)",
                (MANY, most),
            )
            (left,) = file.execute("SELECT count(*) FROM shadow").fetchone()
            if left >= min(rows, SHADOW_ROWS):  # they are counted together already
                file.execute("DELETE FROM shadow WHERE hour <= (SELECT min(hour) FROM shadow)")
        file.execute("PRAGMA incremental_vacuum").fetchall()

    # -- what is wrong -------------------------------------------------------------------------------

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, Unusable, OverflowError) as error:  # the last one: a number beyond 64 bits
            self.close()
            if isinstance(error, sqlite3.DatabaseError) and _is_damage(error):
                raise Unusable(f"it was damaged ({error}); {self._move_aside()}") from None
            raise Unusable(error.strerror or "no such file" if isinstance(error, OSError) else str(error)) from None

    def _move_aside(self) -> str:
        places = [f"{self._path}.damaged-{number}" for number in range(1, ASIDE + 1)]
        aside = next((path for path in places if not os.path.lexists(path)), places[-1])
        try:
            os.replace(self._path, aside)
            for end in ("-wal", "-shm"):
                with suppress(FileNotFoundError):
                    os.replace(self._path + end, aside + end)
        except OSError as error:
            return f"and cannot be moved aside: {error.strerror}"
        return f"it is {aside} now, and a new one is made"


def _is_full(file: sqlite3.Connection) -> bool:
    used: int = pragma(file, "page_count") - pragma(file, "freelist_count")
    return used > FULL * pragma(file, "max_page_count")


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", 0)
    return isinstance(error, _Damaged) or code & 0xFF in _DAMAGED or str(error).startswith("no such table")


def _row(one: dict[str, Any]) -> tuple[Any, ...]:
    body = json.dumps(one, separators=(",", ":"))
    return one["id"], one["key"], one["opened"], one["last"], one["closed"], body


def _shadow(one: Shadowed) -> tuple[Any, ...]:
    return *one.key, one.first, one.last, one.number, one.name, one.shown


def _ban(ban: Measure) -> tuple[Any, ...]:
    return ban.key, ban.until, ban.since, ban.limit, ban.count
