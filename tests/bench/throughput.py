"""The figures of a load that is sent as fast as it is taken: CPU a session, a kept message, a megabyte; time.

Contract: `cpu_us` is the system's CPU in microseconds for one unit (session, message, MB of 2^20 octets), `wall_s`
the seconds for the whole load (counted up where a slow system gets only a part of it), `rate` units a second of
wall time, `peak_mb` the most memory (2^20 octets) that its processes have had so far.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from typing import Final

from attrs import evolve

from . import loads
from .bench import Bench, Send, Standing, cpu_of
from .loads import Load
from .places import ROOT
from .running import BenchError
from .systems import PROXIES

MB: Final = 1 << 20
SMALL: Final = 1024
AT_ONCE: Final = 50


def sessions(bench: Bench) -> None:
    """Connect, greet, one message of 1 kB, QUIT; 50 at once."""
    _measure(bench, "sessions", bench.counts.sessions, sent(Load(bench.counts.sessions, SMALL)))


def ehlo(bench: Bench) -> None:
    """Do the same by a client of our own, which greets with EHLO: every server's reply has to be looked at, or made."""
    _measure(bench, "ehlo", bench.counts.sessions // 2, driver_sessions)


def kept(bench: Bench) -> None:
    """Messages of 1 kB on 50 connections that are kept."""
    _measure(bench, "kept", bench.counts.kept, sent(Load(bench.counts.kept, SMALL, kept=True)))


def content(bench: Bench) -> None:
    """Messages of 1 MB (2^20 octets), 50 at once."""
    _measure(bench, "content", bench.counts.large, sent(Load(bench.counts.large, MB)))


def sent(load: Load) -> Send:
    """Return how a part of a load of smtp-source is sent."""
    return lambda messages, port: loads.run(evolve(load, messages=messages), port)


def _measure(bench: Bench, figure: str, units: int, send: Send) -> None:
    with Standing(bench) as standing:
        for name, port in standing.ports.items():
            send(max(int(min(bench.counts.warm, units // 10) * _share(name)), 1), port)
        for name in bench.rotated(list(standing.ports)):
            running = standing.proxies.get(name)
            part = max(int(units * _share(name)), 1)
            cpu, wall = cpu_of(running, partial(send, part, standing.ports[name]))
            numbers = {"wall_s": wall * units / part, "rate": part / wall}
            if running is not None:
                numbers["cpu_us"] = cpu / part * 1e6
                numbers["peak_mb"] = running.tree.peak() / 2**20
            bench.add(figure, name, **numbers)


def _share(name: str) -> float:
    return PROXIES[name].share if name in PROXIES else 1.0


def driver_sessions(count: int, port: int, sources: int = 1) -> float:
    """Run so many sessions of the driver, from so many addresses; return the seconds it took."""
    command = [sys.executable, "-m", "tests.bench.driver", "sessions"]
    numbers = map(str, (port, count, AT_ONCE, SMALL, sources))
    done = subprocess.run([*command, *numbers], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(f"the driver ended: {done.stderr}")
    seconds: float = json.loads(done.stdout)["seconds"]
    return seconds
