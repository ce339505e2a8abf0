"""What the kernel counts of a process and all its children: CPU time, memory.

Contract: `Tree(pid)` looks at that process and what descends from it at the moment of asking.  CPU is user
and system time together.  It is read from /proc/PID/task/*/schedstat (nanoseconds; proc(5)), as utime and stime of
/proc/PID/stat come in ticks of 10 ms here; for a thread or a child that has ended in between, the ticks are what is
left, so the larger of both counts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from attrs import frozen

TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
_UTIME: Final = 11
"""Fields of /proc/PID/stat behind the name: utime, stime, cutime, cstime."""
_PARENT: Final = 1


@frozen
class Used:
    """CPU seconds since the processes began, by two counts of the kernel."""

    fine: float
    """Of the threads that live, to the nanosecond."""
    ticks: float
    """Of all that ever lived, to `TICK` for each number."""

    def since(self, before: Used) -> float:
        """Return the CPU seconds between two readings."""
        fine, ticks = self.fine - before.fine, self.ticks - before.ticks
        # Ticks are rounded down, twice a process; where they say much more, something that ran has ended.
        return ticks if ticks > fine * 1.05 + 4 * TICK else fine


class Tree:
    """A process and its descendants."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def children(self) -> list[int]:
        """Return the process ids of the direct children, the oldest first."""
        return sorted(pid for pid, parent in _parents().items() if parent == self.pid)

    def pids(self) -> list[int]:
        """Return the process ids of all of it, the root first."""
        parents = _parents()
        found = [self.pid]
        for pid in found:  # grows while it is read
            found += sorted(child for child, parent in parents.items() if parent == pid)
        return found

    def used(self) -> Used:
        """Return the CPU time of all of it so far."""
        pids = self.pids()
        return Used(sum(map(_fine, pids)), sum(map(_ticks, pids)))

    def rss(self) -> int:
        """Return the resident memory of all of it, in octets; what processes share counts in each."""
        return sum(map(_rss, self.pids()))

    def peak(self) -> int:
        """Return the sum of the most that each of its processes ever had resident (VmHWM), in octets."""
        return sum(_status(pid, "VmHWM") for pid in self.pids())


def used_by(pid: int) -> Used:
    """Return the CPU time of one process, without its children."""
    return Used(_fine(pid), _ticks(pid))


def _parents() -> dict[int, int]:
    parents = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            fields = _stat(int(path.name))
            if fields:
                parents[int(path.name)] = int(fields[_PARENT])
    return parents


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the name, which may hold anything; none if the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("latin-1").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _ticks(pid: int) -> float:
    return sum(map(int, _stat(pid)[_UTIME : _UTIME + 4])) * TICK


def _fine(pid: int) -> float:
    total = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                continue  # a thread that has ended
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return total / 1e9


def _rss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def _status(pid: int, field: str) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0
