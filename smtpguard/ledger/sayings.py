"""What the log says of incidents.

Contract: pure.  The source stands first; what a client chose stands last, and was made printable where it came in.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from .incident import Incident
from .suspicion import FLOODER

NAMES_SAID: Final = 8
"""Names in a line."""
_ONE: Final = {
    "connections": "connection", "commands": "command", "probes": "probe", "malformed": "malformed line",
    "recipients": "refused recipient", "auth": "refused AUTH", "slow": "slow session",
}  # fmt: skip
_MORE: Final = {
    "connections": "connections", "commands": "commands", "probes": "probes", "malformed": "malformed lines",
    "recipients": "refused recipients", "auth": "refused AUTHs", "slow": "slow sessions",
}  # fmt: skip


def opened(incident: Incident) -> str:
    """Return the line for one that begins."""
    return f"incident {incident.id} opened: {incident.key}: {incident.verdict}, {_deeds(incident)}{_tried(incident)}"


def closed(incident: Incident) -> str:
    """Return the line for one that is over."""
    sessions = _number(incident.sessions, "session", "sessions")
    what = f"{_deeds(incident)} in {sessions} and {_time(incident.last - incident.opened)}"
    banned = ", banned" if incident.banned else ""
    return f"incident {incident.id} closed: {incident.key}: {incident.verdict}, {what}{banned}{_tried(incident)}"


def moment(when: float) -> str:
    """Return a time as text."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _deeds(incident: Incident) -> str:
    if not incident.deeds:
        return "a limit was crossed" if incident.verdict == FLOODER else "nothing counted"
    return ", ".join(_number(number, _ONE[kind], _MORE[kind]) for kind, number in incident.deeds.items())


def _tried(incident: Incident) -> str:
    names = incident.names.texts()
    if not names:
        return ""
    more = len(names) - NAMES_SAID + incident.names.more
    count = f" (and {more} more)" if more > 0 and len(names) > NAMES_SAID else ""
    return f"; names{count}: {', '.join(names[:NAMES_SAID])}"


def _number(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
