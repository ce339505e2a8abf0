"""A flood of VRFY from outside, and what insiders feel of it.

Contract: the guard has a processor of its own; client, insider and server share another.  While the insider is
timed, it, the guard and the server go before everything else, the flood too (scheduling.py), so that what the
insider feels is the guard.  The policy has 127.0.0.1 inside and the flood comes from 127.0.0.2; budgets are off, or
the flood would end.  Metrics: `a_cpu_s` answers for a CPU second of the guard, with 20 commands in one write,
`single_a_cpu_s` with one; `quiet_p99_us` of an insider's NOOP without a flood; `paced_p99` and the others the p99
during one, as multiples of the quiet one of the same round; `reached` the VRFYs that the server has seen.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from attrs import evolve, frozen

from . import policies
from .bench import Bench, cpu_of
from .counting import count_of, counting
from .places import ROOT, Place
from .running import BenchError, Running, folder
from .scheduling import THIS, bound_to, urgent
from .spread import percentile
from .systems import GUARD
from .talk import Talk

OUTSIDE: Final = "127.0.0.2"


@frozen
class Flood:
    """A way to flood."""

    connections: int
    batch: int
    """Commands in one write."""
    rate: float = 0.0
    """Commands a second; 0 is as fast as they are answered."""


PIPELINED: Final = Flood(10, 20)
SINGLE: Final = Flood(10, 1)
KINDS: Final = {"paced": Flood(10, 1, 5000.0), "one": Flood(1, 1), "single": SINGLE, "pipelined": PIPELINED}


def flood(bench: Bench) -> None:
    """Flood the guard."""
    guard_core, client_core = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    seconds = bench.counts.flood_seconds
    with ExitStack() as stack:
        directory = stack.enter_context(folder())
        options = evolve(bench.guard, policy=policies.outside(directory / "policy.yaml"))
        server = stack.enter_context(counting(client_core))
        guard = stack.enter_context(GUARD.start(Place(server.port, guard_core, options)))
        stack.enter_context(bound_to(client_core))
        for _ in range(bench.counts.rounds):
            numbers = {
                "a_cpu_s": _alone(guard, PIPELINED, seconds, client_core),
                "single_a_cpu_s": _alone(guard, SINGLE, seconds, client_core),
            }
            with urgent([THIS, *server.tree.pids(), *guard.tree.pids()]):
                quiet = numbers["quiet_p99_us"] = _insider(guard.port, seconds)
                for name, kind in KINDS.items():
                    with _flooding(guard.port, kind, 2 * seconds, client_core):
                        numbers[f"{name}_p99"] = _insider(guard.port, seconds) / quiet
            bench.add("flood", GUARD.name, **numbers, reached=count_of(server, "VRFY"))


def _command(port: int, kind: Flood, seconds: float, core: int) -> list[str]:
    what = ["vrfy", port, kind.connections, kind.batch, seconds, OUTSIDE, kind.rate]
    # A flood with a rate keeps it only if it is not held up either.
    urgently = ["chrt", "--fifo", "1"] if kind.rate else []
    return ["taskset", "-c", str(core), *urgently, sys.executable, "-m", "tests.bench.driver", *map(str, what)]


def _alone(guard: Running, kind: Flood, seconds: float, core: int) -> float:
    """Return the answers for a CPU second."""
    answered = 0.0

    def drive() -> float:
        nonlocal answered
        done = subprocess.run(_command(guard.port, kind, seconds, core), cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            raise BenchError(f"the flood ended: {done.stderr}")
        answered = json.loads(done.stdout.splitlines()[-1])["answered"]
        return 0.0

    cpu, _ = cpu_of(guard, drive)
    return answered / cpu


@contextmanager
def _flooding(port: int, kind: Flood, seconds: float, core: int) -> Iterator[None]:
    """Flood as long as the block lasts, or for `seconds`."""
    with subprocess.Popen(_command(port, kind, seconds, core), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if process.stdout.readline() != "flooding\n":
            raise BenchError(f"the flood did not begin: status {process.wait()}")
        try:
            yield
            if process.poll() is not None:
                raise BenchError(f"the flood was over too early: status {process.returncode}")
        finally:
            process.kill()


def _insider(port: int, seconds: float) -> float:
    """Return the p99 of an insider's NOOP, in microseconds."""
    with Talk(port) as talk:
        talk.expect(b"220")
        talk.command(b"EHLO client.test", b"250")
        trips: list[int] = []
        while sum(trips) < seconds * 1e9:
            trips += talk.trips(b"NOOP", b"250", 50)
        talk.command(b"QUIT", b"221")
    return percentile(trips, 0.99) / 1000
