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
from twisted.internet.defer import Deferred

from ..journal.lines import printable
from ..ledger.words import many
from ..smtp.replies import BackendReply
from .backend_side import BackendUser
from .conversation import BANNER, Conversation, converse

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
    probing = _Probing([*commands])
    late = f"no banner within {many(f'{seconds:g}', 'second')}"
    return converse(reactor, connect, probing, seconds, late).addCallback(
        lambda why: Finding(not why, why, away=not probing.reached, ours=probing.ours)
    )


class _Probing(Conversation):
    quits_unasked = False

    def replied(self, reply: BackendReply) -> str:
        greets = self.asked == BANNER
        if reply.code == 220 if greets else reply.code != 421:
            return ""
        said = printable(reply.octets.strip())
        return f"banner: {said}" if greets else f"said to {self.asked}: {said}"
