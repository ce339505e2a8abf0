"""Receiving clients: whether there is room, and on what terms a session begins.

Contract: the peer is known before a session exists.  A client for which there is no room, or no
mail server that may be used, gets a 421 at once and costs no connection to the backend; where it
waits for a TLS handshake it gets none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..backends.backend import Attempt, Client
from ..config.settings import Settings
from ..journal.ids import SessionIds
from ..journal.journal import Journal, SessionJournal
from ..journal.lines import Level
from ..ledger.measures import Measure
from ..ledger.words import many
from ..net.deadlines import Deadlines
from ..policy.networks import Peer
from ..policy.rules import Policy
from ..smtp.answers import Closing
from ..smtp.dialogue import Dialogue
from ..smtp.effects import Note
from ..smtp.replies import Reply
from ..smtp.terms import Terms
from ..smtp.verdict import Facts
from .client import ClientSide, Doorway
from .observing import Observer
from .places import OwnPlaces, Places
from .session import Session

_log: Final = Logger()


class Connector(Protocol):
    """What makes connections to the backend (backend.py)."""

    def begin(self, user: Session, client: Client, failed: Callable[[Failure], None]) -> Attempt | None:
        """Connect for `client`, or say `failed`, perhaps at once."""


class Admission(Protocol):
    """Who says whether a client may enter (gatekeeper.py)."""

    def enters(self, peer: Peer) -> Measure | None:
        """Return why it may not."""

    def left(self, peer: Peer) -> None:
        """One that had entered is gone."""

    def serve_under(self, policy: Policy) -> None:
        """Go by another policy from now on."""


class Reception:
    """What the listeners of one service share (client.Host, session.Surroundings)."""

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        policy: Policy,
        journal: Journal,
        backend: Connector,
        host: str,
        places: Places | None = None,
    ) -> None:
        """`places` are those of a service of several processes."""
        self.sessions: set[Session] = set()
        self.arriving: set[ClientSide] = set()
        """Connections without a session: a PROXY header or a handshake is not complete, or they were turned away."""
        self.closed_because: str | None = None
        """Set while no mail server may be used; the text is for the log."""
        self.backend_away: Callable[[], None] = lambda: None
        """Told when a session got no connection to the backend."""
        self.observers: list[Observer] = []
        self.gate: Admission | None = None
        """Asked before a client gets a place; it has to be there before the first client."""
        self.journal = journal
        self.closing = Closing(host)
        self.clock = reactor
        self._ids = SessionIds()
        self._places = places or OwnPlaces()
        self._place_of: dict[ClientSide, Peer] = {}
        """Whose place each connection takes, from when its client is known."""
        self.fits: int | None = None
        """Clients for whom this process has descriptors, if that is known; further ones are told so."""
        self.serve_under(settings, policy, backend)

    def serve_under(self, settings: Settings, policy: Policy, backend: Connector) -> None:
        """Receive whoever comes from now on by these; who has a session keeps its judge, its terms and its times."""
        self.timeouts = settings.timeouts
        self.header_seconds = settings.timeouts.proxy_header
        self.handshake_seconds = settings.timeouts.handshake
        self.linger_seconds = settings.timeouts.linger
        self.seconds_for = settings.timeouts.by_what_is_awaited
        self.data_rate = settings.limits.data_rate
        self.data_rate_seconds = settings.limits.data_rate_seconds
        self.deadlines = Deadlines(self.clock, min(settings.timeouts.shortest, settings.limits.data_rate_seconds))
        self._limits = settings.limits
        self._policy = policy
        self._backend = backend
        self._terms = settings.terms
        self._terms_made: dict[tuple[int, Doorway], Terms] = {}
        if self.gate is not None:
            self.gate.serve_under(policy)

    @property
    def policy(self) -> Policy:
        """What clients are received under now."""
        return self._policy

    # -- before a session ----------------------------------------------------------------------------

    def arrived(self, side: ClientSide) -> bool:
        self.arriving.add(side)
        self._places.came()
        silent = side.doorway.proxied or side.doorway.implicit
        if not silent or self._places.connections() <= self._limits.sessions:
            return True
        why = f"{many(self._limits.sessions, 'connection')} (limits.sessions)"
        self._tell_turned_away(self.journal_for(side.address), why, "connections")
        side.abort()
        return False

    def gone(self, side: ClientSide) -> None:
        self.arriving.discard(side)
        self._places.went()
        peer = self._place_of.pop(side, None)
        if peer is not None:
            self._places.give_back(peer)
            if self.gate is not None:
                self.gate.left(peer)

    def call_later(self, seconds: float, act: Any) -> IDelayedCall:
        later: IDelayedCall = self.clock.callLater(seconds, act)
        return later

    def journal_for(self, peer: Peer) -> SessionJournal:
        return self.journal.session(self._ids.next(), peer)

    def disbelieves(self, side: ClientSide, why: str, octets: bytes) -> None:
        self._tell_turned_away(self.journal_for(side.address), why, "untrusted", octets)

    def admits(self, side: ClientSide, client: Client, journal: SessionJournal) -> bool:
        peer = client.peer
        if self.closed_because is not None:
            self._turn_away(side, journal, self.closing.unavailable, self.closed_because, "unavailable")
            return False
        self._places.take(peer)
        too_many = self._no_room(peer)
        if too_many is not None:
            self._places.give_back(peer)
            self._turn_away(side, journal, self.closing.busy, *too_many)
            return False
        limited = None if self.gate is None else self.gate.enters(peer)
        if limited is not None:
            self._places.give_back(peer)
            why = f"limit {limited.limit} ({limited.hardness.value})"
            # Not more than that: whoever is sent away may come as often as it likes, and the log has said it once.
            self._turn_away(side, journal, self.closing.limited, why, "limit", Level.CONNECTION)
            return False
        self._place_of[side] = peer
        return True

    def sessions_of(self, peer: Peer) -> int:
        """Return how many places, of all processes, clients with this address have taken."""
        return self._places.taken_by(peer)

    def entered(self) -> Iterable[Peer]:
        """Return the clients that have a place here."""
        return self._place_of.values()

    def _turn_away(
        self,
        side: ClientSide,
        journal: SessionJournal,
        reply: Reply,
        why: str,
        reason: str,
        level: int = Level.VIOLATION,
    ) -> None:
        """Say so to the client as well."""
        self._tell_turned_away(journal, why, reason, level=level)
        if not side.doorway.implicit or side.speaks_tls:
            side.transport.write(reply.octets)
        side.leave()

    def _tell_turned_away(
        self, journal: SessionJournal, why: str, reason: str, octets: bytes = b"", level: int = Level.VIOLATION
    ) -> None:
        """Say so to the log (`why`) and the observers (`reason`, of smtpguard.metrics.catalogue.REASONS)."""
        journal.turned_away(why, octets, level)
        for observer in self.observers:
            self._tell(observer.turned_away, journal.peer, reason)

    def _no_room(self, peer: Peer) -> tuple[str, str] | None:
        """Return why there is no place for this client, which has taken one: for the log, and for observers."""
        if self.fits is not None and len(self._place_of) >= self.fits:
            return f"{many(self.fits, 'session')}, as many as there are descriptors for (limits.sessions)", "sessions"
        taken, of_one = self._places.taken(), self._limits.sessions_per_address
        if taken > self._limits.sessions:
            return f"{many(self._limits.sessions, 'session')} (limits.sessions)", "sessions"
        if (
            taken > of_one  # else no address has more
            and peer.family
            and self._places.taken_by(peer) > of_one
            and not self._policy.is_internal(peer)
        ):
            return f"{many(of_one, 'session')} from one address (limits.sessions_per_address)", "sessions_per_address"
        return None

    # -- the session ---------------------------------------------------------------------------------

    def session_for(self, side: ClientSide, client: Client, journal: SessionJournal, facts: Facts) -> Session | None:
        if self.closed_because is not None:  # since it was admitted, while it shook hands
            self._turn_away(side, journal, self.closing.unavailable, self.closed_because, "unavailable")
            return None
        self.arriving.discard(side)
        peer, label = client.peer, side.doorway.label
        journal.connected(label)
        terms = self._terms_for(peer, side.doorway)
        session = Session(
            Dialogue(self._policy.judge_for(peer, label), self.closing, terms, facts), journal, self, side
        )
        self.sessions.add(session)
        for observer in self.observers:
            self._tell(observer.began, session, label)
        session.begin(client)
        return session

    def connect(self, user: Session, client: Client, failed: Callable[[Failure], None]) -> Attempt | None:
        return self._backend.begin(user, client, failed)

    def noted(self, session: Session, note: Note) -> None:
        for observer in self.observers:
            self._tell(observer.noted, session, note)

    def ended(self, session: Session, counts: dict[bytes, list[int]], seconds: float) -> None:
        self.sessions.discard(session)
        for observer in self.observers:
            self._tell(observer.ended, session, counts, seconds)

    def _tell(self, tell: Callable[..., None], *what: object) -> None:
        try:
            tell(*what)
        except Exception:  # noqa: BLE001 - our bug, and no session's fault
            _log.failure("an observer failed", failure=Failure())

    def _terms_for(self, peer: Peer, doorway: Doorway) -> Terms:
        """Return the terms of a client, which are the same for all that no network tells apart."""
        # Bounded as the policy's judges are: by what its networks cut out, times the listeners.
        key = self._policy.networks.classify(peer), doorway
        terms = self._terms_made.get(key)
        if terms is None:
            offer = doorway.listener.offers(self._policy.networks.names_of(peer))
            terms = self._policy.terms_for(peer, replace(self._terms, starttls=offer))
            self._terms_made[key] = terms
        return terms
