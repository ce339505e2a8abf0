"""The ledger as a whole, with its real thread and its real file, in a loop that the test turns."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import syslog
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from attrs import evolve

from smtpguard.config.incidents import IncidentSettings
from smtpguard.ledger import keeping, ledger, together
from smtpguard.ledger.measures import Hardness, Measure
from smtpguard.ledger.ordering import ORDERED
from smtpguard.ledger.reports import Orders, Report
from smtpguard.ledger.together import Away, Heard, Told
from tests.ledger.support import NOW, Stage, auth, ban, rcpt, vrfy, wiz


@pytest.fixture
def stages() -> Iterator[list[Stage]]:
    """Ledgers that are closed at the end."""
    made: list[Stage] = []
    yield made
    for one in made:
        one.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is not there yet."""
    return tmp_path / "smtpguard.db"


class Partner:
    """Who counts for several: what the test says."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.answers: list[Heard] = []
        self.away = ""
        self.broken: Exception | None = None
        self.closed = False

    def exchange(self, told: Told, now: float) -> Heard:
        """Note it, and answer."""
        assert threading.current_thread().name == "ledger"
        if self.away:
            raise Away(self.away)
        if self.broken is not None:
            raise self.broken
        self.told.append(told)
        return self.answers.pop(0) if self.answers else Heard()

    def close(self) -> None:
        """Note it."""
        self.closed = True


# -- from deeds to lines ----------------------------------------------------------------------------------


def test_an_incident_is_told_once_when_it_begins_and_once_when_it_is_over(stages: list[Stage]) -> None:
    """However many processes have seen it."""
    stage = Stage()
    stages.append(stage)
    for worker in range(4):
        stage.did(vrfy("root", session=f"w{worker}"), wiz(session=f"w{worker}"), worker=worker)
    stage.did(rcpt("a@x.test", session="w9"), auth(session="w9"), worker=1)
    (row,) = stage.ledger.incidents()
    assert (row["sessions"], row["deeds"]) == (5, {"probes": 8, "recipients": 1, "auth": 1})
    stage.now += 900
    stage.ledger.tick()
    number = row["id"]
    assert stage.said == [
        (f"incident {number} opened: 192.0.2.7: scanner, 2 probes; names: root", syslog.LOG_WARNING),
        (
            f"incident {number} closed: 192.0.2.7: scanner, 8 probes, 1 refused recipient, 1 refused AUTH in "
            "5 sessions and 0 s; names: a@x.test, root",
            syslog.LOG_NOTICE,
        ),
    ]
    source, scanner = {"client": "192.0.2.7", "id": number}, {"verdict": "scanner"}
    whole = {"probes": 8, "recipients": 1, "auth": 1}
    assert stage.told == [
        ("incident", {**source, "state": "opened", **scanner, "deeds": {"probes": 2}, "sessions": 1, "banned": False}),
        ("incident", {**source, "state": "closed", **scanner, "deeds": whole, "sessions": 5, "banned": False}),
    ]
    assert stage.ledger.status()["incidents"][0]["closed"] == stage.now
    assert stage.ledger.opened == 1


def test_a_ban_that_a_process_decided_is_told_to_all(stages: list[Stage]) -> None:
    """And marks the incident; the same one again is no news."""
    stage = Stage()
    stages.append(stage)
    stage.did(wiz(), measures=(ban(),))
    stage.did(measures=(ban(),), worker=1)
    stage.did(measures=(Measure(Hardness.DELAY, "192.0.2.9", NOW + 60, "scanners", NOW, 5.0),))
    assert stage.orders == [Orders((ban(),))]
    assert stage.ledger.bans() == [
        {"key": "192.0.2.7", "until": NOW + 3600, "since": NOW, "limit": "scanners", "count": 60}
    ]
    assert [one["banned"] for one in stage.ledger.incidents()] == [True]
    stage.now += 3600
    stage.ledger.tick()
    assert stage.ledger.bans() == []


def test_an_incident_that_begins_with_a_limit_is_called_by_what_led_to_it(stages: list[Stage]) -> None:
    """What a process tells with the measure is no less known than what it told before."""
    stage = Stage()
    stages.append(stage)
    stage.did(rcpt("a@x.test"))
    stage.did(rcpt("b@x.test"), rcpt("c@x.test"), measures=(ban(),))
    (text,) = stage.texts()
    assert text.endswith(" opened: 192.0.2.7: harvester, 3 refused recipients; names: a@x.test, b@x.test, c@x.test")


def test_bans_that_processes_hold_are_taken_over_and_are_no_news(stages: list[Stage]) -> None:
    """By a ledger that has begun anew: they are told to all, once, and no incident begins with them."""
    stage = Stage()
    stages.append(stage)
    bans = tuple(ban(f"10.0.{number // 250}.{1 + number % 250}") for number in range(ORDERED + 5))
    for worker in range(3):
        stage.ledger.told(Report(worker, recalled=bans))
    assert [one for orders in stage.orders for one in orders.measures] == list(bans)
    assert len(stage.orders) == 2
    assert len(stage.ledger.bans()) == len(bans)
    assert stage.ledger.incidents() == []
    assert stage.texts() == []


def test_a_ban_that_was_lifted_is_not_taken_over_from_a_process_that_did_not_know(stages: list[Stage]) -> None:
    """Its answer may have been on the way; a later one is another ban."""
    stage = Stage()
    stages.append(stage)
    stage.ledger.told(Report(1, recalled=(ban(),)))
    assert stage.ledger.lift("192.0.2.7")
    stage.ledger.told(Report(2, recalled=(ban(),)))
    assert stage.ledger.bans() == []
    stage.now += 5
    stage.ledger.told(Report(2, recalled=(ban(since=NOW + 1),)))
    assert [one["key"] for one in stage.ledger.bans()] == ["192.0.2.7"]


def test_who_is_let_off_is_let_off_everywhere(stages: list[Stage]) -> None:
    """With the prefix that was banned for it; whoever was only sent away, too."""
    stage = Stage()
    stages.append(stage)
    stage.did(measures=(ban("2001:db8:1:2::/64"),))
    del stage.orders[:]
    assert stage.ledger.lift("2001:db8:1:2::9")
    assert stage.orders == [Orders(lifted=("2001:db8:1:2::/64", "2001:db8:1:2::9"))]
    assert not stage.ledger.lift("192.0.2.9")
    assert stage.orders[1:] == [Orders(lifted=("192.0.2.9",))]
    assert not stage.ledger.lift("many addresses; \x1b[2J")
    assert len(stage.orders) == 2
    assert stage.texts()[1:] == [
        "ban lifted: 2001:db8:1:2::/64",
        "to be let off: 192.0.2.9: it was not slowed, sent away or banned",
    ]


def test_who_is_slowed_or_sent_away_is_let_off_and_the_log_says_so(stages: list[Stage]) -> None:
    """An address, or all in a network; what is over by then is nothing."""
    stage = Stage()
    stages.append(stage)
    slowed = Measure(Hardness.DELAY, "192.0.2.9", NOW + 60, "scanners", NOW, 5.0)
    away = Measure(Hardness.CLOSE, "192.0.2.10", NOW + 60, "scanners", NOW)
    stage.did(measures=(slowed, away, evolve(away, key="192.0.3.1"), ban("192.0.2.11")))
    del stage.said[:]
    assert stage.ledger.lift("192.0.2.9") == ["192.0.2.9"]
    assert stage.ledger.lift("192.0.2.9") == []
    assert stage.ledger.lift("192.0.2.0/24", ["192.0.2.77", "198.51.100.1"]) == [
        "192.0.2.11",
        "192.0.2.10",
        "192.0.2.77",
    ]
    assert stage.orders[-1] == Orders(lifted=("192.0.2.11", "192.0.2.10", "192.0.2.77", "192.0.2.0/24"))
    assert stage.texts() == [
        "let off, no longer slowed or sent away: 192.0.2.9",
        "to be let off: 192.0.2.9: it was not slowed, sent away or banned",
        "ban lifted: 192.0.2.11",
        "let off, no longer slowed or sent away: 192.0.2.10, 192.0.2.77",
    ]
    stage.now += 61
    stage.ledger.tick()
    assert stage.ledger.lift("192.0.3.1") == []


def test_an_incident_whose_ban_was_lifted_is_not_banned(stages: list[Stage]) -> None:
    """Unless another ban of the same source stands."""
    stage = Stage()
    stages.append(stage)
    one, other = "2001:db8:1:2::9", "2001:db8:1:2::a"
    stage.did(wiz(one), measures=(ban(one), ban(other)))
    stage.ledger.lift(one)
    assert [row["banned"] for row in stage.ledger.incidents()] == [True]
    stage.ledger.lift(other)
    assert [row["banned"] for row in stage.ledger.incidents()] == [False]


def test_the_status_is_bounded(stages: list[Stage]) -> None:
    """Whatever is open; the newest stand first."""
    stage = Stage()
    stages.append(stage)
    for number in range(400):
        address = f"{10 + number // 256}.{number % 256}.0.1"
        stage.did(wiz(address), measures=(ban(address),))
    status = stage.ledger.status()
    assert (len(status["incidents"]), status["incidents_open"]) == (ledger.SHOWN, 400)
    assert (len(status["bans"]), status["bans_total"]) == (ledger.BANS_SHOWN, 400)
    numbers = [one["id"] for one in status["incidents"]]
    assert numbers == sorted(numbers, reverse=True)
    assert status["state"] == {"file": "", "fault": "", "shared": "", "counting": "here"}


def test_long_orders_go_in_several_messages() -> None:
    """A message between processes has a length."""
    stage = Stage()
    for number in range(1000):
        stage.did(measures=(ban(f"10.0.{number >> 8}.{number & 255}"),))
    orders = stage.ledger.standing()
    assert sum(len(one.measures) for one in orders) == 1000
    assert max(len(one.to_json()) for one in orders) < 65536
    stage.close()


# -- over a restart ---------------------------------------------------------------------------------------


def test_bans_and_incidents_outlive_a_restart(path: Path, stages: list[Stage]) -> None:
    """The gates are told of the bans, and an open incident goes on under its number."""
    first = Stage(path)
    first.did(wiz(), vrfy("root"), measures=(ban("2001:db8:9::/64", 10), ban()))
    first.until(lambda: first.ledger.incidents(), "the incident")
    number = first.ledger.incidents()[1]["id"]
    first.close()

    second = Stage(path, now=NOW + 60)
    stages.append(second)
    second.did(rcpt("late@x.test", when=NOW + 60, session="s9"))
    second.settle()
    assert second.orders == [Orders((ban(),))]
    assert [one["key"] for one in second.ledger.bans()] == ["192.0.2.7"]
    other, row = second.ledger.incidents()
    assert other["key"] == "2001:db8:9::/64"
    assert (row["id"], row["sessions"], row["opened"], row["last"]) == (number, 2, NOW, NOW + 60)
    assert row["deeds"] == {"probes": 2, "recipients": 1}
    assert row["banned"]
    assert second.said == []
    second.now += 900
    second.ledger.tick()
    closed = (
        f"incident {number} closed: 192.0.2.7: scanner, 2 probes, 1 refused recipient in 2 sessions and 60 s, banned"
    )
    assert [text.partition(";")[0] for text in second.texts() if "192.0.2.7" in text] == [closed]


def test_so_does_what_was_lifted(path: Path, stages: list[Stage]) -> None:
    """Who was let off is not banned again by a restart; and what was closed stays to be read."""
    first = Stage(path)
    first.did(wiz(), measures=(ban(),))
    first.settle()
    assert first.ledger.lift("192.0.2.7")
    first.now += 900
    first.ledger.tick()
    first.close()
    second = Stage(path)
    stages.append(second)
    second.settle()
    assert second.orders == []
    assert second.ledger.bans() == []
    assert [one["closed"] for one in second.ledger.incidents()] == [NOW + 900]


def test_a_ledger_that_is_killed_loses_no_more_than_a_moment(path: Path, stages: list[Stage]) -> None:
    """Nothing is kept for the end."""
    first = Stage(path)
    first.did(wiz(), measures=(ban(),))
    first.settle()
    second = Stage(path)  # beside the first one, which is not closed
    stages += [second, first]
    second.settle()
    assert second.orders == [Orders((ban(),))]
    assert len(second.ledger.incidents()) == 1


# -- a file that cannot be used -----------------------------------------------------------------------------


def test_without_the_file_all_goes_on_from_memory(tmp_path: Path, stages: list[Stage]) -> None:
    """It is said once, and the file gets everything once it can be used."""
    path = tmp_path / "later" / "smtpguard.db"
    stage = Stage(path)
    stages.append(stage)
    stage.did(wiz(), measures=(ban(),))
    stage.until(lambda: stage.ledger.incidents(), "the incident")
    fault = f"state file {path}: No such file or directory; bans and incidents are in memory only until it can be used"
    assert stage.texts()[0] == fault
    kept = stage.ledger._keeping
    assert kept is not None
    assert stage.ledger.status()["state"]["fault"] == "No such file or directory"
    for seconds in keeping.AGAIN_SECONDS[:3]:
        stage.now += seconds
        stage.until(lambda: not kept._busy, "the next try")
    assert stage.texts().count(fault) == 1
    path.parent.mkdir()
    stage.now += keeping.AGAIN_SECONDS[-1]
    stage.settle()
    assert stage.texts()[-1] == f"state file {path}: in use again"
    assert stage.ledger.status()["state"]["fault"] == ""
    second = Stage(path)
    stages.append(second)
    second.settle()
    assert second.orders == [Orders((ban(),))]
    assert len(second.ledger.incidents()) == 1


def test_a_source_that_has_an_incident_by_now_gets_no_second_one_from_the_file(path: Path, stages: list[Stage]) -> None:
    """The one in the file is closed there; bans of the file are told, those of memory are written."""
    first = Stage(path)
    first.did(wiz(), measures=(ban("203.0.113.9"),))
    first.settle()
    first.close()
    path.rename(path.with_name("elsewhere"))
    path.mkdir()
    stage = Stage(path, now=NOW + 60)
    stages.append(stage)
    stage.until(lambda: stage.said, "the fault")
    stage.did(wiz(when=NOW + 60), measures=(ban("203.0.113.10"),))
    path.rmdir()
    path.with_name("elsewhere").rename(path)
    stage.now += keeping.AGAIN_SECONDS[0]
    stage.settle()
    assert Orders((ban("203.0.113.9"),)) in stage.orders
    assert len([one for one in stage.ledger.incidents() if one["key"] == "192.0.2.7"]) == 1
    second = Stage(path, now=NOW + 61)
    stages.append(second)
    second.settle()
    assert {one["key"] for one in second.ledger.bans()} == {"203.0.113.9", "203.0.113.10"}
    found = [(one["opened"], one["closed"]) for one in second.ledger.incidents() if one["key"] == "192.0.2.7"]
    assert found == [(NOW + 60, None), (NOW, NOW)]


def test_a_full_disk_at_the_start_lets_nobody_off(tmp_path: Path) -> None:
    """What can be read of the file holds, and is written on once there is room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    first = Stage(folder / "smtpguard.db")
    first.did(wiz(), measures=(ban(),))
    first.settle()
    first.close()
    room = os.statvfs(folder)
    (folder / "filler").write_bytes(bytes(room.f_bavail * room.f_frsize))
    stage = Stage(folder / "smtpguard.db", now=NOW + 60)
    try:
        stage.until(lambda: stage.orders, "the ban")
        assert stage.orders == [Orders((ban(),))]
        stage.did(wiz(when=NOW + 60))
        (folder / "filler").unlink()
        stage.now += keeping.AGAIN_SECONDS[0]
        stage.settle()
        assert stage.orders == [Orders((ban(),))]
        (row,) = stage.ledger.incidents()
        assert (row["deeds"], row["opened"], row["closed"]) == ({"probes": 2}, NOW, None)
    finally:
        stage.close()
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_file_that_is_damaged_while_it_is_used(path: Path, stages: list[Stage]) -> None:
    """It is moved aside, and what stands is written to a new one."""
    stage = Stage(path)
    stages.append(stage)
    for number in range(50):
        stage.did(wiz(f"10.{number}.0.1"), measures=(ban(f"10.{number}.0.1"),))
    stage.settle()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    octets = path.read_bytes()
    path.write_bytes(octets[:100] + os.urandom(len(octets)))
    stage.did(wiz("10.99.0.1"))
    stage.until(lambda: stage.ledger.status()["state"]["fault"] != "", "it to be noticed")
    stage.now += keeping.AGAIN_SECONDS[0]
    stage.settle()
    stage.now += sum(keeping.AGAIN_SECONDS)
    stage.settle()
    assert [text for text in stage.texts() if "state file" in text][-1] == f"state file {path}: in use again"
    assert Path(f"{path}.damaged-1").exists()
    second = Stage(path)
    stages.append(second)
    second.settle()
    assert len(second.ledger.bans()) == 50
    assert second.ledger.status()["incidents_open"] == 51


def test_a_file_that_is_taken_away_is_made_anew(path: Path, stages: list[Stage]) -> None:
    """Nothing is written to where nobody finds it."""
    stage = Stage(path)
    stages.append(stage)
    stage.did(wiz(), measures=(ban(),))
    stage.settle()
    for file in path.parent.iterdir():
        file.unlink()
    stage.did(wiz("203.0.113.9"))
    stage.until(lambda: stage.texts()[-1].startswith("state file"), "it to be noticed")
    assert "it was removed, or replaced by another one" in stage.texts()[-1]
    stage.now += keeping.AGAIN_SECONDS[0]
    stage.settle()
    second = Stage(path)
    stages.append(second)
    second.settle()
    assert (len(second.ledger.bans()), second.ledger.status()["incidents_open"]) == (1, 2)


def test_a_full_disk_is_said_once_and_everything_goes_on(tmp_path: Path) -> None:
    """And is written once there is room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    stage = Stage(folder / "smtpguard.db")
    try:
        stage.settle()
        (folder / "filler").write_bytes(bytes(600 * 1024))
        for number in range(200):
            stage.did(*(rcpt(f"{'n' * 70}{name}", f"10.{number}.0.1") for name in range(50)))
        faulty = "database or disk is full"
        stage.until(lambda: faulty in stage.ledger.status()["state"]["fault"], "the disk to be full")
        for seconds in keeping.AGAIN_SECONDS[:4]:
            stage.now += seconds
            stage.ledger.tick()
        assert stage.ledger.status()["incidents_open"] == 200
        assert sum("state file" in text for text in stage.texts()) == 1
        subprocess.run(["mount", "-o", "remount,size=16m", folder], check=True)
        stage.now += sum(keeping.AGAIN_SECONDS)
        stage.did(*(wiz(f"10.{number}.0.1", stage.now) for number in range(200)))
        stage.settle()
        assert stage.texts()[-1] == f"state file {folder}/smtpguard.db: in use again"
        stage.close()
        second = Stage(folder / "smtpguard.db")
        second.settle()
        assert second.ledger.status()["incidents_open"] == 200
        second.close()
    finally:
        stage.close()
        subprocess.run(["umount", "-l", folder], check=True)


def test_what_waits_for_a_file_that_is_away_is_bounded(
    tmp_path: Path, stages: list[Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest incidents are lost to the file, and are counted."""
    monkeypatch.setattr(keeping, "CHANGED", 100)
    monkeypatch.setattr(keeping, "BANS_CHANGED", 100)
    stage = Stage(tmp_path / "nowhere" / "smtpguard.db")
    stages.append(stage)
    stage.until(lambda: stage.said, "the first try")
    for number in range(150):
        stage.did(wiz(f"10.{number}.0.1"), measures=(ban(f"10.{number}.0.1"),))
    for _ in range(3):
        stage.ledger.tick()
    kept = stage.ledger._keeping
    assert kept is not None
    assert (len(kept._changes.incidents), len(kept._changes.bans), kept.lost) == (100, 100, 100)
    assert min(kept._changes.incidents) == int(NOW) + 50


def test_reports_wait_for_the_file_and_not_for_ever(path: Path, stages: list[Stage]) -> None:
    """A file system that hangs keeps nobody from banning; what the file had is taken when it comes."""
    first = Stage(path)
    first.did(measures=(ban("203.0.113.9"),))
    first.settle()
    first.close()
    stage = Stage(path)  # which hears nothing of the file, as long as its loop is not turned
    stages.append(stage)
    stage.did(wiz(), measures=(ban(),))
    stage.ledger.tick()
    assert stage.orders == []
    stage.now += ledger.HELD_SECONDS + 1
    stage.ledger.tick()
    assert stage.orders == [Orders((ban(),))]
    assert len(stage.ledger.incidents()) == 1
    stage.settle()
    assert stage.orders[1:] == [Orders((ban("203.0.113.9"),))]


def test_at_most_so_many_reports_wait(stages: list[Stage], path: Path) -> None:
    """The gates have counted what they tell of."""
    stage = Stage(path)
    stages.append(stage)
    for number in range(3 * ledger.HELD):
        stage.ledger.told(Report(0, (wiz(f"10.{number % 256}.{number // 256}.1"),)))
    stage.settle()
    assert stage.ledger.status()["incidents_open"] == ledger.HELD


# -- counting together --------------------------------------------------------------------------------------


def test_what_all_have_counted_is_ordered_to_all(stages: list[Stage]) -> None:
    """A ban by all is kept as one of a process is; what is no ban is passed on."""
    partner = Partner()
    stage = Stage(partner=partner)
    stages.append(stage)
    close = Measure(Hardness.CLOSE, "192.0.2.8", NOW + 60, "crowd", NOW, count=50)
    partner.answers += [Heard(), Heard((ban(), close))]
    stage.did(vrfy(), vrfy())
    stage.until(lambda: stage.orders, "the orders")
    assert stage.orders == [Orders((ban(),)), Orders((close,))]
    assert [deed for told in partner.told for deed in told.deeds] == [vrfy(), vrfy()]
    assert len(stage.ledger.bans()) == 1
    assert stage.ledger.status()["state"]["counting"] == "together"
    # It came from there, and need not be told there.
    assert not any(told.bans for told in partner.told)


def test_bans_and_their_ends_are_told_to_the_others(stages: list[Stage]) -> None:
    """And theirs are taken."""
    partner = Partner()
    stage = Stage(partner=partner)
    stages.append(stage)
    stage.did(measures=(ban(),))
    stage.until(lambda: any(told.bans == {"192.0.2.7": ban()} for told in partner.told), "the ban to be told")
    stage.ledger.lift("192.0.2.7")
    stage.until(lambda: any(told.bans == {"192.0.2.7": None} for told in partner.told), "its end to be told")
    # Who was sent away without a ban is counted anew, too.
    assert not stage.ledger.lift("192.0.2.8")
    stage.until(lambda: any(told.bans == {"192.0.2.8": None} for told in partner.told), "that end to be told")
    stage.did(measures=(ban("192.0.2.9"),))
    del stage.orders[:]
    partner.answers.append(Heard(lifted=("192.0.2.9",)))
    stage.until(lambda: not stage.ledger.bans(), "another guard's word")
    assert stage.orders == [Orders(lifted=("192.0.2.9",))]


def test_a_partner_that_is_away_is_said_once_and_asked_later_and_later(stages: list[Stage]) -> None:
    """What was counted meanwhile is not counted again, but bans are told when it is back."""
    partner = Partner()
    partner.away = "Connection refused"
    stage = Stage(partner=partner)
    stages.append(stage)
    other = stage.ledger._together
    assert other is not None
    stage.until(lambda: other.fault, "it to be found away")
    stage.did(vrfy(), measures=(ban(),))
    for tries, seconds in enumerate(together.AGAIN_SECONDS, 2):
        stage.now += seconds
        stage.until(lambda tries=tries: other._tries == tries, "the next try")  # type: ignore[misc]
    assert sum("every process counts by itself" in text for text in stage.texts()) == 1
    assert stage.ledger.status()["state"]["counting"] == "here"
    partner.away = ""
    stage.now += together.AGAIN_SECONDS[-1]
    stage.until(lambda: any(told.bans for told in partner.told), "the ban to be told")
    assert stage.ledger.status()["state"]["counting"] == "together"
    assert [told.deeds for told in partner.told if told.deeds] == []
    assert {key: one for told in partner.told for key, one in told.bans.items()} == {"192.0.2.7": ban()}
    assert sum("together again" in text for text in stage.texts()) == 1


def test_a_partner_that_breaks_in_an_unforeseen_way_is_away(stages: list[Stage]) -> None:
    """As one that finds rubbish where a number should be: it is said, and tried again."""
    partner = Partner()
    partner.broken = ValueError("invalid literal")
    stage = Stage(partner=partner)
    stages.append(stage)
    other = stage.ledger._together
    assert other is not None
    stage.until(lambda: other.fault == "ValueError: invalid literal", "it to be found away")
    partner.broken = None
    stage.now += together.AGAIN_SECONDS[-1]
    stage.until(lambda: stage.ledger.status()["state"]["counting"] == "together", "it to be back")


def test_a_clock_that_is_set_back_keeps_nothing_waiting(path: Path, stages: list[Stage]) -> None:
    """Neither a partner nor the file is left alone until the clock shows once more when they failed."""
    partner = Partner()
    partner.away = "Connection refused"
    path.mkdir()
    stage = Stage(path, partner=partner)
    stages.append(stage)
    other, kept = stage.ledger._together, stage.ledger._keeping
    assert other is not None
    assert kept is not None
    stage.until(lambda: other.fault and kept.fault, "both to be found away")
    partner.away = ""
    path.rmdir()
    stage.now -= 86_400
    stage.until(lambda: not other.fault and not kept.fault, "both to be back")


def wait_for(event: threading.Event) -> None:
    """Keep the thread busy."""
    event.wait()


def test_what_waits_for_a_partner_is_bounded(stages: list[Stage], monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest deeds, and bans, are not told."""
    monkeypatch.setattr(together, "DEEDS", 100)
    monkeypatch.setattr(together, "BANS", 10)
    partner = Partner()
    blocked = threading.Event()
    stage = Stage(partner=partner)
    stages.append(stage)
    stage.ledger._thread.put(partial(wait_for, blocked))
    stage.ledger.tick()
    other = stage.ledger._together
    assert other is not None
    for number in range(150):
        stage.did(vrfy(f"u{number}"), measures=(ban(f"10.0.0.{number}"),))
    assert len(other._told.deeds) <= 100
    assert other._told.deeds[-1] == vrfy("u149")
    assert list(other._told.bans) == [f"10.0.0.{number}" for number in range(140, 150)]
    blocked.set()


def test_a_partner_is_let_go_at_the_end() -> None:
    """In the thread that used it."""
    partner = Partner()
    stage = Stage(partner=partner)
    stage.close()
    assert partner.closed


# -- hooks and reload ---------------------------------------------------------------------------------------


def test_a_hook_is_told_of_beginning_and_end(tmp_path: Path, stages: list[Stage]) -> None:
    """Another one from a reload on."""
    script = tmp_path / "hook"
    script.write_text('#!/bin/sh\nread -r line; echo "$2 $line" >>"$1"\n')
    script.chmod(0o755)
    told = tmp_path / "told"
    stage = Stage(hook={"command": [str(script), str(told), "first"]})
    stages.append(stage)
    stage.did(wiz())
    stage.until(lambda: stage.ledger.status()["hook"] == {"told": 1, "failed": 0}, "the hook")
    wanted = IncidentSettings.model_validate({"quiet": 60, "hook": {"command": [str(script), str(told), "second"]}})
    stage.ledger.reload(wanted)
    stage.now += 60
    stage.until(lambda: stage.ledger.status()["hook"] == {"told": 1, "failed": 0}, "the other hook")
    first, second = told.read_text().splitlines()
    assert first.startswith('first {"event": "opened", "id": ')
    assert second.startswith('second {"event": "closed", "id": ')


def test_a_hook_that_fails_is_said_in_the_loop(stages: list[Stage]) -> None:
    """The journal belongs to it."""
    stage = Stage(hook={"command": ["/nowhere/at/all"]})
    stages.append(stage)
    stage.did(wiz())
    stage.until(lambda: len(stage.said) == 2, "the fault")
    assert stage.texts()[1].startswith("incidents.hook: command /nowhere/at/all: cannot be run: No such file")


def test_no_thread_is_there_before_the_start(path: Path) -> None:
    """A fork between making and starting must find none."""
    before = threading.active_count()
    stage = Stage(hook={"command": ["/bin/true"]})
    assert threading.active_count() == before
    stage.close()
    with_file = Stage(path)
    assert threading.active_count() == before + 1
    with_file.close()
    assert threading.active_count() == before
