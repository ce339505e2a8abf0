"""The connections to the mail server: from where, and what is said before the session.

Contract: `BackendConnector.connect` makes a connection for one client, such as `backend` in the settings
wants it: from the address that the client's network gets or from the client's own, with a PROXY header in front,
encrypted, introduced by XCLIENT.  Its `BackendUser` hears of it when there is a transport, then the
backend's octets, the first of which are the banner.  A client that the backend cannot be shown gets
no connection.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, Final, Protocol

from attrs import frozen
from twisted.internet import protocol
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from ..config.endpoints import parse_client
from ..config.settings import Settings
from ..identity.introduction import (
    BeginTls,
    Effect,
    Encrypt,
    FindName,
    Introduced,
    Introduction,
    NotIntroduced,
    Say,
)
from ..identity.origin import Origin
from ..identity.proxy_protocol import write_v1, write_v2
from ..journal.journal import FindName as Finder
from ..policy.networks import NetworkTable, Peer
from ..smtp.effects import BackendFault
from ..tls.engine import TlsEngine, TlsFault
from . import endpoints
from .secure import SecureTransport
from .transparent import TransparentEndpoint, missing

PLAIN_SECONDS: Final = 600.0
"""After a handshake that failed under `starttls: opportunistic`, so long none is tried, and mail goes on."""


class BackendUser(Protocol):
    """Whose connection it is."""

    def backend_connected(self, backend: BackendSide) -> None:
        """There is a transport; it may be closed, and what it is told to send waits for the introduction."""

    def backend_sent(self, octets: bytes) -> None:
        """The backend said something to the client."""

    def backend_refused(self, fault: BackendFault) -> None:
        """The introduction failed; the connection is closed."""

    def backend_lost(self) -> None:
        """The connection is gone."""


@frozen
class Client:
    """For whom a connection is made."""

    peer: Peer
    """As the policy knows it."""
    origin: Origin | None
    """As the backend is to be shown it; None if there is nothing to show."""


class Unshowable(Exception):
    """The client has no address that the backend could be shown."""


class BackendSide(protocol.Protocol):
    """The guard's end of one connection to the mail server."""

    transport: Any

    def __init__(self, user: BackendUser, clock: IReactorTime) -> None:
        self._user = user
        self._clock = clock
        self._leaving: IDelayedCall | None = None
        self._raw: Any = None
        self._secure: SecureTransport | None = None
        self._handshake: IDelayedCall | None = None
        self.header = b""
        """What is sent before all else."""
        self.introduction: Introduction | None = None
        self.find_name: Callable[[Callable[[str | None], None]], None] = lambda found: found(None)
        self.engine: Callable[[], TlsEngine] | None = None
        self.handshake_seconds = 60.0
        self.handshake_failed: Callable[[], None] = lambda: None

    def leave(self, seconds: float) -> None:
        """Close, in order if the backend reads what it was sent, and otherwise after `seconds`."""
        self._leaving = self._clock.callLater(seconds, self.transport.abortConnection)
        self.transport.loseConnection()

    # -- what the transport tells --------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._raw = self.transport
        if self.header:
            self.transport.write(self.header)
        self._user.backend_connected(self)

    def dataReceived(self, data: bytes) -> None:
        if self._secure is not None:
            self._secure.received(data)
        else:
            self._received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._shaking_hands and self._leaving is None:
            self.handshake_failed()
        for timer in (self._leaving, self._handshake):
            if timer is not None and timer.active():
                timer.cancel()
        self._user.backend_lost()

    # -- the introduction ----------------------------------------------------------------------------

    def _received(self, octets: bytes) -> None:
        if self.introduction is None:
            self._user.backend_sent(octets)
        else:
            self._perform(self.introduction.from_backend(octets))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Say(octets):
                    self.transport.write(octets)
                case BeginTls():
                    self._begin_tls()
                case FindName():
                    self.find_name(self._named)
                case Introduced(banner):
                    self.introduction = None
                    self._user.backend_sent(banner)
                case NotIntroduced(what, octets):
                    self._refused(what, octets)

    def _named(self, name: str | None) -> None:
        if self.introduction is not None:
            self._perform(self.introduction.named(name))

    def _refused(self, what: str, octets: bytes = b"") -> None:
        self.transport.abortConnection()
        self._user.backend_refused(BackendFault(what, octets))

    # -- encryption ----------------------------------------------------------------------------------

    def _begin_tls(self) -> None:
        assert self.engine is not None  # who says STARTTLS has a context for it
        self._secure = self.transport = SecureTransport(
            self._raw,
            self.engine(),
            on_established=self._established,
            on_plain=self._received,
            on_finished=lambda: self.transport.loseConnection(),
            on_fault=self._no_tls,
        )
        self._handshake = self._clock.callLater(self.handshake_seconds, self._too_slow)
        self._secure.begin()

    def _established(self) -> None:
        if self._handshake is not None and self._handshake.active():
            self._handshake.cancel()
        if self.introduction is not None:
            self._perform(self.introduction.tls_established())

    @property
    def _shaking_hands(self) -> bool:
        return self._handshake is not None and self._handshake.active()

    def _too_slow(self) -> None:
        self.handshake_failed()
        self._refused("no end of the TLS handshake in time")

    def _no_tls(self, fault: TlsFault) -> None:
        if self._shaking_hands:
            self.handshake_failed()
            self._user.backend_refused(BackendFault(f"TLS: {fault.what}", b""))


class BackendConnector:
    """Knows the one backend."""

    def __init__(
        self, reactor: Any, settings: Settings, networks: NetworkTable, host: str, context: ssl.SSLContext | None
    ) -> None:
        """`host` is the guard's name in an EHLO; `context` is for `backend.starttls`, None without it."""
        self._reactor = reactor
        self._networks = networks
        self._host = host
        self.context = context
        self.find_name: Finder = lambda _peer, found: found(None)
        self._settings = settings.backend
        self._bounds = settings.terms.bounds
        self._timeouts = settings.timeouts
        seconds, endpoint, bind = settings.timeouts.connect, settings.backend.endpoint, settings.backend.bind
        self._by_network = [
            (networks.bits_of(name), endpoints.client(reactor, endpoint, address, seconds))
            for name, address in bind.items()
            if name != "default"
        ]
        self._for_outsiders = endpoints.client(reactor, endpoint, bind.get("default"), seconds)
        self._plain_until = 0.0

    @property
    def shows_clients(self) -> bool:
        """True if the backend is told who the client is."""
        return self._settings.identity != "none"

    def connect(self, user: BackendUser, client: Client) -> Deferred[Any]:
        """Connect for `client`; the result fails if that cannot be, and may be cancelled."""
        try:
            side = self._introduced(user, client)
            endpoint = self._endpoint(client)
        except Unshowable as reason:
            return fail(reason)
        connecting: Deferred[Any] = endpoint.connect(Factory.forProtocol(lambda: side))
        return connecting

    def _endpoint(self, client: Client) -> Any:
        if self._settings.identity == "transparent":
            return self._transparent(client)
        if self._by_network:
            bits = self._networks.classify(client.peer)
            return next((e for bit, e in self._by_network if bits & bit), self._for_outsiders)
        return self._for_outsiders

    def _transparent(self, client: Client) -> TransparentEndpoint:
        if client.origin is None or not client.origin.peer.family:
            raise Unshowable("the client has no address that could be the source of a connection")
        peer = client.origin.peer
        for text in filter(None, (self._settings.endpoint, self._settings.endpoint_ipv6)):
            endpoint = parse_client(text)
            host, port = endpoint.option("host", 0) or "", endpoint.option("port", 1) or ""
            if Peer.parse(host).family == peer.family:
                seconds = float(endpoint.options.get("timeout", self._timeouts.connect))
                return TransparentEndpoint(self._reactor, host, int(port), peer.text, seconds)
        raise Unshowable(f"an IPv{peer.family} client cannot connect to {self._settings.endpoint}")

    def _introduced(self, user: BackendUser, client: Client) -> BackendSide:
        side = BackendSide(user, self._reactor)
        identity = self._settings.identity
        if identity in ("proxy-v1", "proxy-v2"):
            if client.origin is None:
                # Behind a header without an address the backend would take the guard for the client.
                raise Unshowable("the client has no address that a PROXY header could carry")
            side.header = (write_v1 if identity == "proxy-v1" else write_v2)(client.origin)
        encrypt = Encrypt(self._settings.starttls)
        if encrypt is Encrypt.IF_OFFERED and self._reactor.seconds() < self._plain_until:
            encrypt = Encrypt.NEVER
        if identity == "xclient" or encrypt is not Encrypt.NEVER:
            side.introduction = Introduction(
                self._host, encrypt, client.origin, tells=identity == "xclient", bounds=self._bounds
            )
            side.find_name = lambda found: self.find_name(client.peer, found)
            side.engine = self._engine
            side.handshake_seconds = self._timeouts.handshake
            side.handshake_failed = self._stay_plain
        return side

    def _engine(self) -> TlsEngine:
        assert self.context is not None
        return TlsEngine(self.context, server=False, name=self._settings.certified_name or None)

    def _stay_plain(self) -> None:
        self._plain_until = self._reactor.seconds() + PLAIN_SECONDS

    def unusable(self) -> list[str]:
        """Return what stands in the way of the source addresses on this host, in words."""
        if self._settings.identity == "transparent":
            return sorted({*map(missing, self._settings.families)} - {""})
        return [
            f"bind: {name}: {address} cannot be used on this host: {reason}"
            for name, address in self._settings.bind.items()
            if (reason := endpoints.unbindable(address))
        ]
