"""From events to written lines.

Contract: a `Journal` belongs to the process, a `SessionJournal` to one session.  Nothing is formatted
that is not written.  A line that names a client waits for the name, for as long as the look-up may
take and no longer, and never makes anything else wait; the order within a session is kept.
"""

from __future__ import annotations

import json
import syslog
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Final, Protocol

from ..policy.networks import Peer
from ..smtp.effects import Authenticated, BackendFault, Judged, Normalized, OverBudget, Refused
from . import lines
from .lines import Client, Level, Line, Style

HELD_LINES: Final = 100
"""Lines of one session that wait for a name; at the next they go out without it."""

FindName = Callable[[Peer, Callable[[str | None], None]], None]
"""Looks for a client's name and calls back once, at once or later."""


class Sink(Protocol):
    """Somewhere to write."""

    def write(self, priority: int, text: str) -> None:
        """Write one line; never raises."""


def no_names(_peer: Peer, found: Callable[[str | None], None]) -> None:
    """Look nothing up."""
    found(None)


class Journal:
    """Writes what is worth it."""

    def __init__(
        self,
        sinks: list[Sink],
        level: int = 9,
        style: Style = Style.SENDMAIL,
        as_json: bool = False,
        find_name: FindName = no_names,
    ) -> None:
        self.level = level
        self.style = style
        self.find_name = find_name
        self.service_elsewhere: Callable[[str, int], bool] | None = None
        """Passes what is about the service on to who writes it for several processes; False if that cannot be."""
        self._sinks = sinks
        self._as_json = as_json
        self._waiting: set[SessionJournal] = set()

    def session(self, session_id: str, peer: Peer) -> SessionJournal:
        return SessionJournal(self, session_id, peer)

    def service(self, text: str, priority: int = syslog.LOG_INFO, event: str = "service") -> None:
        """Write about the service itself; always written."""
        # A fault of our own ("internal") belongs to one process, and has to be written whatever happens to it.
        if event == "service" and self.service_elsewhere is not None and self.service_elsewhere(text, priority):
            return
        self.write(Line(Level.SERVICE, priority, event, text))

    def flush(self) -> None:
        """Write what still waits for a name, without it."""
        for session in list(self._waiting):
            session.name(None)

    def waits(self, session: SessionJournal, waiting: bool) -> None:
        """Note whether a session has lines that wait for a name."""
        (self._waiting.add if waiting else self._waiting.discard)(session)

    def write(self, line: Line, session_id: str = "", client: Client | None = None) -> None:
        if self._as_json:
            text = json.dumps(
                {
                    "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "event": line.event,
                    "priority": line.priority,
                    **({"session": session_id} if session_id else {}),
                    **({"client": client.peer.text, "host": client.host} if client else {}),
                    **line.fields,
                    "message": line.text,
                }
            )
        elif session_id and self.style is Style.SENDMAIL:
            text = f"{session_id}: {line.text}"
        else:
            text = line.text
        for sink in self._sinks:
            sink.write(line.priority, text)


class SessionJournal:
    """Writes about one session."""

    __slots__ = ("_asked", "_client", "_held", "_id", "_journal", "_named")

    def __init__(self, journal: Journal, session_id: str, peer: Peer) -> None:
        self._journal = journal
        self._id = session_id
        self._client = Client(peer)
        self._asked = False
        self._named = False
        self._held: list[Callable[[Client], Line]] = []

    @property
    def id(self) -> str:
        """The session's, as all its lines have it."""
        return self._id

    @property
    def peer(self) -> Peer:
        """The client's address."""
        return self._client.peer

    def judged(self, event: Judged) -> None:
        self._write(
            Level.COMMAND if not lines.is_probe(event) else Level.ATTACK, lambda c: lines.judged(event, c, self._style)
        )

    def refused(self, event: Refused) -> None:
        level = Level.VIOLATION if event.closed else Level.COMMAND
        self._write(level, lambda c: lines.refused(event, c, self._style))

    def normalized(self, event: Normalized) -> None:
        self._write(Level.COMMAND, lambda c: lines.normalized(event, c, self._style))

    def over_budget(self, event: OverBudget) -> None:
        self._write(Level.COMMAND, lambda c: lines.over_budget(event, c, self._style))

    def backend_fault(self, event: BackendFault) -> None:
        self._write(Level.BACKEND, lambda c: lines.backend_fault(event, c, self._style))

    def connected(self, listener: str) -> None:
        if self._journal.level >= Level.CONNECTION:  # few ask for it, and every session has it
            self._write(Level.CONNECTION, lambda c: lines.connected(c, listener))

    def authenticated(self, event: Authenticated) -> None:
        level = Level.SUMMARY if event.accepted else Level.COMMAND
        self._write(level, lambda c: lines.authenticated(event, c))

    def secured(self, version: str, cipher: str, bits: int, names: AbstractSet[str] | None) -> None:
        self._write(Level.SUMMARY, lambda c: lines.secured(c, version, cipher, bits, names))

    def insecure(self, why: str) -> None:
        self._write(Level.SUMMARY, lambda c: lines.insecure(c, why))

    def uninspected(self) -> None:
        self._write(Level.VIOLATION, lines.uninspected)

    def turned_away(self, why: str, octets: bytes = b"") -> None:
        self._write(Level.VIOLATION, lambda c: lines.turned_away(c, why, octets))

    def ended(self, counts: dict[bytes, list[int]], seconds: float, cut_short: str = "") -> None:
        self._write(Level.SUMMARY, lambda c: lines.summary(counts, c, seconds, cut_short))

    @property
    def _style(self) -> Style:
        return self._journal.style

    def _write(self, level: int, line: Callable[[Client], Line]) -> None:
        if level > self._journal.level:
            return
        if self._named:
            self._journal.write(line(self._client), self._id, self._client)
            return
        self._held.append(line)
        if not self._asked:
            self._asked = True
            self._journal.waits(self, True)
            self._journal.find_name(self._client.peer, self.name)
        elif len(self._held) > HELD_LINES:
            self.name(None)

    def name(self, host: str | None) -> None:
        """Settle the client's name, and write what waited for it; the first call counts."""
        if self._named:
            return
        self._named = True
        self._journal.waits(self, False)
        self._client = Client(self._client.peer, host)
        held, self._held = self._held, []
        for line in held:
            self._journal.write(line(self._client), self._id, self._client)
