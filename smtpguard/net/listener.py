"""Accepting clients: who they are, whether there is room, and then a session.

Contract: the peer is known before a session exists.  A client for which there is no room, or no
mail server that may be used, gets a 421 at once and costs no connection to the backend.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from ..config.settings import Settings
from ..journal.ids import SessionIds
from ..journal.journal import Journal
from ..policy.networks import UNIX_PEER, Peer
from ..policy.rules import Policy
from ..smtp.answers import Closing
from ..smtp.dialogue import Dialogue
from ..smtp.replies import Reply
from .backend import BackendConnector
from .session import ClientSide, Session


class Reception:
    """What the listeners of one service share."""

    def __init__(
        self, reactor: Any, settings: Settings, policy: Policy, journal: Journal, backend: BackendConnector, host: str
    ) -> None:
        self.sessions: set[Session] = set()
        self.closed_because: str | None = None
        """Set while no mail server may be used; the text is for the log."""
        self.journal = journal
        self.closing = Closing(host)
        self._reactor = reactor
        self._limits = settings.limits
        self._timeouts = settings.timeouts
        self._policy = policy
        self._backend = backend
        self._ids = SessionIds()
        self._of_peer: Counter[Peer] = Counter()
        self._terms = settings.terms

    def accept(self, client: ClientSide, listener: str) -> Session | None:
        """Make a session for a new client, or turn it away."""
        peer = _peer(client.transport.getPeer())
        journal = self.journal.session(self._ids.next(), peer)
        for option in ("setTcpNoDelay", "setTcpKeepAlive"):
            if hasattr(client.transport, option):
                getattr(client.transport, option)(True)
        refusal = self._no_room(peer)
        if refusal is not None:
            reply, why = refusal
            journal.turned_away(why)
            client.transport.write(reply.octets)
            client.transport.loseConnection()
            return None
        journal.connected(listener)
        terms = self._policy.terms_for(peer, self._terms)
        dialogue = Dialogue(self._policy.judge_for(peer, listener), self.closing, terms)

        def ended(session: Session) -> None:
            self.sessions.discard(session)
            self._of_peer[peer] -= 1
            if not self._of_peer[peer]:
                del self._of_peer[peer]

        session = Session(dialogue, journal, self._timeouts, self._reactor, client, ended)
        self.sessions.add(session)
        self._of_peer[peer] += 1
        session.begin(lambda protocol: self._backend.connect(protocol, peer))
        return session

    def _no_room(self, peer: Peer) -> tuple[Reply, str] | None:
        if self.closed_because is not None:
            return self.closing.unavailable, self.closed_because
        if len(self.sessions) >= self._limits.sessions:
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


class ClientFactory(Factory):
    """Makes the client side of sessions for one listener."""

    noisy = False

    def __init__(self, reception: Reception, listener: str) -> None:
        self._reception = reception
        self._listener = listener

    def buildProtocol(self, addr: IAddress | None) -> ClientSide:
        return ClientSide(lambda client: self._reception.accept(client, self._listener))


def _peer(address: IAddress) -> Peer:
    if isinstance(address, IPv4Address | IPv6Address):
        return Peer.parse(address.host)
    return UNIX_PEER
