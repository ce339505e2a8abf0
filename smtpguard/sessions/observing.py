"""Who is told of what happens in sessions: metrics, limits, incidents.

Contract: an `Observer` is told in the turn in which it happens, in order, and makes nothing wait.  What it raises is
our bug: it is logged (smtpguard.sessions.listener), and the session goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from ..policy.networks import Peer
from ..smtp.effects import Note

if TYPE_CHECKING:
    from .session import Session


class Observer(Protocol):
    """Told of what happens."""

    def began(self, session: Session, listener: str) -> None:
        """A client was received at a listener (its label), and its session begins."""

    def turned_away(self, peer: Peer, why: str) -> None:
        """A client got no session; `why` is one of TURNED_AWAY."""

    def noted(self, session: Session, note: Note) -> None:
        """Something happened that the log may tell, too."""

    def ended(self, session: Session, counts: dict[bytes, list[int]], seconds: float) -> None:
        """The session is over; `counts` is of smtpguard.smtp.tally."""


TURNED_AWAY: Final = frozenset({"sessions", "sessions_per_address", "unavailable", "limit", "untrusted", "connections"})
"""Reasons, as metrics have them for a label: `limits.sessions`, `limits.sessions_per_address`, no mail server that may
be used, a limit of the policy, a PROXY header that is not believed, `limits.sessions` before there is a client."""
