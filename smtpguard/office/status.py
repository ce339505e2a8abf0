"""The status document: what `smtpguard status`, /status.json and the status page show.

Contract: pure; `document` puts together what the parts of the office say.  Other programs read its keys: they are added
to, and none changes its meaning.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any, Final

from attrs import asdict

from ..ledger.bans import as_dict
from ..ledger.measures import Measure
from ..ledger.reports import HELD_SHOWN, LIVE_SESSIONS, Report
from ..policy.limits import HARDER, Limits
from .facts import Facts

SILENT_SECONDS: Final = 5.0
"""A process that has not reported for so long is not counted among those that serve; five reports."""


def readiness(facts: Facts, reports: Mapping[int, Report]) -> tuple[bool, str]:
    """Return whether clients are served, and if not why not; `reports` are the latest of the processes that live."""
    if facts.stopping:
        return False, "stopping"
    if not reports:
        return False, "no process has reported that it serves"
    closed = [one.closed_because for one in reports.values()]
    if all(closed):
        return False, closed[0]
    return True, ""


def sessions(reports: Mapping[int, Report], limit: int, total: int, turned_away: Mapping[str, int]) -> dict[str, Any]:
    """Return what there is to say of sessions."""
    live = sorted((one for report in reports.values() for one in report.live), key=lambda one: -one.seconds)
    return {
        "now": sum(report.sessions for report in reports.values()),
        "limit": room(reports, limit),
        "configured": limit,
        "total": total,
        "turned_away": dict(turned_away),
        "live": [asdict(one) for one in live[:LIVE_SESSIONS]],
    }


def room(reports: Mapping[int, Report], limit: int) -> int:
    """Return how many sessions there may be: what the settings say, or as many as there are descriptors for."""
    fits = [report.fits for report in reports.values()]
    known = [one for one in fits if one is not None]
    return min(limit, sum(known)) if fits and len(known) == len(fits) else limit


def standing(reports: Mapping[int, Report]) -> dict[str, Any]:
    """Return who is slowed or sent away, and not banned, the hardest and newest; each client once."""
    found: dict[str, Measure] = {}
    for report in reports.values():
        for one in report.held:
            before = found.get(one.key)
            if before is None or _weight(one) > _weight(before):
                found[one.key] = one
    hardest = heapq.nlargest(HELD_SHOWN, found.values(), key=lambda one: (HARDER.index(one.hardness), one.since))
    rows = [{**as_dict(one), "step": one.hardness.value, "seconds": one.seconds} for one in hardest]
    return {"standing": rows, "standing_total": max([len(found), *(one.held_total for one in reports.values())])}


def _weight(measure: Measure) -> tuple[int, float]:
    return HARDER.index(measure.hardness), measure.until


_WORSE: Final = ("up", "checking", "down", "relays")


def backends(reports: Mapping[int, Report]) -> list[dict[str, Any]]:
    """Return the backends as all processes see them: sessions added up, and the worst state that one of them has."""
    found: dict[str, dict[str, Any]] = {}
    for report in reports.values():
        for one in report.backends:
            before = found.get(one["endpoint"])
            if before is None:
                found[one["endpoint"]] = dict(one)
                continue
            worse, better = (one, before) if _badness(one) > _badness(before) else (before, one)
            found[one["endpoint"]] = {
                **worse,
                "sessions": before["sessions"] + one["sessions"],
                "failures": before["failures"] + one["failures"],
                "since": worse["since"] if _badness(one) != _badness(before) else min(one["since"], better["since"]),
            }
    return list(found.values())


def _badness(backend: Mapping[str, Any]) -> int:
    state = backend["state"]
    return _WORSE.index(state) if state in _WORSE else len(_WORSE)


def processes(facts: Facts, reports: Mapping[int, Report]) -> list[dict[str, Any]]:
    """Return the processes, with their sessions where they have reported."""
    return [
        {**asdict(process), "sessions": reports[process.pid].sessions if process.pid in reports else None}
        for process in facts.processes
    ]


def relay_check(reports: Mapping[int, Report]) -> dict[str, Any]:
    """Return what the relay check says, the worst of all processes."""
    said = {one.relay_check for one in reports.values()}
    standing = next((one for one in ("relays", "wait") if one in said), "serve")
    return {
        "standing": standing,
        "because": next((one.closed_because for one in reports.values() if one.relay_check == standing), ""),
    }


def limits(policy: Limits, crossed: Mapping[str, int], reports: Mapping[int, Report]) -> list[dict[str, Any]]:
    """Return the policy's limits; what stands is what the process with the most of it says, since all are told."""
    return [
        {
            "name": one.name,
            "counts": one.counts,
            "rate": str(one.rate) if one.rate else f"{one.most} at once",
            "by": one.by.value,
            "steps": [str(step) for step in one.steps],
            "crossed": crossed.get(one.name, 0),
            "standing": max((report.standing.get(one.name, 0) for report in reports.values()), default=0),
        }
        for one in policy.all
    ]


def document(
    facts: Facts,
    reports: Mapping[int, Report],
    version: str,
    host: str,
    now: float,
    parts: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the whole; `parts` are those of the ledger and of the metrics."""
    ready, because = readiness(facts, reports)
    return {
        "version": version,
        "host": host,
        "pid": facts.pid,
        "started": facts.started,
        "now": now,
        "ready": ready,
        "ready_because": because,
        "policy": asdict(facts.policy),
        "reload": None if facts.reload is None else asdict(facts.reload),
        "listeners": [asdict(one) for one in facts.listeners],
        "processes": processes(facts, reports),
        "backends": backends(reports),
        "relay_check": relay_check(reports),
        "log": {"lost": sum(report.lost for report in reports.values())},
        **parts,
    }
