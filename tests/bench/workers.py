"""Two workers beside one: whether the work is shared, and what sharing costs.

Contract: measured under the load of `sessions`.  `cpu_us` is what a session costs all processes of the guard
together, `share` the part of the worker that has worked less, in percent of what all workers used: 50 is even.
Without `--workers` in `smtpguard run` the figure is left out, and the report says so.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from attrs import evolve

from . import loads
from .bench import Bench, in_slices
from .kernel import Tree, used_by
from .loads import Load
from .places import Place, sink
from .running import Running
from .systems import GUARD, guard_knows
from .throughput import SMALL, sent

WORKERS: Final = 2


def workers(bench: Bench) -> None:
    """Measure one worker and two."""
    if not guard_knows(bench.guard, "--workers"):
        bench.absent["workers"] = "smtpguard run has no --workers"
        return
    running: dict[str, Running] = {}
    with ExitStack() as stack:
        for number in (1, WORKERS):
            behind = stack.enter_context(sink())
            arguments = (*bench.guard.arguments, "--workers", str(number))
            place = Place(behind.port, None, evolve(bench.guard, arguments=arguments))
            running[f"workers-{number}"] = stack.enter_context(GUARD.start(place))
        load = Load(bench.counts.sessions, SMALL)
        for one in running.values():
            loads.run(evolve(load, messages=bench.counts.warm), one.port)
        for _ in range(bench.counts.rounds):
            before = {name: _each(one.tree) for name, one in running.items()}
            sliced = in_slices(running, load.messages, sent(load))
            for name, one in running.items():
                cpu, wall = sliced[name]
                numbers = {"cpu_us": cpu * 1e6, "rate": 1 / wall}
                spent = [used - before[name].get(pid, 0.0) for pid, used in _each(one.tree).items()]
                if len(spent) >= WORKERS:
                    numbers["share"] = 100 * min(spent) / sum(spent)
                bench.add("workers", name, **numbers)


def _each(tree: Tree) -> dict[int, float]:
    """Return the CPU seconds of each worker: the children of the first process."""
    return {pid: used_by(pid).fine for pid in tree.children()}
