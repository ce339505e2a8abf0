"""The status document as it is put together from what processes report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from attrs import evolve

from smtpguard.ledger.measures import Hardness, Measure
from smtpguard.ledger.reports import LiveSession, Report
from smtpguard.lifecycle.configuration import read
from smtpguard.lifecycle.reloading import LastReload
from smtpguard.office import status
from smtpguard.office.facts import KEEPING, Facts, ListenerFacts, PolicyFacts, ProcessFacts, ReloadFacts, facts_of
from smtpguard.workers.channel import LONGEST

POLICY = PolicyFacts("/etc/smtpguard/policy.yaml", "0123abcd", 1.0, 3, 2)
TWO = (ProcessFacts("worker 1", 11, 1.0, "serving"), ProcessFacts("worker 2", 12, 1.0, "starting"))


def backend(state: str, since: float, sessions: int = 0, failures: int = 0) -> dict[str, object]:
    """Return what a process says of one."""
    return {"endpoint": "tcp:a:25", "state": state, "since": since, "sessions": sessions, "failures": failures}


def live(name: str, seconds: float) -> LiveSession:
    """Return a session."""
    return LiveSession(name, "192.0.2.7", "smtp", seconds, "command")


def test_facts_survive_the_way_to_another_process() -> None:
    """As JSON, with a reload that was refused."""
    refused = ReloadFacts(2.0, False, ("policy.yaml:1:1: \u20ac",), ("listen: at the next start",))
    facts = Facts(POLICY, refused, (ListenerFacts("smtp", "tcp:25", "0.0.0.0:25"),), TWO, True, 3.0, 4)
    assert Facts.from_json(facts.to_json()) == facts


def test_facts_are_never_too_long_for_a_message(tmp_path: Path) -> None:
    """However many workers there are, and whatever a reload was refused for."""
    (tmp_path / "policy.yaml").write_text("rulesets: {}\n", "ascii")
    flags = {"listen": ["tcp:25"], "backend": "tcp:127.0.0.1:2525", "policy": str(tmp_path / "policy.yaml")}
    configuration = read(None, flags)
    refused = LastReload(False, ("policy.yaml:1:1: not " + "x" * 100_000,) * 30)
    since = 1_796_000_000.123456
    many = [ProcessFacts(f"worker {one % 256}", 4_000_000 + one, since, "retiring") for one in range(1500)]
    facts = facts_of(configuration, refused, ["0.0.0.0:25"], many, 1.0, 4)
    assert len(facts.to_json()) <= LONGEST
    assert facts.reload is not None
    assert facts.reload.faults[0].startswith("policy.yaml:1:1: not xxx")


class _Noting(dict[str, Any]):
    """Flags that note when they were asked."""

    asked = 0.0

    def get(self, *key: Any) -> Any:
        self.asked = time.time()
        return super().get(*key)


def test_what_is_changed_while_it_is_read_is_newer_than_what_was_loaded(tmp_path: Path) -> None:
    """By the time that the status has, who changed it then is told that it may not be in use."""
    (tmp_path / "policy.yaml").write_text("rulesets: {}\n", "ascii")
    flags = _Noting(listen=["tcp:25"], backend="tcp:127.0.0.1:2525", policy=str(tmp_path / "policy.yaml"))
    assert 0 < read(None, flags).loaded_at <= flags.asked


def test_a_service_is_ready_as_soon_as_one_process_serves() -> None:
    """And says why it is not, if none does."""
    facts = Facts(POLICY)
    shut = Report(11, closed_because="relay check without an answer yet")
    assert status.readiness(facts, {}) == (False, "no process has reported that it serves")
    assert status.readiness(facts, {11: shut}) == (False, "relay check without an answer yet")
    assert status.readiness(facts, {11: shut, 12: Report(12)}) == (True, "")
    assert status.readiness(Facts(POLICY, stopping=True), {12: Report(12)}) == (False, "stopping")


def test_a_backend_is_as_bad_as_the_process_that_sees_it_worst() -> None:
    """Sessions and failures are added up."""
    reports = {
        11: Report(11, backends=(backend("up", 5.0, 3, 1),)),
        12: Report(12, backends=(backend("down", 9.0, 1, 4),)),
    }
    (one,) = status.backends(reports)
    assert (one["state"], one["since"], one["sessions"], one["failures"]) == ("down", 9.0, 4, 5)
    assert status.backends(dict(reversed(reports.items()))) == [one]


def test_a_backend_that_all_see_alike_is_so_since_the_first_saw_it() -> None:
    """Of two that are down, the earlier moment counts."""
    reports = {11: Report(11, backends=(backend("down", 9.0),)), 12: Report(12, backends=(backend("down", 5.0),))}
    assert status.backends(reports)[0]["since"] == 5.0


def test_the_longest_sessions_of_all_processes_come_first() -> None:
    """Whoever reports them."""
    reports = {
        11: Report(11, sessions=2, live=(live("a", 1.0), live("b", 7.0))),
        12: Report(12, sessions=1, live=(live("c", 3.0),)),
    }
    told = status.sessions(reports, 10, 99, {"limit": 1})
    assert (told["now"], told["limit"], told["total"], told["turned_away"]) == (3, 10, 99, {"limit": 1})
    assert [one["id"] for one in told["live"]] == ["b", "c", "a"]


def test_the_limit_of_sessions_is_what_there_are_descriptors_for() -> None:
    """In all processes together, and no more than the settings say."""

    def told(*fits: int | None) -> tuple[int, int]:
        reports = {number: Report(number, fits=one) for number, one in enumerate(fits)}
        sessions = status.sessions(reports, 2000, 0, {})
        return sessions["limit"], sessions["configured"]

    assert told(416) == (416, 2000)
    assert told(416, 416) == (832, 2000)
    assert told(1500, 1500) == told(None) == told(416, None) == told() == (2000, 2000)


def test_who_is_slowed_or_sent_away_is_told_once_and_the_hardest_first() -> None:
    """Whoever of the processes has decided what."""
    close = Measure(Hardness.CLOSE, "192.0.2.7", 90.0, "guessers", 1.0, count=41)
    delay = Measure(Hardness.DELAY, "192.0.2.8", 80.0, "scanners", 5.0, 2.5, 21)
    weaker = Measure(Hardness.DELAY, "192.0.2.7", 99.0, "scanners", 2.0, 2.5, 21)
    reports = {11: Report(11, held=(close, delay), held_total=2), 12: Report(12, held=(weaker,), held_total=1)}
    told = status.standing(reports)
    row = {"key": "192.0.2.7", "until": 90.0, "since": 1.0, "limit": "guessers", "count": 41}
    assert told["standing"][0] == {**row, "step": "close", "seconds": 0.0}
    assert [one["key"] for one in told["standing"]] == ["192.0.2.7", "192.0.2.8"]
    assert told["standing_total"] == 2
    many = tuple(evolve(close, key=f"192.0.2.{number}") for number in range(100))
    more = tuple(evolve(close, key=f"192.0.3.{number}") for number in range(100))
    told = status.standing({11: Report(11, held=many, held_total=300), 12: Report(12, held=more, held_total=100)})
    assert (len(told["standing"]), told["standing_total"]) == (100, 300)


def test_the_clerk_is_told_behind_all_who_serve(tmp_path: Path) -> None:
    """However many they are: whoever looks for the one that is missing finds it."""
    (tmp_path / "policy.yaml").write_text("rulesets: {}\n", "ascii")
    flags = {"listen": ["tcp:25"], "backend": "tcp:127.0.0.1:2525", "policy": str(tmp_path / "policy.yaml")}
    clerk = ProcessFacts("clerk", 10, 1.0, KEEPING)
    facts = facts_of(read(None, flags), None, [], TWO * 500, 1.0, 4, False, clerk)
    assert facts.processes[-1] == clerk
    assert status.processes(facts, {})[-1]["state"] == "keeping the books"


def test_a_process_that_has_not_reported_has_no_number_of_sessions() -> None:
    """Rather than none."""
    rows = status.processes(Facts(POLICY, processes=TWO), {11: Report(11, sessions=5)})
    assert [(row["name"], row["sessions"]) for row in rows] == [("worker 1", 5), ("worker 2", None)]


def test_the_relay_check_is_what_the_worst_process_found() -> None:
    """With its reason."""
    reports = {11: Report(11), 12: Report(12, relay_check="wait", closed_because="no answer yet")}
    assert status.relay_check(reports) == {"standing": "wait", "because": "no answer yet"}
    assert status.relay_check({}) == {"standing": "serve", "because": ""}
