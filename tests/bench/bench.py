"""One run of the benchmark: what is asked for, and what was measured.

Contract: every figure measures its systems in rounds, each round all of them, in an order that is rotated
from round to round, so that what else the machine does hits them alike and nobody is always first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from time import perf_counter
from typing import Final

from attrs import Factory, define, frozen

from tests.rig.wait import wait_until

from .kernel import Used
from .places import GuardOptions, Place, System, sink
from .running import BenchError, Running
from .systems import DIRECT, PROXIES

Send = Callable[[int, int], float]
"""Send so many messages to a port; return the seconds it took."""
Rounds = dict[str, dict[str, list[float]]]
"""By system and metric, one number a round."""


@frozen
class Counts:
    """How much is measured; `QUICK` shows that everything runs and says nothing of speed."""

    rounds: int = 5
    sessions: int = 5000
    kept: int = 20000
    large: int = 400
    warm: int = 300
    idle: int = 4000
    trips: int = 20000
    flood_seconds: float = 3.0
    networks: int = 100_000
    rules: int = 200


QUICK: Final = Counts(
    rounds=1,
    sessions=60,
    kept=200,
    large=4,
    warm=20,
    idle=40,
    trips=200,
    flood_seconds=0.3,
    networks=2000,
    rules=20,
)


@define
class Bench:
    """The settings of a run, and its results as they come."""

    systems: tuple[str, ...] = (DIRECT, *PROXIES)
    counts: Counts = Counts()
    guard: GuardOptions = Factory(GuardOptions)
    say: Callable[[str], None] = lambda line: None
    figures: dict[str, Rounds] = Factory(dict)
    faults: dict[str, str] = Factory(dict)
    """Figures that were not measured to their end, and why."""
    absent: dict[str, str] = Factory(dict)
    """Systems that cannot run here, and why."""

    def proxies(self) -> list[System]:
        """Return the systems asked for that can run here; BenchError if one cannot whose absence is not excused."""
        found = []
        for name in self.systems:
            if name == DIRECT:
                continue
            reason = self.absent.get(name) or PROXIES[name].why_not(self.guard)
            if reason and not PROXIES[name].optional:
                raise BenchError(f"{name}: {reason}")
            if reason:
                self.absent[name] = reason
            else:
                found.append(PROXIES[name])
        return found

    def add(self, figure: str, system: str, **numbers: float) -> None:
        """Note one round of one system."""
        metrics = self.figures.setdefault(figure, {}).setdefault(system, {})
        for metric, number in numbers.items():
            metrics.setdefault(metric, []).append(number)
        told = ", ".join(f"{metric.replace('_', ' ')} {number:,.1f}" for metric, number in numbers.items())
        self.say(f"{figure:10} {system:12} {told}")

    def rotated(self, names: Sequence[str], most: int | None = None) -> Iterator[str]:
        """Yield the names for every round (at most so many), each round beginning one further."""
        for turn in range(min(self.counts.rounds, most or self.counts.rounds)):
            at = turn % len(names)
            yield from (*names[at:], *names[:at])


@define
class Standing:
    """The systems of a figure, each before a sink of its own, so that their connections share no ports."""

    bench: Bench
    names: tuple[str, ...] = ()
    """Of the systems, if they are not all that the run is about."""
    core: int | None = None
    """The processor that all of them are bound to, if any."""
    stack: ExitStack = Factory(ExitStack)
    proxies: dict[str, Running] = Factory(dict)
    sinks: list[Running] = Factory(list)
    ports: dict[str, int] = Factory(dict)
    """Where the load goes, by system."""

    def __enter__(self) -> Standing:
        with ExitStack() as stack:
            names = self.names or self.bench.systems
            if DIRECT in names:
                self.sinks.append(stack.enter_context(sink(self.core)))
                self.ports[DIRECT] = self.sinks[-1].port
            for system in self.bench.proxies():
                if system.name not in names:
                    continue
                self.sinks.append(behind := stack.enter_context(sink(self.core)))
                running = stack.enter_context(system.start(Place(behind.port, self.core, self.bench.guard)))
                self.proxies[system.name] = running
                self.ports[system.name] = running.port
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def pids(self) -> list[int]:
        """Return the processes of all systems and sinks."""
        return [pid for running in (*self.proxies.values(), *self.sinks) for pid in running.tree.pids()]


def cpu_of(running: Running | None, act: Callable[[], float]) -> tuple[float, float]:
    """Do something; return the CPU seconds that a system used for it, until it rests, and what `act` returned."""
    if running is None:
        return 0.0, act()
    tree = running.tree
    before = tree.used()
    seconds = act()
    return rested(tree.used).since(before), seconds


SLICES: Final = 10
"""Turns of a round, where a ratio near 1 is looked for: a slow moment of the machine then hits both."""


def in_slices(running: Mapping[str, Running], count: int, send: Send) -> dict[str, tuple[float, float]]:
    """Send so many messages through each system, some here and some there in turn; return CPU and wall, s a message."""
    cpu, wall = dict.fromkeys(running, 0.0), dict.fromkeys(running, 0.0)
    part = max(count // SLICES, 1)
    for turn in range(SLICES):
        names = list(running) if turn % 2 else list(running)[::-1]
        for name in names:
            used, seconds = cpu_of(running[name], partial(send, part, running[name].port))
            cpu[name] += used
            wall[name] += seconds
    return {name: (cpu[name] / (SLICES * part), wall[name] / (SLICES * part)) for name in running}


_REST_SECONDS: Final = 0.05
_REST_CPU: Final = 0.0005
"""A system rests when it used less than this (s) of so long (s); that it closes connections behind the load counts."""


def rested(used: Callable[[], Used]) -> Used:
    """Wait until a system rests; return what it has used."""
    seen = used()
    since = perf_counter()

    def rests() -> bool:
        nonlocal seen, since
        if perf_counter() - since < _REST_SECONDS:
            return False
        before, seen, since = seen, used(), perf_counter()
        return seen.fine - before.fine < _REST_CPU

    wait_until(rests, "a system to rest", 10)
    return seen


def tell(line: str) -> None:
    """Print one line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


Figure = Callable[[Bench], None]
Figures = Mapping[str, Figure]
