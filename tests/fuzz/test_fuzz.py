"""The fuzzer in bounds: the same streams at every run, and all that it must reach to be worth its time.

`python -m tests.fuzz` goes on where this ends.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from . import found
from .__main__ import Tally
from .arena import Seat
from .judged import Filter, Forwarder
from .oracle import Promise
from .runs import case_of, run, servers

SEEDS = 10_000
NAMES = sorted(servers())


@cache
def fuzzed() -> Tally:
    """Run the seeds, once for all tests."""
    tally = Tally()
    for seed in range(SEEDS):
        case = case_of(seed, NAMES)
        tally.note(seed, case, run(case))
    return tally


def test_no_stream_makes_the_guard_break_a_promise() -> None:
    """Each seed has a stream, a server, a side and a cut of its own; the message has the seeds."""
    assert not fuzzed().findings


@pytest.mark.parametrize(
    ("what", "least"),
    [
        ("valid", 0.2),
        ("inside", 0.2),
        ("reached DATA", 0.2),
        ("accepted a message", 0.15),
        ("reached AUTH", 0.02),
        ("sent BDAT", 0.05),
        ("had a command refused", 0.5),
        ("closed by the guard", 0.3),
    ],
)
def test_the_streams_get_as_far_as_they_are_meant_to(what: str, least: float) -> None:
    """A fuzzer whose streams are all turned away at once proves nothing."""
    assert fuzzed().counts[what] / SEEDS > least


def test_most_sessions_come_to_an_end_without_a_time_out() -> None:
    """A server that falls silent is a fault of its model or of the guard."""
    assert fuzzed().counts["delayed or hung"] / SEEDS < 0.01


def test_every_server_has_its_share() -> None:
    assert min(fuzzed().per_server[name] for name in NAMES) > SEEDS / len(NAMES) * 0.9


GUARDS = {"forwarder": Forwarder, "filter": Filter}


@cache
def seen_through(guard: str, name: str, seeds: int) -> dict[Promise, tuple[int, str]]:
    """Return the first seed for each promise that a stand-in breaks in front of a server."""
    first: dict[Promise, tuple[int, str]] = {}
    for seed in range(seeds):
        for violation in run(case_of(seed, [name]), GUARDS[guard]).violations:
            first.setdefault(violation.promise, (seed, violation.what))
    return first


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("guard", GUARDS)
def test_the_oracle_sees_what_a_guard_that_is_none_lets_through(guard: str, name: str) -> None:
    """Behind each server for reasons of its own, and at every run for the same."""
    first = seen_through(guard, name, 150)
    assert Promise.ONE_REPLY_EACH in first or Promise.NO_REFUSED_VERB in first
    assert first == seen_through.__wrapped__(guard, name, 150)


def test_refused_verbs_run_behind_a_forwarder_always_and_behind_a_filter_nearly_always() -> None:
    """Where the server is strict enough, looking at how lines start is a filter indeed."""
    for guard, least in (("forwarder", len(NAMES)), ("filter", len(NAMES) * 3 // 4)):
        assert sum(Promise.NO_REFUSED_VERB in seen_through(guard, name, 150) for name in NAMES) >= least


def test_a_filter_breaks_every_promise_but_two() -> None:
    """It raises nothing, and clients that conform get through it."""
    seen = Counter(promise for name in NAMES for promise in seen_through("filter", name, 150))
    assert set(seen) == set(Promise) - {Promise.SOUND, Promise.VALID_PASSES}
    assert all(count >= 4 for count in seen.values())


class Faulty(Seat):
    """The guard with one fault."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0


class LosesAReply(Faulty):
    def take_client(self) -> bytes:
        self.count += 1
        octets = super().take_client()
        return b"" if self.count == 3 else octets


class SwapsReplies(Faulty):
    held = b""

    def take_client(self) -> bytes:
        octets = super().take_client()
        if octets.startswith(b"250 ") and not self.held:
            self.held = octets
            return b""
        octets, self.held = octets + self.held, b""
        return octets


class ChangesContent(Faulty):
    def take_backend(self) -> bytes:
        return super().take_backend().replace(b"Subject: ", b"Subject:  ")


class PassesHalfALine(Faulty):
    def client_finished(self) -> None:
        self.to_backend += b"VRFY root"
        super().client_finished()


class GreetsTwice(Faulty):
    def backend(self, octets: bytes) -> None:
        super().backend(octets)
        if octets.startswith(b"220"):
            self.to_client += octets


class Raises(Faulty):
    def client(self, octets: bytes) -> None:
        super().client(octets)
        if b"DATA" in octets:
            raise KeyError("DATA")


class SpeaksBehindAClose(Faulty):
    def client(self, octets: bytes) -> None:
        assert self.closed is None, "it was closed"
        super().client(octets)


class TurnsMailAway(Faulty):
    def client(self, octets: bytes) -> None:
        super().client(octets.replace(b"BODY=8BITMIME", b"BODY\t8BITMIME"))


@pytest.mark.parametrize(
    ("guard", "promise"),
    [
        (LosesAReply, Promise.ONE_REPLY_EACH),
        (SwapsReplies, Promise.ONE_REPLY_EACH),
        (GreetsTwice, Promise.ONE_REPLY_EACH),
        (ChangesContent, Promise.MESSAGES),
        (PassesHalfALine, Promise.OCTETS),
        (Raises, Promise.SOUND),
        (SpeaksBehindAClose, Promise.SOUND),
        (TurnsMailAway, Promise.VALID_PASSES),
    ],
)
def test_the_oracle_sees_one_fault_in_the_guard(guard: type[Faulty], promise: Promise) -> None:
    broken = {violation.promise for seed in range(120) for violation in run(case_of(seed, ["plain"]), guard).violations}
    assert promise in broken


@pytest.mark.parametrize("path", found.paths(), ids=lambda path: path.stem)
def test_what_was_found_once_holds(path: Path) -> None:
    """Each was broken by the guard once, or by a stand-in."""
    assert not run(found.load(path)).violations
