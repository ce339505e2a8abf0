"""The file: what it keeps, who may read it, and what is done when it cannot be used."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from smtpguard.ledger import store as module
from smtpguard.ledger.incident import Incident
from smtpguard.ledger.measures import Measure
from smtpguard.ledger.reading import APPLICATION, rows_of
from smtpguard.ledger.store import Changes, Store, Unusable
from tests.ledger.support import NOW, ban, rcpt, wiz

MB = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is not there yet."""
    return tmp_path / "smtpguard.db"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def store(path: Path, max_bytes: int = 64 * MB, kept: int = 10_000) -> Store:
    """Return a store that has not been opened."""
    return Store(str(path), max_bytes, kept)


def incident(number: int, closed: float | None = None, names: int = 1) -> Incident:
    """Return one."""
    made = Incident(number, f"10.0.{number >> 8}.{number & 255}", NOW)
    for name in range(names):
        made.did(rcpt(f"{'n' * 60}{name}", made.key))
    made.closed = closed
    return made


def changes(*incidents: Incident, bans: dict[str, Measure | None] | None = None) -> Changes:
    """Return what is to be written."""
    return Changes({one.id: one.to_dict() for one in incidents}, bans or {})


def fill(one: Store) -> None:
    """Write until the disk is full."""
    one.load()
    for start in range(2, 2000, 50):
        one.write(changes(*(incident(number, NOW, names=50) for number in range(start, start + 50))))


def test_what_is_written_is_read(path: Path) -> None:
    """Bans, open incidents, the last closed ones and the highest number."""
    first = store(path)
    assert (first.load().bans, first.load().last_id) == ([], 0)
    rows = incident(1, names=5), incident(2, NOW + 5), incident(3, NOW + 6)
    first.write(changes(*rows, bans={"192.0.2.7": ban(), "192.0.2.8": ban("192.0.2.8")}))
    first.write(changes(incident(1, names=7), bans={"192.0.2.8": None}))
    first.close()
    kept = store(path).load()
    assert kept.bans == [ban()]
    assert [one.to_dict() for one in kept.open] == [incident(1, names=7).to_dict()]
    assert [one.to_dict() for one in kept.recent] == [rows[2].to_dict(), rows[1].to_dict()]
    assert kept.last_id == 3


def test_what_was_written_outlives_a_process_that_was_killed(path: Path) -> None:
    """The write-ahead log is left beside the file, and belongs to it."""
    script = (
        "import os, sys; sys.path.insert(0, '.'); from tests.ledger.test_store import *; "
        "s = store(Path(sys.argv[1])); s.load(); s.write(changes(incident(5), bans={'192.0.2.7': ban()})); "
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script, path], cwd=Path(__file__).parents[2]).returncode == -9
    kept = store(path).load()
    assert (kept.bans, kept.last_id) == ([ban()], 5)


def test_nobody_else_may_read_it(path: Path) -> None:
    """Nor what SQLite puts beside it, whatever the umask is and the file was."""
    before = os.umask(0)
    try:
        one = store(path)
        one.load()
        one.write(changes(incident(1)))
        modes = {entry.name: entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()}
        assert modes == {"smtpguard.db": 0o600, "smtpguard.db-wal": 0o600, "smtpguard.db-shm": 0o600}
        one.close()
        path.chmod(0o644)
        store(path).load()
        assert path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_the_oldest_closed_incidents_make_room(path: Path) -> None:
    """What is open stays, however old it is."""
    one = store(path, kept=100)
    one.load()
    one.write(changes(incident(1)))
    for number in range(2, 302):
        one.write(changes(incident(number, NOW + number)))
    one.close()
    kept = store(path).load()
    assert [found.id for found in kept.open] == [1]
    assert [found.id for found in kept.recent] == list(range(301, 202, -1))


def test_the_file_stays_within_its_octets(path: Path) -> None:
    """With large incidents, which make room for each other; and it goes on being written."""
    one = store(path, max_bytes=MB)
    one.load()
    for number in range(1, 1200):
        one.write(changes(incident(number, NOW + number, names=50)))
    assert path.stat().st_size <= MB
    one.close()
    assert path.stat().st_size <= MB
    last = store(path).load().recent
    assert last[0].id == 1199
    assert len(last) > 50


def test_a_full_disk_is_unusable_and_then_usable_again(small_disk: Path) -> None:
    """What is in the file already stays, and nothing of what could not be written is half there."""
    path = small_disk / "smtpguard.db"
    (small_disk / "filler").write_bytes(bytes(MB))
    one = store(path)
    one.load()
    one.write(changes(incident(1, NOW)))
    for _ in range(2):
        with pytest.raises(Unusable, match="full"):
            fill(one)
    (small_disk / "filler").unlink()
    kept = one.load()
    assert kept.last_id % 50 == 1
    one.write(changes(incident(1, NOW)))
    one.close()
    assert not list(small_disk.glob("*.damaged*"))


def test_what_cannot_be_written_is_read_all_the_same(small_disk: Path) -> None:
    """A disk that was full before the start lets nobody off."""
    path = small_disk / "smtpguard.db"
    one = store(path)
    one.load()
    one.write(changes(incident(1), bans={"192.0.2.7": ban()}))
    one.close()
    room = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(room.f_bavail * room.f_frsize))
    with pytest.raises(Unusable) as caught:
        store(path).load()
    assert caught.value.kept is not None
    assert caught.value.kept.bans == [ban()]
    assert [found.id for found in caught.value.kept.open] == [1]


def test_a_damaged_file_is_moved_aside(path: Path) -> None:
    """With its log; a few are kept, and a new file is made."""
    for _ in range(module.ASIDE + 2):
        one = store(path)
        one.load()
        one.write(changes(*(incident(number, NOW, names=20) for number in range(1, 50))))
        one.close()
        octets = bytearray(path.read_bytes())
        octets[4096:20000] = os.urandom(20000 - 4096)
        path.write_bytes(octets)
        with pytest.raises(
            Unusable, match=r"damaged \(.*it is .*smtpguard\.db\.damaged-[123] now, and a new one is made"
        ):
            store(path).load()
        assert not path.exists()
    assert store(path).load().last_id == 0
    assert len(list(path.parent.glob("smtpguard.db.damaged-?"))) == module.ASIDE


def test_a_file_of_zeros_is_damaged_too(path: Path) -> None:
    """Some file systems leave that behind when the power fails."""
    path.write_bytes(bytes(8192))
    with pytest.raises(Unusable, match="damaged-1 now"):
        store(path).load()
    assert store(path).load().last_id == 0


def test_a_file_that_is_cut_short_is_damaged_too(path: Path) -> None:
    """As a copy that was not finished."""
    one = store(path)
    one.load()
    one.write(changes(*(incident(number, NOW, names=20) for number in range(1, 50))))
    one.close()
    os.truncate(path, 8192)
    with pytest.raises(Unusable, match="damaged"):
        store(path).load()


@pytest.mark.parametrize(
    "content", [b"root:x:0:0:root:/root:/bin/bash\n", b"SQLite format 3\0 and no more", b"\1" + bytes(500)]
)
def test_what_is_no_file_of_ours_is_left_alone(path: Path, content: bytes) -> None:
    """A slip of the pen in the settings must not cost a file: neither its content nor its mode changes."""
    path.write_bytes(content)
    path.chmod(0o644)
    for _ in range(2):
        with pytest.raises(Unusable, match="no file of smtpguard"):
            store(path).load()
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in path.parent.iterdir()] == ["smtpguard.db"]


def test_nor_is_another_programs_database(path: Path) -> None:
    """Which SQLite could open well."""
    with closing(sqlite3.connect(path)) as other:
        other.executescript("CREATE TABLE bans (who TEXT); INSERT INTO bans VALUES ('x');")
    before = path.read_bytes()
    with pytest.raises(Unusable, match="no file of smtpguard"):
        store(path).load()
    assert path.read_bytes() == before


def test_nor_is_a_file_of_a_newer_version(path: Path) -> None:
    """A guard that is put back to an older version leaves it for the newer one."""
    store(path).load()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version=3")
    with pytest.raises(Unusable, match="form 3, of a newer smtpguard"):
        store(path).load()
    with closing(sqlite3.connect(path)) as newer:
        assert newer.execute("PRAGMA user_version").fetchone() == (3,)


def test_a_start_that_was_cut_off_is_made_good(path: Path) -> None:
    """Killed behind its first page, before there were tables."""
    with closing(sqlite3.connect(path)) as begun:
        begun.execute(f"PRAGMA application_id={APPLICATION}")
    one = store(path)
    one.load()
    one.write(changes(incident(1)))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.mkdir(), "directory|left alone"),
        (lambda path: os.mkfifo(path), "left alone"),
        (lambda path: path.symlink_to("/proc/nowhere/x"), "No such file"),
    ],
)
def test_what_is_no_file_at_all_is_unusable(path: Path, make: object, why: str) -> None:
    """And nobody waits for it."""
    assert callable(make)
    make(path)
    with pytest.raises(Unusable, match=why):
        store(path).load()


def test_a_folder_that_is_missing_is_said_so(tmp_path: Path) -> None:
    """It is not made: it would have the wrong owner."""
    with pytest.raises(Unusable, match="No such file or directory"):
        store(tmp_path / "nowhere" / "smtpguard.db").load()


def test_a_file_that_was_replaced_is_noticed(path: Path) -> None:
    """SQLite would go on to write into the one that has no name any more."""
    one = store(path)
    one.load()
    assert one.is_open
    path.unlink()
    assert not one.is_open
    path.write_bytes(b"")
    assert not one.is_open


def test_a_row_that_is_not_as_we_write_them_is_left_out(path: Path) -> None:
    """The others are read."""
    one = store(path)
    one.load()
    one.write(changes(incident(1), incident(2)))
    one.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        rubbish = ["", "{}", "[]", "null", '{"id": "x"}', '{"id": 1e999, "key": "k", "opened": 0}', "[" * 9999, "\x00"]
        for number, body in enumerate(rubbish, 10):
            file.execute("INSERT INTO incidents VALUES (?, 'k', 0, 0, NULL, ?)", (number, body))
        file.execute("INSERT INTO bans VALUES ('x', 'never', 'y', 1, 'z')")
        file.execute("INSERT INTO bans VALUES ('y', 9e999, 0, 'z', 9e999)")
    kept = store(path).load()
    assert kept.bans == []
    assert [found.id for found in kept.open] == [2, 1]
    with rows_of(str(path)) as read:
        assert read.execute("SELECT id FROM incidents ORDER BY id").fetchall() == [(1,), (2,)]  # nor kept for ever


def test_it_is_read_by_others_while_it_is_written(path: Path) -> None:
    """And by nobody beside it once the service is gone: nothing is made next to the file."""
    one = store(path)
    one.load()
    one.write(changes(incident(1)))
    with rows_of(str(path)) as file:
        assert file.execute("SELECT id FROM incidents").fetchall() == [(1,)]
        one.write(changes(incident(2)))
        assert file.execute("SELECT id FROM incidents").fetchall() == [(1,), (2,)]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            file.execute("DELETE FROM incidents")
    one.close()
    assert [entry.name for entry in path.parent.iterdir()] == ["smtpguard.db"]
    with rows_of(str(path)) as file:
        assert file.execute("SELECT count(*) FROM incidents").fetchone() == (2,)
    assert [entry.name for entry in path.parent.iterdir()] == ["smtpguard.db"]


def test_a_name_that_looks_like_a_url_is_a_name(tmp_path: Path) -> None:
    """The file is the one that was named, whatever stands in it."""
    path = tmp_path / "a?mode=rwc&b%20#c"
    one = store(path)
    one.load()
    one.write(changes(Incident(7, "192.0.2.7", NOW)))
    one.close()
    with rows_of(str(path)) as file:
        assert file.execute("SELECT id FROM incidents").fetchall() == [(7,)]


def test_somebody_who_holds_the_file_makes_a_write_fail_and_not_wait(path: Path) -> None:
    """For longer than a named time."""
    one = store(path)
    one.load()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unusable, match="locked"):
            one.write(changes(incident(1)))
        other.execute("ROLLBACK")
    one.load()
    one.write(changes(incident(1)))


def test_deeds_of_a_wizard_are_kept_as_they_were_shown(path: Path) -> None:
    """JSON in and out changes no character."""
    made = Incident(9, "192.0.2.7", NOW)
    made.did(wiz())
    one = store(path)
    one.load()
    one.write(changes(made))
    assert one.load().open[0].to_dict() == made.to_dict()
