"""Time-outs of many on one timer."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from smtpguard.net.deadlines import NEVER, Deadlines


class Waiting:
    """Somebody who waits."""

    def __init__(self, deadlines: Deadlines) -> None:
        self.deadline = NEVER
        self.rang: list[float] = []
        self._deadlines = deadlines

    def ring(self) -> None:
        self.rang.append(self._deadlines.now())
        self.deadline = NEVER


def passed(clock: Clock, seconds: float, step: float = 0.05) -> None:
    """Let time pass as an event loop does, bit by bit."""
    clock.pump([step] * round(seconds / step))


def test_a_deadline_is_never_early_and_little_late() -> None:
    """Whenever between two looks it was set."""
    clock = Clock()
    deadlines = Deadlines(clock, shortest=2.0)
    always = Waiting(deadlines)
    deadlines.add(always)
    for offset in range(10):
        passed(clock, 0.05 * offset)
        one = Waiting(deadlines)
        deadlines.add(one)
        began = clock.seconds()
        one.deadline = deadlines.in_seconds(2.0)
        passed(clock, 3)
        (rang,) = one.rang
        assert 2.0 <= rang - began + 1e-6 <= 2.0 + 2 * deadlines.tick + 0.1
        deadlines.discard(one)
    assert always.rang == []


def test_who_was_let_go_is_not_told() -> None:
    """Not even by who rings in the same moment."""
    clock = Clock()
    deadlines = Deadlines(clock, shortest=2.0)
    one, other = Waiting(deadlines), Waiting(deadlines)
    for each in (one, other):
        deadlines.add(each)
        each.deadline = deadlines.in_seconds(2.0)
    ring = one.ring

    def ring_and_let_go() -> None:
        ring()
        deadlines.discard(other)

    one.ring = ring_and_let_go  # type: ignore[method-assign]
    passed(clock, 3)
    assert (len(one.rang), other.rang) == (1, [])


def test_a_fault_of_one_does_not_end_the_time_outs_of_others() -> None:
    """It is logged, and that is all."""
    clock = Clock()
    deadlines = Deadlines(clock, shortest=2.0)
    faulty, other = Waiting(deadlines), Waiting(deadlines)
    for each, seconds in ((faulty, 1.0), (other, 2.0)):
        deadlines.add(each)
        each.deadline = deadlines.in_seconds(seconds)

    def fail() -> None:
        faulty.deadline = NEVER
        raise ValueError("a fault of ours")

    faulty.ring = fail  # type: ignore[method-assign]
    seen: Any = [].append
    globalLogPublisher.addObserver(seen)
    passed(clock, 3)
    globalLogPublisher.removeObserver(seen)
    assert len(other.rang) == 1


def test_without_anybody_there_is_no_timer() -> None:
    """A guard without clients sleeps."""
    clock = Clock()
    deadlines = Deadlines(clock)
    one = Waiting(deadlines)
    deadlines.add(one)
    assert len(clock.getDelayedCalls()) == 1
    deadlines.discard(one)
    deadlines.discard(one)
    passed(clock, 2)
    assert clock.getDelayedCalls() == []
    deadlines.add(one)
    one.deadline = deadlines.in_seconds(1)
    passed(clock, 3)
    assert len(one.rang) == 1
