"""What a proxy adds to a round trip.

Contract: client, proxy and server share one processor, since waking another one costs more than any proxy does, and
not always the same.  Behind MAIL and RCPT, where every proxy of this benchmark forwards, a NOOP is timed.  `p50_us`
and `p99_us` are of the round trips themselves; `added_p50_us` and `added_p99_us` are that less the same of the same
round without a proxy.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from .bench import Bench, Standing
from .peers import HARAKA_PROXY
from .scheduling import THIS, bound_to, urgent
from .spread import percentile
from .systems import DIRECT
from .talk import Talk

SLICES: Final = 20
"""Turns of a round: a slow moment of the machine then hits every system."""
_WARM: Final = 10
"""Round trips that are not timed, at the begin of a turn: the caches are another's."""


def roundtrip(bench: Bench) -> None:
    """Time a NOOP."""
    # Haraka answers a NOOP itself.
    proxies = [one.name for one in bench.proxies() if one is not HARAKA_PROXY]
    core = max(os.sched_getaffinity(0))
    with Standing(bench, (DIRECT, *proxies), core) as standing, bound_to(core), urgent([THIS, *standing.pids()]):
        for _ in range(bench.counts.rounds):
            timed = _timed(standing.ports, bench.counts.trips)
            straight = _percentiles(timed[DIRECT])
            bench.add("roundtrip", DIRECT, p50_us=straight[0], p99_us=straight[1])
            for name in proxies:
                p50, p99 = _percentiles(timed[name])
                bench.add(
                    "roundtrip",
                    name,
                    p50_us=p50,
                    p99_us=p99,
                    added_p50_us=p50 - straight[0],
                    added_p99_us=p99 - straight[1],
                )


def _timed(ports: Mapping[str, int], trips: int) -> dict[str, list[int]]:
    """Return the nanoseconds of so many round trips through each, a few here and a few there in turn."""
    found: dict[str, list[int]] = {name: [] for name in ports}
    with ExitStack() as stack:
        talks = {name: stack.enter_context(Talk(port)) for name, port in ports.items()}
        for talk in talks.values():
            talk.expect(b"220")
            talk.command(b"EHLO client.test", b"250")
            talk.command(b"MAIL FROM:<from@bench.test>", b"250")
            talk.command(b"RCPT TO:<to@bench.test>", b"250")
        for _ in range(SLICES):
            for name, talk in talks.items():
                talk.trips(b"NOOP", b"250", _WARM)
                found[name] += talk.trips(b"NOOP", b"250", trips // SLICES)
        for talk in talks.values():
            talk.command(b"QUIT", b"221")
    return found


def _percentiles(nanoseconds: Sequence[int]) -> tuple[float, float]:
    return percentile(nanoseconds, 0.5) / 1000, percentile(nanoseconds, 0.99) / 1000
