"""A plan as text: what `--dry-run` prints.

Contract: every step in its order, each file with a unified diff; nothing but printable characters.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..config.faults import printable
from .plan import Plan


def shown(plan: Plan, services: str) -> Iterator[str]:
    """Yield the lines."""
    for note in plan.notes:
        yield f"Note: {note}"
    yield ""
    number = 0
    for number, change in enumerate(plan.changes, 1):
        what = "write" if change.before is None else "change"
        yield f"{number}. {what} {change.path} (mode {change.like.mode:04o}): {change.why}"
        yield from (f"    {_printable(line)}" for line in change.diff())
        yield ""
    where = ", ".join(f"{address} port 25" for address in plan.listen)
    behind = ", ".join(f"{address} port {plan.wishes.port}" for address in plan.behind)
    for step in (
        "check settings and policy, before any file of sendmail's is changed",
        f"let the guard start at boot ({services})",
        f"restart sendmail ({services}), which then listens at {behind}",
        f"start the guard ({services}), which listens at {where}",
        "see whether it works: banner, VRFY from here and from outside, relaying; if not, all of it is taken back",
    ):
        number += 1
        yield f"{number}. {step}"
    yield ""
    yield "Nothing was changed.  --apply does it, and keeps what is needed for --undo."


def _printable(line: str) -> str:
    return "\t".join(printable(part) for part in line.split("\t"))
