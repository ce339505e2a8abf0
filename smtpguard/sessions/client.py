"""One client's connection: who it is, whether it is encrypted, and then a session.

Contract: a `ClientSide` begins with what its listener demands, in this order: a PROXY header from a
balancer that is trusted, a TLS handshake.  Nothing is sent before both are there, each has its time,
and only then is there a session, which knows the client by the address that the header carried.  Later
the session may ask for TLS itself (STARTTLS).  What follows a header, or comes in the same segment as
the end of a handshake, goes where all that comes later goes.
"""

from __future__ import annotations

import ssl
from functools import partial
from typing import Any, Final, Protocol

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import classImplements

from ..backends.backend import Client
from ..config.listener import Listener
from ..identity.origin import Origin
from ..identity.proxy_protocol import Header, HeaderFault, HeaderReader
from ..journal.journal import SessionJournal
from ..net.secure import SecureTransport
from ..net.wires import deliver, tune
from ..policy.networks import UNIX_PEER, UNKNOWN_PEER, NetworkTable, Peer, parse_block
from ..smtp.verdict import Facts
from ..tls.engine import TlsEngine, TlsFault

LOCAL: Final = Peer(0, 0, "local")
"""A balancer that speaks for itself, to see whether the guard is there: it is in no network."""


class Doorway:
    """What one listener demands, and the certificates that it shows."""

    def __init__(self, listener: Listener, context: ssl.SSLContext | None) -> None:
        self.listener = listener
        self.label = listener.label
        self.proxied = listener.proxy_protocol == "required"
        self.implicit = listener.tls == "implicit"
        self.context = context
        """For TLS with clients, None without certificates; replaced when they are read again."""
        self._trusted = NetworkTable({"trusted": map(parse_block, listener.trusted)})

    def trusts(self, peer: Peer) -> bool:
        """True for a balancer whose headers are believed."""
        return bool(self._trusted.classify(peer))


class ClientSession(Protocol):
    """What a session is told of its client."""

    def client_sent(self, octets: bytes) -> None:
        """Octets came; inside TLS, what was in them."""

    def client_secured(self, engine: TlsEngine) -> None:
        """The handshake that the session asked for is done."""

    def client_insecure(self, why: str) -> None:
        """It failed."""

    def client_finished(self) -> None:
        """It sends no more, and may still read."""

    def client_lost(self) -> None:
        """It is gone."""


class Host(Protocol):
    """Who receives clients."""

    def arrived(self, side: ClientSide) -> bool:
        """A connection has been made; False if there is no room."""

    def journal_for(self, peer: Peer) -> SessionJournal:
        """Return the log of a client that is known by now."""

    def disbelieves(self, side: ClientSide, why: str, octets: bytes) -> None:
        """Tell of a connection whose other end nobody may be: its PROXY header is not there, or not to be believed."""

    def admits(self, side: ClientSide, client: Client, journal: SessionJournal) -> bool:
        """Keep a place for a client that is known by now; False if there is none, and it has been told why."""

    def session_for(
        self, side: ClientSide, client: Client, journal: SessionJournal, facts: Facts
    ) -> ClientSession | None:
        """Make the session, or None if there can be none any more."""

    def call_later(self, seconds: float, act: Any) -> IDelayedCall:
        """Set a timer."""

    def gone(self, side: ClientSide) -> None:
        """The connection is over."""

    header_seconds: float
    handshake_seconds: float
    linger_seconds: float


class ClientSide:
    """The guard's end of one client's connection (a Twisted protocol)."""

    __slots__ = (
        "_client", "_header", "_host", "_journal", "_raw", "_secure", "_session", "_timer", "doorway", "transport",
    )  # fmt: skip

    def __init__(self, host: Host, doorway: Doorway) -> None:
        self.transport: Any = None
        self.doorway = doorway
        self._host = host
        self._session: ClientSession | None = None
        self._header: HeaderReader | None = None
        self._secure: SecureTransport | None = None
        self._raw: Any = None
        self._client: Client | None = None
        self._journal: SessionJournal | None = None
        self._timer: IDelayedCall | None = None

    @property
    def label(self) -> str:
        """The listener's."""
        return self.doorway.label

    @property
    def speaks_tls(self) -> bool:
        """True if what is written now goes through TLS."""
        return self._secure is not None and self._secure.engine.established

    # -- what the transport tells --------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        self._raw = self.transport = transport
        tune(self.transport)
        if not self._host.arrived(self):
            return
        if not self.doorway.proxied:
            self._known(_client_of(self.transport))
            return
        if not self.doorway.trusts(self.address):
            self._drop("its PROXY headers are not to be believed (trusted)")
            return
        self._header = HeaderReader()
        self._timer = self._host.call_later(self._host.header_seconds, self._no_header)

    def dataReceived(self, data: bytes) -> None:
        if self._secure is not None:
            self._secure.received(data)
        else:
            self._received(data)

    def readConnectionLost(self) -> None:
        """The client sends no more (RFC 5321 has no half-close, `printf ... | nc` has)."""
        if self._session is not None:
            self._session.client_finished()
        else:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """We send no more: the end of a lingering close."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._settle()
        session, self._session = self._session, None
        if session is not None:
            session.client_lost()
        self._host.gone(self)

    def _received(self, octets: bytes) -> None:
        if self._session is not None:
            self._session.client_sent(octets)
        elif self._header is not None:
            self._read_header(self._header, octets)

    @property
    def address(self) -> Peer:
        """Who is at the other end of the socket: the client, or a balancer."""
        return _peer(self._raw.getPeer())

    def abort(self) -> None:
        """Let go at once of a connection that has no session."""
        self._settle()
        self._raw.abortConnection()

    def leave(self) -> None:
        """Let go of a connection that has no session, when what was said has left or after a while."""
        self._settle()
        self._timer = self._host.call_later(self._host.linger_seconds, self._raw.abortConnection)
        self.transport.loseConnection()

    # -- who it is -----------------------------------------------------------------------------------

    def _read_header(self, reader: HeaderReader, octets: bytes) -> None:
        try:
            header = reader.feed(octets)
        except HeaderFault as fault:
            self._drop(f"no PROXY header: {fault.what}", fault.octets)
            return
        if header is None:
            return
        self._header = None
        self._settle()
        self._known(_carried(header, self._raw))
        if reader.rest and not self._raw.disconnecting:
            self.dataReceived(reader.rest)

    def _no_header(self) -> None:
        self._timer = None
        self._drop(f"no PROXY header within {self._host.header_seconds:g} s")

    def _drop(self, why: str, octets: bytes = b"") -> None:
        """Let go of a connection whose other end nobody may be, without a word (proxy-protocol.txt, 2)."""
        self._header = None
        self._host.disbelieves(self, why, octets)
        self.abort()

    def _known(self, client: Client) -> None:
        self._client = client
        self._journal = self._host.journal_for(client.peer)
        if not self._host.admits(self, client, self._journal):
            return
        if self.doorway.implicit:
            self.begin_tls()
        else:
            self._begin(Facts())

    def _begin(self, facts: Facts) -> None:
        assert self._client is not None
        assert self._journal is not None
        self._session = self._host.session_for(self, self._client, self._journal, facts)
        if self._session is not None and self._secure is None:
            deliver(self._raw, self._session.client_sent)

    # -- encryption ----------------------------------------------------------------------------------

    def begin_tls(self) -> None:
        """Begin TLS, as the server."""
        assert self.doorway.context is not None  # STARTTLS is offered, and `tls: implicit` accepted, only with one
        engine = TlsEngine(self.doorway.context, server=True)
        self._secure = self.transport = SecureTransport(
            self._raw,
            engine,
            on_established=partial(self._established, engine),
            on_plain=self._received,
            on_finished=self.readConnectionLost,
            on_fault=self._no_tls,
        )
        deliver(self._raw, self._secure.received)
        if self._session is None:
            self._timer = self._host.call_later(self._host.handshake_seconds, self._no_handshake)
        self._secure.begin()

    def _established(self, engine: TlsEngine) -> None:
        if self._session is not None:
            self._session.client_secured(engine)
            return
        self._settle()
        assert self._journal is not None
        self._journal.secured(engine.version, engine.cipher, engine.bits, verified_names(engine))
        self._begin(Facts(tls=True, tls_names=names_of(engine)))

    def _no_tls(self, fault: TlsFault) -> None:
        if self._session is not None:
            self._session.client_insecure(fault.what)
        elif self._journal is not None:
            self._journal.insecure(fault.what)
            self.leave()

    def _no_handshake(self) -> None:
        self._timer = None
        assert self._journal is not None
        self._journal.insecure(f"no handshake within {self._host.handshake_seconds:g} s")
        self.abort()

    def _settle(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


# Said here and not by a decorator, so that mypyc makes a class of it that is as fast as C's.
classImplements(ClientSide, IProtocol, IHalfCloseableProtocol)  # type: ignore[misc]


def verified_names(engine: TlsEngine) -> frozenset[str] | None:
    """Return the names in the client's certificate; None unless it was verified."""
    return frozenset(engine.peer.names) if engine.peer is not None else None


def names_of(engine: TlsEngine) -> frozenset[str]:
    """Return the names that rules may look at."""
    return verified_names(engine) or frozenset()


def _peer(address: Any) -> Peer:
    return Peer.parse(address.host) if isinstance(address, IPv4Address | IPv6Address) else UNIX_PEER


def _client_of(transport: Any) -> Client:
    """Return the client at the other end of a socket."""
    name = getattr(transport, "peername", None)  # without an object for what is an address and a port
    peer = _peer(transport.getPeer()) if name is None else _named(name())
    return Client(peer, partial(_origin_of, transport))


def _named(name: Any) -> Peer:
    """Return the peer with the name that the socket gives it: a tuple, but for unix sockets."""
    return Peer.parse(name[0]) if isinstance(name, tuple) else UNIX_PEER


def _origin_of(transport: Any) -> Origin | None:
    there, here = transport.getPeer(), transport.getHost()
    peer = _peer(there)
    return Origin(peer, there.port, _peer(here), here.port) if peer.family else None


def _carried(header: Header, transport: Any) -> Client:
    """Return the client of whom a header tells."""
    origin = header.origin
    if origin is not None:
        return Client(origin.peer, lambda: origin)
    if header.local:
        # The balancer itself: that is what the backend may know.  No rule takes it for a client inside.
        return Client(LOCAL, partial(_origin_of, transport))
    return Client(UNKNOWN_PEER, lambda: None)
