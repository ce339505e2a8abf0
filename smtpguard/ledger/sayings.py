"""What the log says of incidents.

Contract: pure.  The source stands first; what a client chose stands last, and was made printable where it came in.
"""

from __future__ import annotations

import syslog
from datetime import UTC, datetime
from typing import Final

from ..journal.lines import Level, Line
from .incident import Incident
from .suspicion import FLOODER
from .words import deeds, many

NAMES_SAID: Final = 8
"""Names in a line."""


def opened(incident: Incident) -> Line:
    """Return the line for one that begins."""
    return _line(incident, syslog.LOG_WARNING, "opened", _deeds(incident))


def closed(incident: Incident) -> Line:
    """Return the line for one that is over."""
    sessions = many(incident.sessions, "session")
    what = f"{_deeds(incident)} in {sessions} and {_time(incident.last - incident.opened)}"
    banned = ", banned" if incident.banned else ""
    return _line(incident, syslog.LOG_NOTICE, "closed", f"{what}{banned}")


def _line(incident: Incident, priority: int, state: str, what: str) -> Line:
    text = f"incident {incident.id} {state}: {incident.key}: {incident.verdict}, {what}{_tried(incident)}"
    fields = {
        "client": incident.key,
        "id": incident.id,
        "state": state,
        "verdict": incident.verdict,
        "deeds": dict(incident.deeds),
        "sessions": incident.sessions,
        "banned": incident.banned,
    }
    return Line(Level.SERVICE, priority, "incident", text, lambda: fields)


def moment(when: float) -> str:
    """Return a time as text."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _deeds(incident: Incident) -> str:
    if not incident.deeds:
        return "a limit was crossed" if incident.verdict == FLOODER else "nothing counted"
    return ", ".join(deeds(number, kind) for kind, number in incident.deeds.items())


def _tried(incident: Incident) -> str:
    names = incident.names.texts()
    if not names:
        return ""
    more = len(names) - NAMES_SAID + incident.names.more
    count = f" (and {more} more)" if more > 0 and len(names) > NAMES_SAID else ""
    return f"; names{count}: {', '.join(names[:NAMES_SAID])}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
