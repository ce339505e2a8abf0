"""Looking whether a backend is up: it greets, and it listens.

Contract: `probe` makes one connection, as the guard makes it for an outsider, and reports; it asks for nothing, and
leaves with QUIT.  sendmail logs every connection that has asked for nothing ("did not issue MAIL/EXPN/VRFY/ETRN"), and
every sender, but not a MAIL that names none: so that is what it is sent, and it refuses it (tests/backends).  Other
servers keep quiet about who only says QUIT.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from ..journal.lines import printable
from ..ledger.words import many
from ..smtp.bounds import Bounds
from ..smtp.effects import BackendFault
from ..smtp.replies import BackendReply, ReplyFault, ReplyReader
from .backend_side import LEAVE_SECONDS, BackendSide, BackendUser
from .blame import is_ours, not_connected

_LIKE_SENDMAIL: Final = frozenset({"default", "sendmail", "sendmail-legacy"})
"""Profiles whose servers are asked as sendmail wants it."""


@frozen
class Finding:
    """What a probe has found."""

    up: bool
    said: str = ""
    """What was wrong, if anything."""
    away: bool = False
    """True if there was no connection at all."""
    ours: bool = False
    """True if that was this host's fault, so that nothing was found."""


def commands_for(profile: str, host: str) -> tuple[str, ...]:
    """Return what is said to a backend of this profile behind its banner."""
    return (f"HELO {host}", "MAIL", "QUIT") if profile in _LIKE_SENDMAIL else ("QUIT",)


def probe(
    reactor: Any, connect: Callable[[BackendUser], Deferred[Any]], commands: tuple[str, ...], seconds: float
) -> Deferred[Finding]:
    """Look; the result is a Finding in every case, and it takes `seconds` at most."""
    probing = _Probing(commands)
    timer = reactor.callLater(seconds, probing.late, f"no banner within {many(f'{seconds:g}', 'second')}")

    def settled(finding: Finding) -> Finding:
        if timer.active():
            timer.cancel()
        connecting.cancel()  # of no effect on a connection that was made
        return finding

    connecting = maybeDeferred(connect, probing)
    connecting.addErrback(probing.not_connected)
    return probing.found.addCallback(settled)


class _Probing:
    def __init__(self, commands: tuple[str, ...]) -> None:
        bounds = Bounds()
        self.found: Deferred[Finding] = Deferred()
        self._reader = ReplyReader(bounds.reply_line, bounds.reply)
        self._commands = list(commands)
        self._asked = "the connection"
        self._backend: BackendSide | None = None

    def not_connected(self, failure: Failure) -> None:
        self._report(Finding(False, not_connected(failure), away=True, ours=is_ours(failure)))

    def late(self, why: str) -> None:
        self._report(Finding(False, why, away=self._backend is None))

    # -- smtpguard.backends.backend_side.BackendUser ------------------------------------------------------

    def backend_connected(self, backend: BackendSide) -> None:
        if self.found.called:
            backend.transport.abortConnection()
        else:
            self._backend = backend

    def backend_refused(self, fault: BackendFault) -> None:
        self._report(Finding(False, fault.what))

    def backend_sent(self, octets: bytes) -> None:
        self._reader.append(octets)
        try:
            while not self.found.called and (reply := self._reader.take()) is not None:
                self._replied(reply)
        except ReplyFault as fault:
            self._report(Finding(False, f"{fault.what} to {self._asked}"))

    def backend_lost(self) -> None:
        self._backend = None
        # Who was told to QUIT may close without a word.
        self._report(Finding(not self._commands, f"connection lost after {self._asked}"))

    # ------------------------------------------------------------------------------------------------

    def _replied(self, reply: BackendReply) -> None:
        greets = self._asked == "the connection"
        if reply.code != 220 if greets else reply.code == 421:
            said = printable(reply.octets.strip())
            self._report(Finding(False, f"banner: {said}" if greets else f"said to {self._asked}: {said}"))
        elif self._reader.pending:
            self._report(Finding(False, f"surplus reply behind that to {self._asked}"))
        elif self._commands:
            self._asked = self._commands.pop(0)
            if self._backend is not None:
                self._backend.transport.write(self._asked.encode("ascii") + b"\r\n")
        else:
            self._report(Finding(True))

    def _report(self, finding: Finding) -> None:
        if self.found.called:
            return
        backend, self._backend = self._backend, None
        if backend is not None:
            if finding.up or self._asked != "the connection":
                backend.leave(LEAVE_SECONDS)
            else:
                backend.transport.abortConnection()
        self.found.callback(finding)
