"""Receiving clients: whether there is room, and on what terms a session begins.

Contract: the peer is known before a session exists.  A client for which there is no room, or no
mail server that may be used, gets a 421 at once and costs no connection to the backend; where it
waits for a TLS handshake it gets none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import Factory

from ..config.settings import Settings
from ..journal.ids import SessionIds
from ..journal.journal import Journal, SessionJournal
from ..policy.networks import Peer
from ..policy.rules import Policy
from ..smtp.answers import Closing
from ..smtp.dialogue import Dialogue
from ..smtp.replies import Reply
from ..smtp.terms import Terms
from ..smtp.verdict import Facts
from .backend import BackendConnector, Client
from .client import ClientSide, Doorway
from .session import Session


class Reception:
    """What the listeners of one service share (smtpguard.net.client.Host)."""

    def __init__(
        self, reactor: Any, settings: Settings, policy: Policy, journal: Journal, backend: BackendConnector, host: str
    ) -> None:
        self.sessions: set[Session] = set()
        self.arriving: set[ClientSide] = set()
        """Connections without a session: a PROXY header or a handshake is not complete, or they were turned away."""
        self.closed_because: str | None = None
        """Set while no mail server may be used; the text is for the log."""
        self.backend_away: Callable[[bool], None] = lambda _gone: None
        """Told when a session got no connection to the backend (True), or lost one in the middle (False)."""
        self.journal = journal
        self.closing = Closing(host)
        self.header_seconds = settings.timeouts.proxy_header
        self.handshake_seconds = settings.timeouts.handshake
        self.linger_seconds = settings.timeouts.linger
        self._reactor = reactor
        self._limits = settings.limits
        self._timeouts = settings.timeouts
        self._policy = policy
        self._backend = backend
        self._ids = SessionIds()
        self._places: dict[ClientSide, Peer] = {}
        """Whose place each connection takes, from when its client is known."""
        self._of_peer: Counter[Peer] = Counter()
        self._terms = settings.terms
        self._terms_made: dict[tuple[int, Doorway], Terms] = {}

    # -- before a session ----------------------------------------------------------------------------

    def arrived(self, side: ClientSide) -> bool:
        self.arriving.add(side)
        silent = side.doorway.proxied or side.doorway.implicit
        if len(self.sessions) + len(self.arriving) <= self._limits.sessions or not silent:
            return True
        self.journal_for(side.address).turned_away(f"{self._limits.sessions} connections (limits.sessions)")
        side.abort()
        return False

    def gone(self, side: ClientSide) -> None:
        self.arriving.discard(side)
        peer = self._places.pop(side, None)
        if peer is not None:
            self._of_peer[peer] -= 1
            if not self._of_peer[peer]:
                del self._of_peer[peer]

    def call_later(self, seconds: float, act: Any) -> IDelayedCall:
        later: IDelayedCall = self._reactor.callLater(seconds, act)
        return later

    def journal_for(self, peer: Peer) -> SessionJournal:
        return self.journal.session(self._ids.next(), peer)

    def admits(self, side: ClientSide, client: Client, journal: SessionJournal) -> bool:
        refusal = self._no_room(client.peer)
        if refusal is not None:
            self._turn_away(side, journal, *refusal)
            return False
        self._places[side] = client.peer
        self._of_peer[client.peer] += 1
        return True

    def _turn_away(self, side: ClientSide, journal: SessionJournal, reply: Reply, why: str) -> None:
        journal.turned_away(why)
        if not side.doorway.implicit or side.speaks_tls:
            side.transport.write(reply.octets)
        side.leave()

    def _no_room(self, peer: Peer) -> tuple[Reply, str] | None:
        if self.closed_because is not None:
            return self.closing.unavailable, self.closed_because
        if len(self._places) >= self._limits.sessions:
            return self.closing.busy, f"{self._limits.sessions} sessions (limits.sessions)"
        if (
            peer.family
            and self._of_peer[peer] >= self._limits.sessions_per_address
            and not self._policy.is_internal(peer)
        ):
            return (
                self.closing.busy,
                f"{self._limits.sessions_per_address} sessions from one address (limits.sessions_per_address)",
            )
        return None

    # -- the session ---------------------------------------------------------------------------------

    def session_for(self, side: ClientSide, client: Client, journal: SessionJournal, facts: Facts) -> Session | None:
        if self.closed_because is not None:  # since it was admitted, while it shook hands
            self._turn_away(side, journal, self.closing.unavailable, self.closed_because)
            return None
        self.arriving.discard(side)
        peer, label = client.peer, side.doorway.label
        journal.connected(label)
        terms = self._terms_for(peer, side.doorway)
        dialogue = Dialogue(self._policy.judge_for(peer, label), self.closing, terms, facts)

        session = Session(dialogue, journal, self._timeouts, self._reactor, side, self.sessions.discard)
        session.backend_away = lambda gone: self.backend_away(gone)
        self.sessions.add(session)
        session.begin(lambda user: self._backend.connect(user, client))
        return session

    def _terms_for(self, peer: Peer, doorway: Doorway) -> Terms:
        """Return the terms of a client, which are the same for all that no network tells apart."""
        # Bounded as the policy's judges are: by what its networks cut out, times the listeners.
        key = self._policy.networks.classify(peer), doorway
        terms = self._terms_made.get(key)
        if terms is None:
            offer = doorway.listener.offers(self._policy.networks.names_of(peer))
            terms = self._policy.terms_for(peer, evolve(self._terms, starttls=offer))
            self._terms_made[key] = terms
        return terms


class ClientFactory(Factory):
    """Makes the client side of sessions for one listener."""

    noisy = False

    def __init__(self, reception: Reception, doorway: Doorway) -> None:
        self._reception = reception
        self._doorway = doorway

    def buildProtocol(self, addr: IAddress | None) -> ClientSide:
        return ClientSide(self._reception, self._doorway)
