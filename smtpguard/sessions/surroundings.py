"""Whom a session deals with: its client's side, its backend's side, and what all sessions of a service share.

Contract: protocols alone, as far as a session needs them; who fulfils them is in client.py, backend_side.py and
listener.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.python.failure import Failure

from ..backends.backend import Attempt, Client
from ..config.settings import Timeouts
from ..net.deadlines import Deadlines
from ..smtp.effects import Note
from ..smtp.phases import Awaited

if TYPE_CHECKING:
    from .session import Session


class Secureable(Protocol):
    """The client's side, as far as a session needs it."""

    transport: Any

    @property
    def label(self) -> str:
        """The listener's."""

    def begin_tls(self) -> None:
        """Begin TLS; `Session.client_secured` or `client_insecure` follows."""


class Backend(Protocol):
    """The backend's side (backend_side.py), as far as a session needs it."""

    transport: Any

    @property
    def endpoint(self) -> str:
        """Where it is."""

    def leave(self, seconds: float) -> None:
        """Close, in order if it reads what it was sent, and otherwise after `seconds`."""

    def broke_off(self) -> None:
        """It was lost in the middle of the session."""


class Surroundings(Protocol):
    """What the sessions of one service share (listener.py)."""

    timeouts: Timeouts
    seconds_for: dict[Awaited, float]
    """What is waited for to how long; what is not in it is waited for without end."""
    deadlines: Deadlines
    clock: Any
    """An IReactorTime."""
    data_rate: float
    """Octets of a message that have to come in a second, on an average over `data_rate_seconds`; 0 if none have to."""
    data_rate_seconds: float

    def connect(self, user: Session, client: Client, failed: Callable[[Failure], None]) -> Attempt | None:
        """Connect to the backend, or say `failed`, perhaps at once."""

    def backend_away(self) -> None:
        """No connection to the backend could be made."""

    def noted(self, session: Session, note: Note) -> None:
        """Something happened that the log may tell."""

    def ended(self, session: Session, counts: dict[bytes, list[int]], seconds: float) -> None:
        """The session is over and its client is gone; `counts` is of smtpguard.smtp.tally."""
