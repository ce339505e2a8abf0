"""A flame graph of the guard under the load of `sessions`: `python -m tests.bench.profile FILE.svg [SECONDS]`.

Contract: py-spy looks at the guard from outside, at native frames too, while smtp-source sends; the guard is
stopped for each look, so the numbers of a profiled run mean nothing.  Where a system call takes the time, that
shows as the frame that made it.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

from . import loads
from .loads import Load
from .places import ROOT, GuardOptions, Place, sink
from .running import BenchError
from .systems import GUARD
from .throughput import SMALL

SECONDS: Final = 10
RATE: Final = 200
"""Looks a second: each stops the guard for a millisecond or so."""
_MESSAGES: Final = 500
"""Of one load, and so how long the last one may go on behind the profile."""


def profile(file: Path, seconds: int, guard: GuardOptions, kept: bool = False) -> None:
    """Write the flame graph."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with sink() as behind, GUARD.start(Place(behind.port, None, guard)) as running:
        load = Load(_MESSAGES, SMALL, kept=kept)
        loads.run(load, running.port)
        command = [
            str(Path(sys.executable).with_name("py-spy")),
            *("record", "--native", "--subprocesses", "--pid", str(running.tree.pid)),
            *("--duration", str(seconds), "--rate", str(RATE), "--format", "flamegraph", "--output", str(file)),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as looking:
            while looking.poll() is None:
                loads.run(load, running.port)
            assert looking.stdout is not None
            said = looking.stdout.read().decode("utf-8", "replace")
    if looking.returncode != 0:
        raise BenchError(f"py-spy ended with {looking.returncode}: {said}")


def main() -> None:
    """Take the arguments."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile", description=__doc__)
    parser.add_argument("file", type=Path, help="the SVG file")
    parser.add_argument("seconds", type=int, nargs="?", default=SECONDS, help=f"how long to look ({SECONDS})")
    parser.add_argument("--kept", action="store_true", help="messages on kept connections instead of sessions")
    parser.add_argument("--guard-tree", type=Path, default=ROOT, help="where smtpguard is imported from")
    parser.add_argument("--guard-args", default="", help="further flags of `smtpguard run`, as one shell word")
    options = parser.parse_args()
    guard = GuardOptions(options.guard_tree.resolve(), tuple(shlex.split(options.guard_args)))
    profile(options.file, options.seconds, guard, options.kept)


if __name__ == "__main__":
    main()
