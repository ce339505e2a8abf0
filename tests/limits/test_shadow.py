"""Limits in shadow: counted, told, and nothing follows."""

from __future__ import annotations

import json

from smtpguard.ledger.deeds import Deed, Kind
from smtpguard.ledger.measures import Measure
from smtpguard.ledger.sharing import InOneProcess, ban_of
from smtpguard.ledger.steps import LINES
from smtpguard.ledger.telling import would_be_probe
from smtpguard.ledger.together import Told
from smtpguard.policy.limits import Hardness
from smtpguard.policy.networks import Peer
from smtpguard.smtp.effects import Judged
from smtpguard.smtp.grammar import Command
from smtpguard.smtp.replies import Reply
from smtpguard.smtp.verdict import FORWARD, Action, Verdict, beside
from tests.ledger.support import NOW, Stage

from .support import policy
from .test_gate import CLIENT, Station

STEPS = "then: [{delay: 5}, {over: 4, close: true}, {over: 6, ban: 1 hour}]"
SHADOW = f"limits: {{scanners: {{count: probes, rate: 2/minute, shadow: true, {STEPS}}}}}"
CROWD = "limits: {crowd: {count: parallel, most: 2, shadow: true, then: close}}"
BOTH = (
    f"limits: {{tried: {{count: probes, rate: 2/minute, shadow: true, {STEPS}}}, "
    f"scanners: {{count: probes, rate: 2/minute, {STEPS}}}}}"
)


def test_each_step_is_told_once_and_nothing_stands() -> None:
    """In words that no filter takes for what has happened, and under another state for programs."""
    station = Station(SHADOW)
    crossed: list[tuple[str, str]] = []
    station.gate.crossed_in_shadow = lambda limit, step: crossed.append((limit, step))
    fresh = [one for _ in range(9) for one in station.probe()]
    assert [(one.hardness, one.shadow) for one in fresh] == [
        (Hardness.DELAY, True), (Hardness.CLOSE, True), (Hardness.BAN, True),
    ]  # fmt: skip
    assert station.stands() is None
    assert station.enters() is None
    assert station.gate.standing == {}
    assert (station.crossed, crossed) == ([], [("scanners", "delay"), ("scanners", "close"), ("scanners", "ban")])
    assert station.log == [
        "limit scanners: 203.0.113.9: 3 probes in 1 minute, each command would have waited 5 seconds",
        "limit scanners: 203.0.113.9: 5 probes in 1 minute, would have been sent away for 1 minute",
        "limit scanners: 203.0.113.9: 7 probes in 1 minute, would have been banned for 1 hour",
    ]
    assert {fields["state"] for _, fields in station.told if fields} == {"in shadow"}


def test_too_many_at_once_are_let_in_and_told_now_and_then() -> None:
    """A line at first, and one a minute."""
    station = Station(CROWD, at_once=3)
    assert [station.enters() for _ in range(4)] == [None] * 4
    station.pass_time(61)
    assert station.log == [
        "limit crowd: 203.0.113.9: 3 connections at once, no more would have been let in",
        "limit crowd: 203.0.113.9: 3 more connections would have been turned away in 1 minute",
    ]


def test_a_limit_in_shadow_hides_none_that_acts() -> None:
    """Both count the same deeds of the same client."""
    station = Station(BOTH)
    for _ in range(7):
        station.probe()
    assert station.stands() is Hardness.BAN
    assert len(station.log) == 6


def test_a_limit_that_comes_into_shadow_lets_go_and_one_that_leaves_it_counts_on() -> None:
    """What was counted is not forgotten, so that a site that switches over does not begin anew."""
    station = Station(SHADOW)
    for _ in range(5):
        station.probe()
    station.gate.serve_under(policy(SHADOW.replace("shadow: true, ", "")))
    assert station.stands() is None
    station.probe()
    assert station.stands() is Hardness.CLOSE
    ended = station.gate.serve_under(policy(SHADOW))
    assert [one.limit for one in ended] == ["scanners"]
    assert station.stands() is None


def test_what_only_a_rule_in_shadow_refuses_is_counted_by_limits_in_shadow_alone() -> None:
    """So that the two together tell what would be, and neither acts."""
    station = Station(BOTH)
    for _ in range(3):
        station.gate.did(Kind.PROBE, CLIENT, 1, station.now, shadow=True)
    assert [line.partition(":")[0] for line in station.log] == ["limit tried"]
    assert station.stands() is None
    for _ in range(2):
        station.probe()
    assert station.stands() is None


def test_what_is_counted_for_all_processes_keeps_both_apart() -> None:
    """The one of a shadow is told as such, and does not stand for the other."""
    rules = policy(BOTH)
    partner = InOneProcess(lambda: rules, lambda: NOW)
    told = Told([Deed(Kind.PROBE, CLIENT.text, NOW, times=9)])
    found = partner.exchange(told, NOW).measures
    assert [(one.limit, one.hardness, one.shadow) for one in found] == [
        ("tried", Hardness.BAN, True), ("scanners", Hardness.BAN, False),
    ]  # fmt: skip
    assert partner.exchange(Told([Deed(Kind.PROBE, CLIENT.text, NOW)]), NOW).measures == []


def test_no_ban_of_a_shadow_is_believed_from_redis() -> None:
    """Whoever has put it there."""
    ban = Measure(Hardness.BAN, "192.0.2.7", NOW + 60, "scanners", NOW, 0.0, 9)
    assert ban_of(json.dumps(ban.as_row()).encode(), ban.key, NOW) == ban
    assert ban_of(json.dumps([*ban.as_row(), True]).encode(), ban.key, NOW) is None


def test_the_ledger_tells_bans_nobody_of_what_only_would_be() -> None:
    """Neither a ban nor an incident; it is in the report."""
    stage = Stage()
    would = Measure(Hardness.BAN, "192.0.2.7", NOW + 3600, "scanners", NOW, 0.0, 21, True)
    stage.did(measures=(would,))
    assert (stage.ledger.bans(), stage.orders, stage.ledger.incidents()) == ([], [], [])
    (row,) = stage.ledger.shadow()
    assert (row.rule, row.verb, row.would, row.source) == ("limit scanners", "", "ban", "192.0.2.7")


def test_a_gate_that_is_ordered_a_shadow_does_nothing() -> None:
    """It comes from a process that knows another policy."""
    station = Station("limits: {}")
    would = Measure(Hardness.BAN, CLIENT.text, station.now + 3600, "scanners", station.now, 0.0, 21, True)
    assert station.gate.order([would], station.now) == []
    assert station.stands(Peer.parse("203.0.113.9")) is None


def test_what_only_would_follow_leaves_no_line_of_what_does_out_of_the_log() -> None:
    """Each has as many lines a minute; fail2ban reads those of what acts."""
    station = Station(BOTH)
    for number in range(2 * LINES):
        station.gate.did(Kind.PROBE, Peer.parse(f"198.51.100.{number}"), 9, station.now, shadow=True)
    assert len(station.log) == LINES
    for _ in range(7):
        station.probe()
    assert station.stands() is Hardness.BAN
    assert [line for line in station.log if line.startswith("limit scanners: ") and "banned for" in line]


def test_what_would_only_have_waited_is_no_probe() -> None:
    """Nor is it one in earnest."""
    command = Command(b"NOOP\r\n", b"NOOP", None)
    waits, refuses = Verdict(Action.FORWARD, delay=2), Verdict(Action.REPLY, Reply.parse("550 no"))
    assert not would_be_probe(Judged(command, beside(FORWARD, waits)))
    assert would_be_probe(Judged(command, beside(FORWARD, refuses)))
    assert not would_be_probe(Judged(command, refuses))
