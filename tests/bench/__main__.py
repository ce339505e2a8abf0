"""`python -m tests.bench`: measure the guard beside its peers.

Without names of figures all but `growth` are measured.  The report goes to the terminal, and with --output to a
JSON file.  The exit status is 2 if a figure could not be measured, and with --strict 1 if a target was missed.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

from attrs import evolve

from tests.rig.wait import NotHappened

from . import flood, growth, idle, roundtrip, scale, throughput, workers
from .bench import QUICK, Bench, Counts, Figures, tell
from .machine import machine, versions
from .places import ROOT, GuardOptions, allow_files
from .report import document, tables
from .running import BenchError
from .systems import DIRECT, PROXIES

FIGURES: Figures = {
    "sessions": throughput.sessions,
    "ehlo": throughput.ehlo,
    "kept": throughput.kept,
    "content": throughput.content,
    "idle": idle.idle,
    "roundtrip": roundtrip.roundtrip,
    "flood": flood.flood,
    "scale": scale.scale,
    "workers": workers.workers,
    "growth": growth.growth,
}

_FAULTS = 2
"""Exit status: part of the report is missing."""


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("figures", nargs="*", help=f"what to measure: {', '.join(FIGURES)}")
    parser.add_argument("--rounds", type=int, help="how often (5)")
    parser.add_argument("--all", action="store_true", help="measure `growth` too")
    parser.add_argument("--quick", action="store_true", help="tiny counts: shows that it runs, says nothing of speed")
    parser.add_argument("--systems", default="", help="with commas; all if not given")
    parser.add_argument("--guard-tree", type=Path, default=ROOT, help="where smtpguard is imported from")
    parser.add_argument("--guard-args", default="", help="further flags of `smtpguard run`, as one shell word")
    parser.add_argument("--output", type=Path, help="a JSON file for all numbers")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a target was missed")
    parser.add_argument("--guard-settings", default="", help="further lines of its settings file")
    options = parser.parse_args()
    everything = (DIRECT, *PROXIES)
    systems = tuple(options.systems.split(",")) if options.systems else everything
    if unknown := set(systems) - set(everything):
        parser.error(f"no such system: {', '.join(sorted(unknown))}; there are {', '.join(everything)}")
    if unknown := set(options.figures) - set(FIGURES):
        parser.error(f"no such figure: {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    counts = QUICK if options.quick else Counts()
    bench = Bench(
        systems,
        evolve(counts, rounds=options.rounds or counts.rounds),
        GuardOptions(
            options.guard_tree.resolve(), tuple(shlex.split(options.guard_args)), settings=options.guard_settings
        ),
        tell,
    )
    allow_files()
    try:
        for name in options.figures or [name for name in FIGURES if options.all or name != "growth"]:
            try:
                FIGURES[name](bench)
            except (BenchError, NotHappened, OSError) as error:
                bench.faults[name] = f"{type(error).__name__}: {error}"
                tell(f"{name}: {bench.faults[name]}")
    except KeyboardInterrupt:
        tell("interrupted; what was measured so far:")
    told = document(bench, machine(), versions(bench))
    for line in tables(told):
        tell(line)
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(told, indent=1) + "\n")
    if bench.faults:
        return _FAULTS
    return int(options.strict and any(one["met"] is False and not one["further"] for one in told["targets"]))


if __name__ == "__main__":
    sys.exit(main())
