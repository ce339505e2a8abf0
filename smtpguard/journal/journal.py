"""From events to written lines.

Contract: a `Journal` belongs to the process, a `SessionJournal` to one session.  Nothing is formatted
that is not written.  A line that names a client waits for the name, for as long as the look-up may
take and no longer, and never makes anything else wait; the order within a session is kept.  What a sink does
not take is tried again, for as long as it takes.
"""

from __future__ import annotations

import json
import syslog
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from ..policy.networks import Peer
from ..smtp.effects import Note
from . import lines
from .lines import Client, Form, Level, Line, Style
from .sinks import QueuedSink, lost_text

HELD_LINES: Final = 100
"""Lines of one session that wait for a name; at the next they go out without it."""
# Not of a fixed length: compiled, a module's tuple of floats is taken for one that was never set (mypyc).
RETRY_SECONDS: Final[tuple[float, ...]] = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Between attempts to write of which none got anything written; the last one goes on.  A syslog daemon's socket holds
ten lines (net.unix.max_dgram_qlen) and is read within milliseconds."""
DRAIN_SECONDS: Final = 0.5
"""At the end, for what still waits."""
LONGEST_JSON: Final = 3_800
"""Octets of an object, so that it fits into a line with what stands before it (smtpguard.journal.outlets)."""
LONGEST_VALUES: Final[tuple[int, ...]] = (1_000, 240)
"""Characters of each text in an object that would be longer, and in one that still would be."""

OF_ONE_PROCESS: Final = frozenset({"internal", "log"})
"""Events of the service that belong to the process which has them, and are written by it whatever happens to it: a
fault of our own, and of its own outlets."""

FindName = Callable[[Peer, Callable[[str | None], None]], None]
"""Looks for a client's name and calls back once, at once or later."""


class Sink(Protocol):
    """Somewhere to write."""

    def write(self, priority: int, text: str) -> None:
        """Write one line; never raises."""


class Say(Protocol):
    """Writes about the service itself: `Journal.service`, or what passes it on."""

    def __call__(
        self, text: str, priority: int, event: str = "service", fields: dict[str, Any] | None = None, /
    ) -> None:
        """Write one line."""


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
        self.service_elsewhere: Callable[[str, int, str, dict[str, Any] | None], bool] | None = None
        """Passes what is about the service on to who writes it for several processes; False if that cannot be."""
        self.call_later: Callable[[float, Callable[[], None]], object] | None = None
        """Sees to it that what a sink did not take is tried again though nothing more is written; of a reactor."""
        self._as_json = as_json
        self._lost_before = 0
        """By sinks that were given up."""
        self._waiting: set[SessionJournal] = set()
        self._tries = 0
        self._later = False
        self._take(sinks)

    def write_as(self, level: int, style: Style, as_json: bool, sinks: list[Sink] | None) -> None:
        """Write from now on as other settings ask for; with None to where it has written before."""
        self.level = level
        self.style = style
        self._as_json = as_json
        if sinks is not None:
            self._written()
            self._lost_before = self.lost
            for sink in self._queued:
                sink.close()
            self._take(sinks)

    def _take(self, sinks: list[Sink]) -> None:
        self._sinks = sinks
        self._queued = [sink for sink in sinks if isinstance(sink, QueuedSink)]
        for sink in self._queued:
            sink.lost_text = self._lost_text

    def session(self, session_id: str, peer: Peer) -> SessionJournal:
        return SessionJournal(self, session_id, peer)

    def service(
        self,
        text: str,
        priority: int = syslog.LOG_INFO,
        event: str = "service",
        fields: dict[str, Any] | None = None,
    ) -> None:
        """Write about the service itself, or what it does with a client; always written.  `fields` are for JSON."""
        elsewhere = self.service_elsewhere
        if event not in OF_ONE_PROCESS and elsewhere is not None and elsewhere(text, priority, event, fields):
            return
        self.write(Line(Level.SERVICE, priority, event, text, lambda: fields or {}))

    def flush(self) -> None:
        """Write what still waits for a name, without it."""
        for session in list(self._waiting):
            session.name(None)

    # -- what was not taken ----------------------------------------------------------------------------

    @property
    def lost(self) -> int:
        """How many lines no sink of this process took, nor will."""
        return self._lost_before + sum(sink.lost for sink in self._queued)

    def reopen(self) -> None:
        """Write to what the names of files mean from now on, as after a rotation."""
        for sink in self._queued:
            fault = sink.reopen()
            if fault:
                text = f"log: cannot be opened again: {fault}; what was open stays in use"
                self.service(text, syslog.LOG_ERR, "log")

    def forked(self) -> None:
        """This process is a copy; what waits is written by the first."""
        for sink in self._queued:
            sink.forked()

    def drain(self) -> None:
        """At the end: write what waits, without its names, and wait a moment for who is to take it."""
        self.flush()
        deadline = time.monotonic() + DRAIN_SECONDS
        while not self._written() and time.monotonic() < deadline:
            time.sleep(RETRY_SECONDS[0])

    def _written(self) -> bool:
        """Write what waits, as far as it is taken; True if that is all."""
        return not [sink for sink in self._queued if not sink.flush()]

    def _try_later(self) -> None:
        if self.call_later is not None and not self._later:
            self._later = True
            self.call_later(RETRY_SECONDS[min(self._tries, len(RETRY_SECONDS) - 1)], self._try_again)

    def _try_again(self) -> None:
        self._later = False
        before = sum(sink.late for sink in self._queued)
        if self._written():
            self._tries = 0
            return
        # Who reads is to be waited for no longer than it takes to read what its socket holds.
        self._tries = 0 if sum(sink.late for sink in self._queued) > before else self._tries + 1
        self._try_later()

    def _lost_text(self, count: int) -> str:
        line = Line(Level.SERVICE, syslog.LOG_WARNING, "log", lost_text(count), lambda: {"lost": count})
        return self._text(line, "", None)

    # -- writing -----------------------------------------------------------------------------------

    def waits(self, session: SessionJournal, waiting: bool) -> None:
        """Note whether a session has lines that wait for a name."""
        (self._waiting.add if waiting else self._waiting.discard)(session)

    def write(self, line: Line, session_id: str = "", client: Client | None = None) -> None:
        text = self._text(line, session_id, client)
        for sink in self._sinks:
            sink.write(line.priority, text)
        for queued in self._queued:
            if queued.waiting:
                self._try_later()

    def _text(self, line: Line, session_id: str, client: Client | None) -> str:
        if self._as_json:
            return _object(line, session_id, client)
        if session_id and self.style is Style.SENDMAIL:
            return f"{session_id}: {line.text}"
        return line.text


def _object(line: Line, session_id: str, client: Client | None) -> str:
    # What cannot be forged comes first, the client's address above all (share/fail2ban).
    certain = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "event": line.event,
        "priority": line.priority,
        **({"session": session_id} if session_id else {}),
        **({"client": client.peer.text, "host": client.host} if client else {}),
    }
    fields = line.fields
    text = json.dumps({**certain, **fields, "message": line.text})
    if len(text) <= LONGEST_JSON:
        return text
    # Half of an object would be none.
    for longest in LONGEST_VALUES:
        fields = {name: _shorter(value, longest) if isinstance(value, str) else value for name, value in fields.items()}
        text = json.dumps({**certain, **fields, "message": _shorter(line.text, longest)})
        if len(text) <= LONGEST_JSON:
            return text
    return json.dumps({**certain, "message": _shorter(line.text, LONGEST_VALUES[-1])})


def _shorter(text: str, longest: int) -> str:
    """Return `text` without its middle if it is long."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}...{text[-half:]}"


class SessionJournal:
    """Writes about one session."""

    __slots__ = ("_asked", "_client", "_held", "_id", "_journal", "_named")

    def __init__(self, journal: Journal, session_id: str, peer: Peer) -> None:
        self._journal = journal
        self._id = session_id
        self._client = Client(peer)
        self._asked = False
        self._named = False
        self._held: list[Form] = []

    @property
    def id(self) -> str:
        """The session's, as all its lines have it."""
        return self._id

    @property
    def peer(self) -> Peer:
        """The client's address."""
        return self._client.peer

    def host(self) -> str | None:
        """Return the client's name, looked up and confirmed; None if it has none, or is not known yet."""
        return self._client.host

    def noted(self, note: Note) -> None:
        """Write the line for what happened in a session, if there is one: not for what limits alone want to know."""
        found = lines.of_note(note)
        if found is not None:
            level, form = found
            self._write(level, form)

    def connected(self, listener: str) -> None:
        if self._journal.level >= Level.CONNECTION:  # few ask for it, and every session has it
            self._write(Level.CONNECTION, lambda c, _: lines.connected(c, listener))

    def secured(self, version: str, cipher: str, bits: int, names: AbstractSet[str] | None) -> None:
        self._write(Level.SUMMARY, lambda c, _: lines.secured(c, version, cipher, bits, names))

    def insecure(self, why: str) -> None:
        self._write(Level.SUMMARY, lambda c, _: lines.insecure(c, why))

    def turned_away(self, why: str, octets: bytes = b"", level: int = Level.VIOLATION) -> None:
        self._write(level, lambda c, _: lines.turned_away(c, why, octets, level))

    def ended(self, counts: dict[bytes, list[int]], seconds: float, cut_short: str = "") -> None:
        self._write(Level.SUMMARY, lambda c, _: lines.summary(counts, c, seconds, cut_short))

    def _write(self, level: int, form: Form) -> None:
        if level > self._journal.level:
            return
        if self._named:
            self._journal.write(form(self._client, self._journal.style), self._id, self._client)
            return
        self._held.append(form)
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
        for form in held:
            self._journal.write(form(self._client, self._journal.style), self._id, self._client)
