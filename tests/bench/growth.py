"""How cost grows: with sessions at once, with the size of a message, with networks and rules.

Contract: metrics are CPU in microseconds; `at_50` a session of 1 kB when 50 run at once, `octets_1000` a message of
that size on a kept connection, `networks_1000` a session of the driver's with that many CIDRs and a rule for every
500 of them.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Final

from attrs import evolve

from . import loads, policies
from .bench import Bench, Standing, cpu_of
from .loads import Load
from .peers import HAPROXY, NGINX_MAIL
from .places import Place, sink
from .running import folder
from .scale import SOURCES
from .systems import GUARD
from .throughput import SMALL, driver_sessions

AT_ONCE: Final = (1, 10, 50, 100, 200)
OCTETS: Final = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
NETWORKS: Final = (10, 1_000, 10_000, 100_000)
_OF_A_RULE: Final = 500
_NAMES: Final = (HAPROXY.name, NGINX_MAIL.name, GUARD.name)
_OCTETS_IN_ALL: Final = 100_000_000
"""Of the larger messages of one load together, so that all take about as long."""


def growth(bench: Bench) -> None:
    """Measure all three."""
    names = tuple(name for name in _NAMES if name in bench.systems)
    counts = bench.counts
    parallel = {f"at_{number}": Load(counts.sessions // 4, SMALL, number) for number in AT_ONCE}
    most = counts.sessions // 4
    sizes = {
        f"octets_{octets}": Load(max(min(most, _OCTETS_IN_ALL // octets), 10), octets, 10, kept=True)
        for octets in OCTETS
    }
    with Standing(bench, names) as standing:
        for name in bench.rotated(list(standing.proxies)):
            running = standing.proxies[name]
            for figure, loads_ in (("parallel", parallel), ("size", sizes)):
                numbers = {}
                for metric, load in loads_.items():
                    cpu, _ = cpu_of(running, partial(loads.run, load, running.port))
                    numbers[metric] = cpu / load.messages * 1e6
                bench.add(figure, name, **numbers)
    if GUARD.name in names:
        _networks(bench)


def _networks(bench: Bench) -> None:
    numbers: dict[str, list[float]] = {}
    settings = policies.NO_NAMES + bench.guard.settings
    with ExitStack() as stack:
        directory = stack.enter_context(folder())
        running = {}
        for number in NETWORKS:
            policy = policies.large(directory / f"{number}.yaml", number, max(number // _OF_A_RULE, 1))
            place = Place(stack.enter_context(sink()).port, None, evolve(bench.guard, policy=policy, settings=settings))
            running[f"networks_{number}"] = stack.enter_context(GUARD.start(place))
        count = bench.counts.sessions // 4
        for metric in bench.rotated(list(running)):
            cpu, _ = cpu_of(running[metric], partial(driver_sessions, count, running[metric].port, SOURCES))
            numbers.setdefault(metric, []).append(cpu / count * 1e6)
    for turn in range(bench.counts.rounds):
        bench.add("networks", GUARD.name, **{metric: numbers[metric][turn] for metric in running})
