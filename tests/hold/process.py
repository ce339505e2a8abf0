"""What the kernel says of a process: its memory, its time, its descriptors; and limits that are set from outside.

Contract: figures are of all processes of a tree together.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Final

from tests.sendmail.support import resident
from tests.workers.support import children_of

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """Return a process and what it has started."""
    return [pid, *(one for child in children_of(pid) for one in tree(child))]


def memory(pid: int) -> int:
    """Return the resident memory of a process and its children, in octets; what they share counts for each."""
    return sum(map(resident, tree(pid)))


def peak(pid: int) -> int:
    """Return the most resident memory that one process has had, in octets."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no memory")


def processor_seconds(pid: int) -> float:
    """Return how long a process and its children have computed."""
    used = 0
    for one in tree(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        used += int(fields[11]) + int(fields[12])
    return used / _TICKS


def descriptors(pid: int) -> int:
    """Return how many descriptors one process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def may_have(pid: int, count: int) -> tuple[int, int]:
    """Let one process have no descriptor whose number is `count` or more; return the limits that it had."""
    had = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (count, had[1]))
    return had


def virtual_memory(pid: int) -> int:
    """Return the octets of address space that one process has, which is what RLIMIT_AS bounds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
