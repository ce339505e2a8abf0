"""The gate of one process, with time as an argument: what it lets in, what it says, and what it forgets."""

from __future__ import annotations

from typing import Any

import pytest

from smtpguard.ledger.deeds import Kind
from smtpguard.ledger.gate import Gate
from smtpguard.ledger.measures import Measure
from smtpguard.ledger.steps import LINES, Said
from smtpguard.policy.limits import Hardness
from smtpguard.policy.networks import UNIX_PEER, Peer

from .support import policy

CLIENT = Peer.parse("203.0.113.9")
LADDER = (
    "limits: {scanners: {count: probes, rate: 2/minute, then: [{delay: 5}, {over: 4, close: true}, "
    "{over: 6, ban: 1 hour}]}}"
)


class Station:
    """A gate, its log and its clock."""

    def __init__(self, limits: str = LADDER, at_once: int = 1) -> None:
        self.log: list[str] = []
        self.told: list[tuple[str, dict[str, Any] | None]] = []
        """The event of each line, and its fields."""
        self.crossed: list[tuple[str, str]] = []
        self.now = 1_000_000.0
        self.at_once = at_once
        self.gate = Gate(policy(limits), self.say, lambda _peer, _by: self.at_once)
        self.gate.crossed = lambda limit, step: self.crossed.append((limit, step))

    def say(self, text: str, _priority: int, event: str = "service", fields: dict[str, Any] | None = None, /) -> None:
        """Write a line."""
        self.log.append(text)
        self.told.append((event, fields))

    def probe(self, times: int = 1, peer: Peer = CLIENT) -> list[Measure]:
        """A client probes."""
        return self.gate.did(Kind.PROBE, peer, times, self.now)

    def enters(self, peer: Peer = CLIENT) -> Measure | None:
        """A client comes."""
        return self.gate.enters(peer, self.now)[0]

    def stands(self, peer: Peer = CLIENT) -> Hardness | None:
        """Return the hardest that stands."""
        measure = self.gate.against(peer, self.now)
        return None if measure is None else measure.hardness

    def pass_time(self, seconds: float) -> list[Measure]:
        """Let time pass, second by second; return what has ended."""
        ended = []
        for _ in range(int(seconds)):
            self.now += 1
            ended += self.gate.tick(self.now)
        return ended


def test_each_step_is_taken_at_its_count_and_told_once() -> None:
    """Over 2, over 4, over 6; what was told is not told again while it stands."""
    station = Station()
    steps = [[one.hardness for one in station.probe()] for _ in range(8)]
    assert steps == [[], [], [Hardness.DELAY], [], [Hardness.CLOSE], [], [Hardness.BAN], []]
    assert station.crossed == [("scanners", "delay"), ("scanners", "close"), ("scanners", "ban")]
    assert station.log == [
        "limit scanners: 203.0.113.9: 3 probes in 1 minute, each command waits 5 seconds",
        "limit scanners: 203.0.113.9: 5 probes in 1 minute, sent away for 1 minute",
        "limit scanners: 203.0.113.9: 7 probes in 1 minute, banned for 1 hour",
    ]


def test_a_step_is_told_in_fields_too() -> None:
    """When it begins, and when it ends."""
    station = Station()
    station.probe(7)
    client = {"client": "203.0.113.9", "limit": "scanners"}
    begun = {"count": 7, "what": "probes", "until": "1970-01-12T14:46:40.000+00:00"}
    assert station.told == [("limit", {**client, "state": "begun", "step": "ban", **begun})]
    station.enters()
    station.pass_time(3600)
    assert station.told[1:] == [("limit", {**client, "state": "ended", "step": "ban", "turned_away": 1})]


def test_a_crowd_is_told_in_fields_too() -> None:
    """It stands for no time."""
    station = Station("limits: {crowd: {count: parallel, most: 20, then: close}}", at_once=21)
    assert all(station.enters() is not None for _ in range(3))
    station.at_once = 20
    station.pass_time(60)
    client = {"client": "203.0.113.9", "limit": "crowd"}
    assert station.told == [
        ("limit", {**client, "state": "begun", "step": "close", "count": 21, "what": "parallel", "until": None}),
        ("limit", {**client, "state": "goes on", "step": "close", "turned_away": 2}),
    ]


def test_who_is_delayed_may_enter_and_who_is_sent_away_may_not() -> None:
    """Until the window is over."""
    station = Station()
    station.probe(3)
    assert station.stands() is Hardness.DELAY
    assert station.enters() is None
    station.probe(2)
    assert station.enters() is not None
    station.pass_time(60)
    assert station.enters() is None


def test_a_measure_lasts_as_long_as_it_is_deserved() -> None:
    """What is done while it stands makes it last from then on."""
    station = Station()
    station.probe(3)
    station.pass_time(50)
    station.probe()
    station.pass_time(50)
    assert station.stands() is Hardness.DELAY
    station.pass_time(15)
    assert station.stands() is None


def test_a_ban_outlasts_the_window_and_says_at_its_end_what_it_cost() -> None:
    """One line for a thousand connections."""
    station = Station()
    station.probe(7)
    station.log.clear()
    assert all(station.enters() is not None for _ in range(1000))
    station.pass_time(3599)
    assert station.enters() is not None
    assert station.log == []
    station.pass_time(1)
    assert station.log == ["limit scanners: 203.0.113.9: ban over; 1001 connections were turned away"]
    assert station.enters() is None


HAMMERED = "limits: {scanners: {count: probes, rate: 8/hour, then: [{over: 8, close: true}, {over: 12, ban: 1 day}]}}"


def comes(station: Station, times: int) -> list[Hardness | None]:
    """Have a client come so often; return what keeps it out."""
    found = [station.enters() for _ in range(times)]
    return [None if measure is None else measure.hardness for measure in found]


def test_who_keeps_hammering_at_a_close_comes_to_the_ban_behind_it() -> None:
    """Each connection counts one; it is said once, and how many were turned away at the end of all."""
    station = Station(HAMMERED)
    station.probe(9)
    assert comes(station, 6) == [Hardness.CLOSE] * 3 + [Hardness.BAN] * 3
    assert station.crossed == [("scanners", "close"), ("scanners", "ban")]
    assert station.log == [
        "limit scanners: 203.0.113.9: 9 probes in 1 hour, sent away for 1 hour",
        "limit scanners: 203.0.113.9: 13 in all with 4 connections turned away, banned for 1 day",
    ]
    del station.log[:]
    station.pass_time(3601)  # the time of the `close` is over
    assert station.stands() is Hardness.BAN
    assert station.log == []
    station.now += 86400
    station.gate.tick(station.now)
    assert station.log == ["limit scanners: 203.0.113.9: ban over; 6 connections were turned away"]


def test_a_mail_program_that_tries_again_every_few_minutes_is_let_in_when_the_close_is_over() -> None:
    """It is never banned for trying, and what it tried makes the `close` no longer."""
    station = Station(HAMMERED)
    station.probe(9)
    tries = 0
    while station.enters() is not None:
        assert station.stands() is Hardness.CLOSE
        station.now += 120
        station.gate.tick(station.now)
        tries += 1
    assert tries == 30
    assert len(station.log) == 2


def test_connections_that_are_turned_away_count_within_the_time_of_the_limit_and_not_behind_a_lift() -> None:
    """The window slides over them as over all else."""
    station = Station(HAMMERED)
    station.probe(9)
    assert comes(station, 3) == [Hardness.CLOSE] * 3
    station.gate.lift("203.0.113.9", station.now)
    station.probe(9)
    assert comes(station, 3) == [Hardness.CLOSE] * 3
    station.pass_time(7300)
    station.probe(9)
    assert comes(station, 4) == [Hardness.CLOSE] * 3 + [Hardness.BAN]


def test_too_many_at_once_are_said_once_a_minute() -> None:
    """And then how many more there were."""
    station = Station("limits: {crowd: {count: parallel, most: 20, then: close}}", at_once=21)
    assert all(station.enters() is not None for _ in range(500))
    assert station.log == ["limit crowd: 203.0.113.9: 21 connections at once, no more are let in"]
    assert station.stands() is None
    station.at_once = 20
    assert station.enters() is None
    station.pass_time(60)
    assert station.log[1:] == ["limit crowd: 203.0.113.9: 499 more connections were turned away in 1 minute"]


def test_a_crowd_may_be_banned() -> None:
    """By a further step."""
    station = Station("limits: {crowd: {count: parallel, most: 2, then: [close, {over: 4, ban: 1 hour}]}}", at_once=4)
    assert station.enters() is not None
    assert station.stands() is None
    station.at_once = 5
    assert station.enters() is not None
    assert station.stands() is Hardness.BAN


def test_an_attack_from_many_addresses_does_not_fill_the_log() -> None:
    """So many lines a minute, and how many were left out."""
    station = Station()
    for number in range(1000):
        station.probe(7, Peer.parse(f"198.51.{number // 256}.{number % 256}"))
    assert len(station.log) == LINES
    station.pass_time(61)
    assert station.log[LINES] == f"limits: {1000 - LINES} more lines were left out in a minute"


def test_a_clock_that_is_set_back_does_not_silence_the_log() -> None:
    """Not until it has caught up, which may take years."""
    station = Station()
    for number in range(LINES + 5):
        station.probe(7, Peer.parse(f"198.51.100.{number}"))
    before = len(station.log)
    station.now -= 365 * 86400
    station.probe(7, Peer.parse("198.51.101.1"))
    assert any("198.51.101.1: " in line for line in station.log[before:])


def test_orders_hold_like_what_was_decided_here() -> None:
    """Also for a prefix; and what is over by now does not."""
    station = Station()
    ban = Measure(Hardness.BAN, "2001:db8:1:2::/64", station.now + 10, "other", station.now, 0.0, 9)
    late = Measure(Hardness.BAN, "203.0.113.9", station.now - 1, "other", station.now, 0.0, 9)
    assert station.gate.order([ban, late], station.now) == [ban]
    assert station.gate.order([ban], station.now) == []
    assert station.stands(Peer.parse("2001:db8:1:2::77")) is Hardness.BAN
    assert station.stands(Peer.parse("2001:db8:1:3::77")) is None
    assert station.stands() is None
    assert station.log == []


def test_a_ban_of_a_prefix_holds_under_a_policy_with_other_prefixes() -> None:
    """Nobody is let off by a reload, or since another guard says how long prefixes are."""
    station = Station()
    ban = Measure(Hardness.BAN, "2001:db8:1:2::/64", station.now + 10, "other", station.now, 0.0, 9)
    wide = Measure(Hardness.BAN, "198.51.100.0/24", station.now + 10, "other", station.now, 0.0, 9)
    everybody = Measure(Hardness.BAN, "::/0", station.now + 10, "other", station.now, 0.0, 9)
    station.gate.order([ban], station.now)
    station.gate.serve_under(policy(f"{LADDER}\nprefixes: {{ipv6: 56}}"))
    station.gate.order([wide, everybody], station.now)
    for address in ("2001:db8:1:2::77", "198.51.100.9"):
        assert station.stands(Peer.parse(address)) is Hardness.BAN
        assert station.enters(Peer.parse(address)) is not None
    for address in ("2001:db8:1:3::77", "198.51.101.9"):
        assert station.stands(Peer.parse(address)) is None


def test_who_is_exempt_does_not_pay_for_its_neighbours() -> None:
    """A mail program inside is let in though others of its prefix are banned, unless some limit holds for it, too."""
    station = Station(f"{LADDER}\nprefixes: {{ipv4: 24}}")
    neighbour, inside = Peer.parse("127.0.0.9"), Peer.parse("127.0.0.1")
    station.probe(7, neighbour)
    assert station.stands(neighbour) is Hardness.BAN
    assert station.stands(inside) is None
    assert station.enters(inside) is None
    held = f"{LADDER[:-1]}, auths: {{count: auth, rate: 9/hour, except: [], then: close}}}}\nprefixes: {{ipv4: 24}}"
    station.gate.serve_under(policy(held))
    assert station.stands(inside) is Hardness.BAN
    station.gate.serve_under(policy("prefixes: {ipv4: 24}"))
    assert station.stands(inside) is Hardness.BAN  # no limit exempts it, since there is none


def test_who_is_lifted_begins_anew() -> None:
    """Or its next probe would bring the measure back."""
    station = Station()
    for _ in range(7):
        station.probe()
    assert {one.hardness for one in station.gate.lift("203.0.113.9", station.now)} == set(Hardness)
    assert station.stands() is None
    assert station.probe(2) == []


def test_another_policy_counts_on_and_lets_go_of_what_it_does_not_know() -> None:
    """A limit that is raised has counted what it has counted; one that is gone holds nobody, but for bans."""
    station = Station()
    station.probe(3)
    station.gate.serve_under(policy("limits: {scanners: {count: probes, rate: 5/minute, then: close}}"))
    assert station.stands() is Hardness.DELAY
    assert [one.hardness for one in station.probe(3)] == [Hardness.CLOSE]
    ended = station.gate.serve_under(policy("limits: {others: {count: auth, rate: 5/minute, then: close}}"))
    assert {one.hardness for one in ended} == {Hardness.DELAY, Hardness.CLOSE}
    assert station.stands() is None


@pytest.mark.parametrize("peer", [UNIX_PEER, Peer.parse("127.0.0.1")], ids=["no address", "internal"])
def test_who_is_exempt_is_never_counted(peer: Peer) -> None:
    """Who has no address is all of its socket's clients together, so it is not held to anything."""
    station = Station(LADDER, at_once=1000)
    assert station.probe(1000, peer) == []
    assert station.enters(peer) is None
    assert station.gate.applying(peer) == ()


@pytest.mark.parametrize("counted", [1, 3, 5, 7, 50])
def test_the_room_that_is_left_is_exactly_what_leads_to_nothing(counted: int) -> None:
    """So that deeds may be counted later without missing a step."""
    station = Station("limits: {a: {count: probes, rate: 10/hour, then: [close, {over: 40, ban: 1 hour}]}}")
    station.probe(counted)
    room = station.gate.room(Kind.PROBE, CLIENT, station.now)
    if counted > 10:
        assert room == 0
    else:
        assert room == 10 - counted
        assert station.probe(room) == []
        assert station.probe(1) != []


def test_what_has_ended_is_told_so_that_sessions_are_let_off() -> None:
    """Delays too, of which the log says nothing."""
    station = Station()
    station.probe(3)
    ended: list[Any] = station.pass_time(61)
    assert [one.hardness for one in ended] == [Hardness.DELAY]
    assert len(station.log) == 1


def test_a_step_is_told_by_whoever_takes_it_first() -> None:
    """A process and the ledger may come to the same."""
    said = Said()
    measure = Measure(Hardness.CLOSE, "203.0.113.9", 100.0, "a", 0.0)
    assert said.news(measure, 1.0)
    assert not said.news(measure, 99.0)
    assert said.news(measure, 101.0)
