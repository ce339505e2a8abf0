"""Who is told of what happens in sessions: metrics, limits, incidents.

Contract: an `Observer` is told in the turn in which it happens, in order, and makes nothing wait.  What it raises is
our bug: it is logged (smtpguard.sessions.listener), and the session goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..policy.networks import Peer
from ..smtp.effects import Note

if TYPE_CHECKING:
    from .session import Session


class Observer(Protocol):
    """Told of what happens."""

    def began(self, session: Session, listener: str) -> None:
        """A client was received at a listener (its label), and its session begins."""

    def turned_away(self, peer: Peer, why: str) -> None:
        """A client got no session; `why` is one of smtpguard.metrics.catalogue.REASONS."""

    def noted(self, session: Session, note: Note) -> None:
        """Something happened that the log may tell, too."""

    def ended(self, session: Session, counts: dict[bytes, list[int]], seconds: float) -> None:
        """The session is over; `counts` is of smtpguard.smtp.tally."""
