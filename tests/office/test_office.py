"""The office over a long time, and with many processes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from twisted.internet.task import Clock

from smtpguard.ledger.measures import Hardness, Measure
from smtpguard.ledger.reports import Orders, Report
from smtpguard.lifecycle.configuration import read
from smtpguard.office.facts import facts_of
from smtpguard.office.office import MOST_PROCESSES, NEWCOMERS_SECONDS, TICK_SECONDS, Office
from smtpguard.office.status import SILENT_SECONDS


class Loop(Clock):
    """A reactor that no thread hands anything to."""

    def callFromThread(self, act: Any, *arguments: Any) -> None:
        """There is no file, and no Redis."""
        raise AssertionError("no thread should be there")


class Kept:
    """An office without an admin endpoint, which nobody asks for its status."""

    def __init__(self, folder: Path) -> None:
        """It counts for several."""
        (folder / "policy.yaml").write_text("rulesets: {}\n", "ascii")
        policy = str(folder / "policy.yaml")
        configuration = read(None, {"listen": ["tcp:25"], "backend": "tcp:127.0.0.1:2525", "policy": policy})
        self.clock = Loop()
        self.orders: list[Orders] = []
        facts = facts_of(configuration, None, [], [], 0.0, 1)
        self.office = Office(self.clock, configuration, "guard.test", facts, lambda *_line: None, self.orders.append)
        self.office.start()

    def pass_seconds(self, seconds: float) -> None:
        """Let the office turn."""
        for _ in range(int(seconds / TICK_SECONDS) + 1):
            self.clock.advance(TICK_SECONDS)


def ban(key: str) -> Measure:
    """Return a ban of an hour."""
    now = time.time()
    return Measure(Hardness.BAN, key, now + 3600, "scanners", now)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """An office."""
    return Kept(tmp_path)


def test_processes_that_have_gone_are_forgotten_though_nobody_asks(kept: Kept) -> None:
    """Each reload brings new ones: after years of them the next one's bans are taken as the first one's were."""
    for process in range(MOST_PROCESSES + 10):
        kept.office.told(Report(process))
        if process % 100 == 0:
            kept.pass_seconds(SILENT_SECONDS)
    kept.pass_seconds(SILENT_SECONDS)
    kept.office.told(Report(MOST_PROCESSES + 10, measures=(ban("192.0.2.7"),)))
    assert [one["key"] for one in kept.office.bans()] == ["192.0.2.7"]
    kept.office.stop()


def test_processes_that_begin_together_are_told_together_what_stands(kept: Kept) -> None:
    """Not all of it again for each one, to all of them."""
    kept.office.told(Report(1, measures=(ban("192.0.2.7"), ban("192.0.2.8"))))
    kept.clock.advance(NEWCOMERS_SECONDS)
    kept.orders.clear()
    for process in range(2, 66):
        kept.office.told(Report(process))
    kept.clock.advance(NEWCOMERS_SECONDS)
    assert [[one.key for one in orders.measures] for orders in kept.orders] == [["192.0.2.7", "192.0.2.8"]]
    kept.office.stop()
    assert not kept.clock.getDelayedCalls()


def test_who_is_sent_away_is_listed_until_it_is_let_off(kept: Kept) -> None:
    """At once, not with the next report."""
    away = evolve(ban("192.0.2.7"), hardness=Hardness.CLOSE)
    kept.office.told(Report(1, held=(away, evolve(away, key="192.0.3.7")), held_total=2))
    assert [one["key"] for one in kept.office.status()["standing"]] == ["192.0.2.7", "192.0.3.7"]
    kept.orders.clear()
    assert kept.office.lift("192.0.2.0/24") == ["192.0.2.7"]
    assert kept.orders == [Orders(lifted=("192.0.2.7", "192.0.2.0/24"))]
    assert [one["key"] for one in kept.office.status()["standing"]] == ["192.0.3.7"]
    assert kept.office.lift("192.0.2.7") == []
    kept.office.stop()
