"""`python -m tests.fuzz`: look for streams that make the guard break a promise.

Runs until the seconds are over, or for a number of runs, in as many processes as there are cores; a
line every ten seconds and a summary at the end.  Each finding is made small and written to found/;
the exit status is then 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from time import monotonic
from typing import Final

from attrs import Factory, define, evolve

from . import found
from .minimise import Fails, minimise
from .oracle import Promise
from .runs import Case, Outcome, case_of, run, servers

BATCH: Final = 500
_PROGRESS: Final = 10.0
_SEEDS_APART: Final = 1 << 40
_MOST_FINDINGS: Final = 20
_NAMELESS: Final = ("plain", "lax-worst", "lax-worst-legacy")


@define
class Tally:
    """What was reached, so that a fuzzer that reaches nothing is seen."""

    counts: Counter[str] = Factory(Counter)
    per_server: Counter[str] = Factory(Counter)
    findings: dict[tuple[str, Promise], tuple[int, str]] = Factory(dict)
    """The first seed and reason for each server and promise."""
    violations: int = 0

    def add(self, other: Tally) -> None:
        self.counts.update(other.counts)
        self.per_server.update(other.per_server)
        self.violations += other.violations
        for key, finding in other.findings.items():
            self.findings.setdefault(key, finding)

    def note(self, seed: int, case: Case, outcome: Outcome) -> None:
        record, seen = outcome.record, outcome.reading
        units = seen.units
        self.per_server[case.server] += outcome.plays
        self.counts.update(
            {
                "runs": outcome.plays,
                "streams": 1,
                "valid": case.stream.valid,
                "inside": case.source != "203.0.113.9",
                "reached DATA": any(unit.code == 354 for unit in units),
                "reached AUTH": any(unit.code in (334, 235) for unit in units),
                "sent BDAT": any(unit.verb == b"BDAT" for unit in units),
                "accepted a message": bool(record.server.messages),
                "had a command refused": any(unit.code >= 500 for unit in units),
                "closed by the guard": bool(seen.replies) and seen.replies[-1] not in record.said,
                "delayed or hung": record.hung,
            }
        )
        self.violations += len(outcome.violations)
        for violation in outcome.violations:
            self.findings.setdefault((case.server, violation.promise), (seed, str(violation)))


def batch(first: int, count: int, names: list[str]) -> Tally:
    """Run `count` seeds."""
    tally = Tally()
    for seed in range(first, first + count):
        case = case_of(seed, names)
        tally.note(seed, case, run(case))
    return tally


def hunt(options: argparse.Namespace, names: list[str]) -> Tally:
    """Run batches in all processes until it is enough."""
    total = Tally()
    begin = said = monotonic()
    at = options.seed * _SEEDS_APART
    end = at + options.runs if options.runs else None
    waiting: set[Future[Tally]] = set()
    with ProcessPoolExecutor(options.jobs) as pool:
        while True:
            over = at >= end if end is not None else monotonic() - begin >= options.seconds
            while not over and len(waiting) < options.jobs * 2 and (end is None or at < end):
                count = BATCH if end is None else min(BATCH, end - at)
                waiting.add(pool.submit(batch, at, count, names))
                at += count
            if not waiting:
                break
            done, waiting = wait(waiting, timeout=1.0, return_when=FIRST_COMPLETED)
            for future in done:
                total.add(future.result())
            if monotonic() - said >= _PROGRESS:
                said = monotonic()
                say(f"{said - begin:.0f} s: {total.counts['runs']} runs, {total.violations} violations")
    seconds = monotonic() - begin
    say(f"{total.counts['streams']} streams, {total.counts['runs']} runs in {seconds:.1f} s, "
        f"{total.counts['runs'] / seconds:.0f} runs/s in {options.jobs} processes")  # fmt: skip
    return total


def summary(total: Tally) -> None:
    """Say what was reached, as shares of the streams."""
    streams = max(total.counts["streams"], 1)
    for what, count in total.counts.items():
        if what not in ("runs", "streams"):
            say(f"  {what}: {count} ({100 * count / streams:.1f} %)")
    say("  runs per server: " + ", ".join(f"{name} {count}" for name, count in sorted(total.per_server.items())))


def report(total: Tally, names: list[str]) -> None:
    """Make each finding small, and keep it."""
    say(f"{total.violations} violations, {len(total.findings)} kinds")
    for (server, promise), (seed, what) in list(total.findings.items())[:_MOST_FINDINGS]:
        say(f"seed {seed}, {server}: {what}")

        def fails(case: Case, promise: Promise = promise) -> bool:
            return any(violation.promise is promise for violation in run(case).violations)

        small = minimise(nameless(case_of(seed, names), fails), fails)
        about = next(str(v) for v in run(small).violations if v.promise is promise)
        path = found.save(small, about, f"{promise.name.lower().replace('_', '-')}-{server}-{seed}")
        say(f"  {path}: {len(small.stream.octets)} octets: {small.stream.octets[:300]!r}")


def nameless(case: Case, fails: Fails) -> Case:
    """Return the case before a server that stands for no program, if it fails there too."""
    others = [evolve(case, server=name) for name in _NAMELESS]
    return next((other for other in others if fails(other)), case)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to look (60)")
    parser.add_argument("--runs", type=int, default=0, help="how many seeds to run, instead of seconds")
    parser.add_argument("--seed", type=int, default=1, help="where to begin (1)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one a core)")
    parser.add_argument("--servers", default="", help="names, with commas; all if not given")
    options = parser.parse_args()
    names = options.servers.split(",") if options.servers else sorted(servers())
    if unknown := set(names) - set(servers()):
        parser.error(f"no such server: {', '.join(sorted(unknown))}; there are {', '.join(sorted(servers()))}")
    total = hunt(options, names)
    summary(total)
    if total.findings:
        report(total, names)
    return 1 if total.findings else 0


if __name__ == "__main__":
    sys.exit(main())
