"""Gauges, read off the status document.

Contract: pure, and of any part that is missing or of another form nothing comes, so that half a document is half the
gauges; docs/monitoring.md has the document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from . import catalogue
from .catalogue import MOST_SERIES, Metric
from .totals import MOST

Gauge = tuple[Metric, tuple[str, ...], float]
SERVING: Final = frozenset({"serving", "ready"})
"""States of a process that takes clients."""
_PLAIN: Final = (
    (catalogue.READY, "ready"),
    (catalogue.STARTED, "started"),
    (catalogue.SESSIONS, "sessions", "now"),
    (catalogue.SESSIONS_LIMIT, "sessions", "limit"),
    (catalogue.POLICY_LOADED, "policy", "loaded"),
    (catalogue.POLICY_RULES, "policy", "rules"),
    (catalogue.RELOADED, "reload", "at"),
    (catalogue.BANS, "bans_total"),
    (catalogue.INCIDENTS_OPEN, "incidents_open"),
    (catalogue.LINES_LOST, "log", "lost"),
)


def gauges(status: Mapping[str, Any]) -> Iterator[Gauge]:
    """Yield what the status says of now."""
    version, policy = status.get("version"), _at(status, "policy", "version")
    if version is not None:
        yield catalogue.INFO, (str(version), str(policy or "")), 1.0
    for metric, *path in _PLAIN:
        number = _at(status, *path)
        if _is_number(number):
            yield metric, (), float(number)
    refused = _at(status, "reload", "ok") is False
    yield catalogue.RELOAD_OK, (), float(not refused)
    processes = _rows(status, "processes")
    yield catalogue.PROCESSES, (), float(sum(str(row.get("state")) in SERVING for row in processes))
    for endpoint, row in _named(status, "backends", "endpoint"):
        yield catalogue.BACKEND_UP, endpoint, float(row.get("state") == "up")
        if _is_number(row.get("sessions")):
            yield catalogue.BACKEND_SESSIONS, endpoint, float(row["sessions"])
    found = _at(status, "relay_check", "standing")
    for standing in sorted(catalogue.RELAY_CHECK.labels[0].values or ()):
        if found is not None:
            yield catalogue.RELAY_CHECK, (standing,), float(standing == found)
    for name, row in _named(status, "limits", "name"):
        if _is_number(row.get("standing")):
            yield catalogue.STANDING, name, float(row["standing"])
    shared = _at(status, "state", "shared")
    if shared:
        yield catalogue.SHARED_UP, (), float(shared == "redis ok")


def _at(status: Any, *path: str) -> Any:
    for step in path:
        status = status.get(step) if isinstance(status, Mapping) else None
    return status


def _rows(status: Mapping[str, Any], table: str) -> list[Mapping[str, Any]]:
    rows = status.get(table)
    return [row for row in (rows if isinstance(rows, list) else [])[:MOST_SERIES] if isinstance(row, Mapping)]


def _named(status: Mapping[str, Any], table: str, label: str) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Yield the rows that have a label, with it; of those that have the same the first, as a series is there once."""
    seen = set[str]()
    for row in _rows(status, table):
        value = str(row.get(label, ""))
        if value and value not in seen:
            seen.add(value)
            yield (value,), row


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) <= MOST
