"""Which processor something runs on, and before what.

Contract: for figures of latency only.  There a neighbour on the processor would be what is measured, so client,
proxy and server go before it (sched(7), SCHED_FIFO, the lowest real-time priority), all alike; the kernel still
gives the rest a share, and that holds up one round trip in a second, far beyond the p99.  What the guard itself
starts meanwhile is scheduled as usual.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

THIS: int = 0
"""This process, as sched(7) calls it."""


@contextmanager
def bound_to(core: int) -> Iterator[None]:
    """Bind this process to one processor as long as the block lasts."""
    before = os.sched_getaffinity(THIS)
    os.sched_setaffinity(THIS, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(THIS, before)


@contextmanager
def urgent(pids: Iterable[int]) -> Iterator[None]:
    """Let these processes go before everything else as long as the block lasts."""
    chosen = list(pids)
    for pid in chosen:
        os.sched_setscheduler(pid, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        for pid in chosen:
            os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
