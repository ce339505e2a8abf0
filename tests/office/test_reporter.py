"""Reports: when they are made, and that nothing is lost on the way."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from twisted.internet.task import Clock

from smtpguard.ledger.deeds import Deed, Kind
from smtpguard.ledger.measures import Hardness, Measure
from smtpguard.ledger.reports import DEEDS_A_REPORT, REPORT_SECONDS, Orders, Report
from smtpguard.office.reporter import DEEDS_HELD, ROOM, Reporter
from smtpguard.sessions.session import Session

BAN = Measure(Hardness.BAN, "192.0.2.7", 99.0, "scanners", 1.0)


class Nobody:
    """Serves nobody."""

    def __init__(self) -> None:
        """Not shut."""
        self.sessions: set[Session] = set()
        self.closed_because: str | None = None
        self.fits: int | None = None


class Office:
    """Takes reports, as long as there is room."""

    def __init__(self) -> None:
        """There is room."""
        self.clock = Clock()
        self.room = True
        self.longest = 1 << 20
        self.reports: list[Report] = []
        self.counted: dict[str, float] = {}
        self.backends: list[dict[str, Any]] = []
        self.reporter = Reporter(
            self.clock, Nobody(), self.take, lambda: self.backends, lambda: "serve", self.tell, lambda: 7, dict
        )

    def take(self) -> dict[str, float]:
        """Return what was counted since."""
        counted, self.counted = self.counted, {}
        return counted

    def tell(self, report: Report) -> bool:
        """Take a report."""
        taken = self.room and len(report.to_json()) <= self.longest
        if taken:
            self.reports.append(report)
        return taken


def deed(number: int) -> Deed:
    """Return one of many."""
    return Deed(Kind.PROBE, "192.0.2.7", float(number))


def test_a_process_reports_each_second_whether_it_has_anything_to_tell_or_not() -> None:
    """So that the office knows who lives."""
    office = Office()
    office.reporter.start()
    for _ in range(3):
        office.clock.advance(REPORT_SECONDS)
    assert [report.counts for report in office.reports] == [{}] * 4
    assert office.reports[0].lost == 7


def test_a_ban_is_reported_at_once() -> None:
    """The others are not to wait for a second."""
    office = Office()
    office.reporter.followed([BAN])
    assert [report.measures for report in office.reports] == [(BAN,)]


def test_what_could_not_be_told_is_told_with_the_next_report_once() -> None:
    """Counts, deeds in their order, and bans."""
    office = Office()
    office.room = False
    office.counted = {"a": 1.0}
    office.reporter.did([deed(1), deed(2)])
    office.reporter.followed([BAN])
    office.counted = {"a": 2.0, "b": 1.0}
    office.reporter.did([deed(3)])
    office.room = True
    office.reporter.report()
    office.reporter.report()
    first, second = office.reports
    assert first.counts == {"a": 3.0, "b": 1.0}
    assert [one.when for one in first.deeds] == [1.0, 2.0, 3.0]
    assert first.measures == (BAN,)
    assert (second.counts, second.deeds, second.measures) == ({}, (), ())


def test_what_led_to_bans_is_told_before_them_or_with_them() -> None:
    """Ahead of what waits, and of however many reports it takes."""
    office = Office()
    office.reporter.did(map(deed, range(1000, 1500)))
    led = [deed(number) for number in range(DEEDS_A_REPORT + 20)]
    office.reporter.followed([BAN], led)
    assert [report.measures for report in office.reports] == [(), (BAN,)]
    assert [one for report in office.reports for one in report.deeds][: len(led)] == led


def test_an_office_that_asks_is_told_once_of_all_bans_that_stand() -> None:
    """In as many reports as it takes, and again if there was no room; the next office is told anew."""
    office = Office()
    bans = [evolve(BAN, key=f"192.0.{number // 250}.{number % 250}") for number in range(ROOM + 5)]
    office.reporter.start()
    office.room = False
    office.reporter.asked(7, lambda: bans)
    office.clock.advance(REPORT_SECONDS)
    office.room = True
    for _ in range(5):
        office.reporter.asked(7, lambda: bans)
        office.clock.advance(REPORT_SECONDS)
    assert [one for report in office.reports for one in report.recalled] == bans
    assert not any(report.measures for report in office.reports)
    office.reporter.asked(8, lambda: bans[:1])  # at once
    assert office.reports[-1].recalled == (bans[0],)


def test_deeds_that_are_too_many_for_a_report_go_with_the_next_ones() -> None:
    """And of too many for all of them the oldest are dropped."""
    office = Office()
    office.reporter.did(map(deed, range(DEEDS_HELD + 5)))
    office.reporter.report()
    office.reporter.report()
    told = [one.when for report in office.reports for one in report.deeds]
    assert told == [float(number) for number in range(5, 5 + 2 * DEEDS_A_REPORT)]


def test_a_report_that_is_too_long_is_told_in_parts() -> None:
    """Names of rules may be long: what no message has room for is not tried for ever, and nothing is told twice."""
    office = Office()
    office.longest = 40_000
    rule = "/etc/smtpguard/" + "x" * 200
    office.counted = counted = {f"verdicts_total\t{rule}:{number}\treply": 1.0 for number in range(900)}
    office.reporter.did(map(deed, range(30)))
    bans = [evolve(BAN, key=f"192.0.2.{number}") for number in range(200)]
    office.reporter.followed(bans)
    office.reporter.start()
    for _ in range(30):
        office.clock.advance(REPORT_SECONDS)
    told: dict[str, float] = {}
    for report in office.reports:
        for name, number in report.counts.items():
            told[name] = told.get(name, 0) + number
    assert told == counted
    assert [one for report in office.reports for one in report.measures] == bans
    assert [one.when for report in office.reports for one in report.deeds] == list(map(float, range(30)))


def test_a_fault_in_one_report_ends_no_others() -> None:
    """Or the office would take the process for dead, for ever."""
    office = Office()
    office.reporter.start()
    office.backends = [{}]
    with pytest.raises(KeyError):
        office.clock.advance(REPORT_SECONDS)
    office.backends = []
    office.clock.advance(REPORT_SECONDS)
    assert len(office.reports) == 2


def test_the_last_report_is_made_at_the_end_and_none_behind_it() -> None:
    """Of what was counted last."""
    office = Office()
    office.reporter.start()
    office.counted = {"a": 1.0}
    office.reporter.stop()
    office.clock.advance(10 * REPORT_SECONDS)
    assert [report.counts for report in office.reports] == [{}, {"a": 1.0}]
    assert not office.clock.getDelayedCalls()


def test_a_report_survives_the_way_to_another_process() -> None:
    """As JSON, with everything in it."""
    report = Report(
        11,
        (deed(1),),
        {"a\tb": 1.0},
        3,
        (),
        ({"endpoint": "e"},),
        "why",
        2,
        (BAN,),
        "wait",
        {"scanners": 1},
        (evolve(BAN, hardness=Hardness.CLOSE),),
        1,
        416,
    )
    report = evolve(report, held=(evolve(BAN, key="192.0.2.8"),), held_total=1, fits=9, recalled=(BAN,))
    assert Report.from_json(report.to_json()) == report


def test_orders_that_are_too_long_for_a_message_go_in_parts() -> None:
    """A limit may have any name; nothing is left out, and the order stays."""
    bans = tuple(evolve(BAN, key=f"192.0.2.{number}", limit="\u00e9" * 200) for number in range(200))
    keys = tuple(f"198.51.100.{number}" for number in range(7))
    parts = list(Orders(bans, keys).forms(65536))
    assert max(map(len, parts)) <= 65536
    read = [Orders.from_json(one) for one in parts]
    assert tuple(measure for orders in read for measure in orders.measures) == bans
    assert tuple(key for orders in read for key in orders.lifted) == keys
    assert list(Orders(bans[:1], keys).forms(65536)) == [Orders(bans[:1], keys).to_json()]
    read = [Orders.from_json(one) for one in Orders(bans, (), 7, True).forms(65536)]
    assert [one.asked_by for one in read] == [7] + [0] * (len(read) - 1)
    assert [one.complete for one in read] == [False] * (len(read) - 1) + [True]
