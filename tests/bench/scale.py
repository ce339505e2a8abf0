"""What many networks and rules cost: the guard with a large policy beside the guard with a small one.

Contract: the sessions are the driver's own, from many addresses, so that nothing remembered of a client hides what
a look-up costs; `cpu_us` is a session's.  `load_s` is reading and checking the policy in a process that has
imported everything, `check_s` and `explain_s` are whole commands, `start_s` is from the start of `smtpguard run`
until it listens.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final

from attrs import evolve

from . import policies
from .bench import Bench, in_slices
from .places import GuardOptions, Place, sink
from .running import BenchError, folder
from .systems import GUARD
from .throughput import driver_sessions

SMALL: Final = (10, 5)
"""CIDRs and rules of what the large policy is compared with."""
SOURCES: Final = 20_000
"""Addresses that sessions come from."""


def scale(bench: Bench) -> None:
    """Measure a small policy and a large one."""
    with ExitStack() as stack:
        directory = stack.enter_context(folder())
        made = {
            "small": policies.large(directory / "small.yaml", *SMALL),
            "large": policies.large(directory / "large.yaml", bench.counts.networks, bench.counts.rules),
        }
        running, starts = {}, {}
        settings = policies.NO_NAMES + bench.guard.settings
        for name, policy in made.items():
            behind = stack.enter_context(sink())
            began = perf_counter()
            running[name] = stack.enter_context(
                GUARD.start(Place(behind.port, None, evolve(bench.guard, policy=policy, settings=settings)))
            )
            starts[name] = perf_counter() - began
            driver_sessions(bench.counts.warm, running[name].port, SOURCES)
        for _ in range(bench.counts.rounds):
            sliced = in_slices(running, bench.counts.sessions // 2, partial(driver_sessions, sources=SOURCES))
            for name, (cpu, _) in sliced.items():
                asked = ("--policy", made[name], "--from", "20.0.0.9", "MAIL FROM:<a@b.test>")
                bench.add(
                    "scale",
                    name,
                    cpu_us=cpu * 1e6,
                    load_s=load_seconds(bench.guard, made[name]),
                    check_s=seconds_of(bench.guard, "check", "--policy", made[name]),
                    explain_s=seconds_of(bench.guard, "explain", *asked),
                    start_s=starts[name],
                )


_LOAD: Final = """
import sys, time
from smtpguard.config import policy_file
began = time.perf_counter()
policy_file.load(policy_file.find(sys.argv[1]))
print(time.perf_counter() - began)
"""


def load_seconds(guard: GuardOptions, policy: str) -> float:
    """Return how long the policy takes to load, imports aside."""
    return float(_run(guard.tree, "-c", _LOAD, policy))


def seconds_of(guard: GuardOptions, *arguments: str) -> float:
    """Return how long a command of the guard's takes, from the start of Python to its end."""
    began = perf_counter()
    _run(guard.tree, "-m", "smtpguard", *arguments)
    return perf_counter() - began


def _run(tree: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run([sys.executable, *arguments], cwd=tree, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(arguments[-4:])} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout
