"""The connections to the mail server: from where, and what opens them.

Contract: a `BackendConnector` knows one of the endpoints; `connect` makes a connection for one client, such as
`backend` in the settings wants it: from the address that the client's network gets or from the client's own, with a
PROXY header in front, encrypted, introduced by XCLIENT (backend_side.py).  A client that the backend
cannot be shown gets no connection.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from ipaddress import IPv4Address, ip_address
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from ..config.endpoints import parse_client
from ..config.settings import Settings
from ..identity.introduction import Encrypt, Introduction
from ..identity.origin import Origin
from ..identity.proxy_protocol import write_v1, write_v2
from ..journal.journal import FindName as Finder
from ..net import endpoints, sockets
from ..net.deadlines import Deadlines
from ..net.factories import Making
from ..policy.networks import NetworkTable, Peer
from ..tls.engine import TlsEngine
from ..transport.connecting import ClientEndpoint
from .backend_side import NOTHING_FIRST, BackendSide, BackendUser, Opening, Usage
from .transparent import TransparentEndpoint

PLAIN_SECONDS: Final = 600.0
"""After a handshake that failed under `starttls: opportunistic`, so long none is tried, and mail goes on."""


class Client:
    """For whom a connection is made."""

    __slots__ = ("_find_origin", "peer")

    def __init__(self, peer: Peer, find_origin: Callable[[], Origin | None]) -> None:
        self.peer: Final = peer
        """As the policy knows it."""
        self._find_origin = find_origin  # most backends are shown nothing, and then it need not be found

    @property
    def origin(self) -> Origin | None:
        """As the backend is to be shown it; None if there is nothing to show."""
        return self._find_origin()


class Attempt(Protocol):
    """A connection that is being made."""

    def cancel(self) -> None:
        """Give it up; harmless when it has been made."""


class Unshowable(Exception):
    """The client has no address that the backend could be shown."""


class BackendConnector:
    """Knows one backend."""

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        networks: NetworkTable,
        host: str,
        context: ssl.SSLContext | None,
        endpoint: str = "",
    ) -> None:
        """`host` is the guard's name in an EHLO; `context` is for `backend.starttls`, None without it.

        `endpoint` is one of those in the settings, the first if empty.
        """
        self.endpoint = endpoint or settings.backend.endpoint
        self.usage = Usage(self.endpoint)
        """Of the connections that were begun for sessions."""
        self._reactor = reactor
        self._networks = networks
        self._host = host
        self.context = context
        self.find_name: Finder = lambda _peer, found: found(None)
        self._settings = settings.backend
        self._bounds = settings.terms.bounds
        self._timeouts = settings.timeouts
        seconds, bind = settings.timeouts.connect, settings.backend.bind
        self._plain = settings.backend.identity == "none" and settings.backend.starttls == Encrypt.NEVER.value
        self._deadlines = Deadlines(reactor, min(settings.timeouts.linger, settings.timeouts.handshake))
        self._by_network = [
            (networks.bits_of(name), endpoints.client(reactor, self.endpoint, address, seconds))
            for name, address in bind.items()
            if name != "default"
        ]
        self._for_outsiders = endpoints.client(reactor, self.endpoint, bind.get("default"), seconds)
        self._plain_until = 0.0

    def connect(self, user: BackendUser, client: Client) -> Deferred[Any]:
        """Connect for `client`; the result fails if that cannot be, and may be cancelled."""
        try:
            side, endpoint = self._side(user, client), self._endpoint(client)
        except Unshowable as reason:
            return fail(reason)
        connecting: Deferred[Any] = endpoint.connect(Making(lambda: side))
        return connecting

    def begin(
        self, user: BackendUser, client: Client, failed: Callable[[Failure], None], stays: bool = True
    ) -> Attempt | None:
        """Connect for `client`, or say `failed`, perhaps at once; the result may be cancelled.

        Like `connect`, but that it costs less where the transport has a way that does, and counts.  `stays` is false
        where `user` hands the connection on.
        """
        try:
            side, endpoint = self._side(user, client, self.usage, stays), self._endpoint(client)
        except Unshowable as reason:
            failed(Failure(reason))
            return None
        if isinstance(endpoint, ClientEndpoint):
            return endpoint.begin(side, failed)
        connecting: Deferred[Any] = endpoint.connect(Making(lambda: side))
        return connecting.addErrback(failed)

    def _side(self, user: BackendUser, client: Client, usage: Usage | None = None, stays: bool = True) -> BackendSide:
        opening = NOTHING_FIRST if self._plain else self._opening(client)
        return BackendSide(user, self._deadlines, opening, usage, stays)

    def _endpoint(self, client: Client) -> Any:
        if self._settings.identity == "transparent":
            return self._transparent(client)
        if self._by_network:
            bits = self._networks.classify(client.peer)
            return next((e for bit, e in self._by_network if bits & bit), self._for_outsiders)
        return self._for_outsiders

    def _transparent(self, client: Client) -> TransparentEndpoint:
        peer = _source(client)
        for text in filter(None, (self.endpoint, self._settings.endpoint_ipv6)):
            endpoint = parse_client(text)
            host, port = endpoint.option("host", 0) or "", endpoint.option("port", 1) or ""
            if Peer.parse(host).family == peer.family:
                seconds = float(endpoint.options.get("timeout", self._timeouts.connect))
                return TransparentEndpoint(self._reactor, host, int(port), peer.text, seconds)
        raise Unshowable(f"an IPv{peer.family} client cannot connect to {self.endpoint}")

    def _opening(self, client: Client) -> Opening:
        identity = self._settings.identity
        header, introduction = b"", None
        if identity in ("proxy-v1", "proxy-v2"):
            if client.origin is None:
                # Behind a header without an address the backend would take the guard for the client.
                raise Unshowable("the client has no address that a PROXY header could carry")
            header = (write_v1 if identity == "proxy-v1" else write_v2)(client.origin)
        encrypt = Encrypt(self._settings.starttls)
        if encrypt is Encrypt.IF_OFFERED and self._reactor.seconds() < self._plain_until:
            encrypt = Encrypt.NEVER
        if identity == "xclient" or encrypt is not Encrypt.NEVER:
            introduction = Introduction(
                self._host, encrypt, client.origin, tells=identity == "xclient", bounds=self._bounds
            )
        return Opening(
            header,
            _source(client) if identity == "transparent" else None,
            introduction,
            lambda found: self.find_name(client.peer, found),
            self._engine,
            self._timeouts.handshake,
            self._stay_plain,
        )

    def _engine(self) -> TlsEngine:
        assert self.context is not None
        return TlsEngine(self.context, server=False, name=self._settings.certified_name(self.endpoint) or None)

    def _stay_plain(self) -> None:
        self._plain_until = self._reactor.seconds() + PLAIN_SECONDS

    def unusable(self) -> list[str]:
        """Return what stands in the way of the source addresses on this host, in words."""
        if self._settings.identity == "transparent":
            return sorted({*map(sockets.no_transparency, self._settings.families)} - {""})
        return [
            f"bind: {name}: {address} cannot be used on this host: {reason}"
            for name, address in self._settings.bind.items()
            if (reason := sockets.unbindable(address))
        ]


def _source(client: Client) -> Peer:
    """Return the address that a transparent connection comes from; raises Unshowable if that cannot be."""
    if client.origin is None or not client.origin.peer.family:
        raise Unshowable("the client has no address that could be the source of a connection")
    address = ip_address(client.origin.peer.text)
    broadcast = isinstance(address, IPv4Address) and address == IPv4Address("255.255.255.255")
    if address.is_unspecified or address.is_multicast or broadcast:
        raise Unshowable(f"{address} is no host's address, so it cannot be the source of a connection")
    return client.origin.peer
