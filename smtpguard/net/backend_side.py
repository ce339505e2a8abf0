"""The guard's end of one connection to the mail server, and what is said on it before the session.

Contract: a `BackendSide` does what its `Opening` says, a PROXY header, an introduction, TLS, and then hands
every octet to its `BackendUser`, the first of which are the banner.  If the opening fails, the
connection is reset and the user told why, once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from attrs import frozen
from twisted.internet import protocol
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from ..identity.introduction import (
    BeginTls,
    Effect,
    FindName,
    Introduced,
    Introduction,
    NotIntroduced,
    Say,
)
from ..policy.networks import Peer
from ..smtp.effects import BackendFault
from ..tls.engine import TlsEngine, TlsFault
from .secure import SecureTransport

Named = Callable[[str | None], None]


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
class Opening:
    """What comes before the session."""

    header: bytes = b""
    """Sent before all else."""
    source: Peer | None = None
    """The address that the connection must come from; None if any will do."""
    introduction: Introduction | None = None
    find_name: Callable[[Named], None] = lambda found: found(None)
    """Looks for the client's host name."""
    engine: Callable[[], TlsEngine] | None = None
    """Makes the engine for TLS; None where none is spoken.  Raises TlsFault."""
    handshake_seconds: float = 0.0
    handshake_failed: Callable[[], None] = lambda: None


class BackendSide(protocol.Protocol):
    """The guard's end of one connection to the mail server."""

    transport: Any

    def __init__(self, user: BackendUser, clock: IReactorTime, opening: Opening | None = None) -> None:
        self._user = user
        self._clock = clock
        self._opening = opening or Opening()
        self._introduction = self._opening.introduction
        self._leaving: IDelayedCall | None = None
        self._raw: Any = None
        self._secure: SecureTransport | None = None
        self._handshake: IDelayedCall | None = None

    def leave(self, seconds: float) -> None:
        """Close, in order if the backend reads what it was sent, and otherwise after `seconds`."""
        self._leaving = self._clock.callLater(seconds, self.transport.abortConnection)
        self.transport.loseConnection()

    # -- what the transport tells --------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._raw = self.transport
        self._user.backend_connected(self)
        source = self._opening.source
        if source is not None and Peer.parse(self.transport.getHost().host).value != source.value:
            # The kernel takes another source for what is no address of a host, and that may be one that is trusted.
            self._refused(f"connected from {self.transport.getHost().host}, not from {source.text}")
        elif self._opening.header:
            self.transport.write(self._opening.header)

    def dataReceived(self, data: bytes) -> None:
        if self._secure is not None:
            self._secure.received(data)
        else:
            self._received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._shaking_hands and self._leaving is None:
            self._opening.handshake_failed()
        for timer in (self._leaving, self._handshake):
            if timer is not None and timer.active():
                timer.cancel()
        self._user.backend_lost()

    # -- the introduction ----------------------------------------------------------------------------

    def _received(self, octets: bytes) -> None:
        if self._introduction is None:
            self._user.backend_sent(octets)
        else:
            self._perform(self._introduction.from_backend(octets))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Say(octets):
                    self.transport.write(octets)
                case BeginTls():
                    self._begin_tls()
                case FindName():
                    self._opening.find_name(self._named)
                case Introduced(banner):
                    self._introduction = None
                    self._user.backend_sent(banner)
                case NotIntroduced(what, octets):
                    self._refused(what, octets)

    def _named(self, name: str | None) -> None:
        if self._introduction is not None:
            self._perform(self._introduction.named(name))

    def _refused(self, what: str, octets: bytes = b"") -> None:
        self.transport.abortConnection()
        self._user.backend_refused(BackendFault(what, octets))

    # -- encryption ----------------------------------------------------------------------------------

    def _begin_tls(self) -> None:
        assert self._opening.engine is not None  # who says STARTTLS has a context for it
        try:
            engine = self._opening.engine()
        except TlsFault as fault:
            self._refused(f"TLS: {fault.what}")
            return
        self._secure = self.transport = SecureTransport(
            self._raw,
            engine,
            on_established=self._established,
            on_plain=self._received,
            on_finished=lambda: self.transport.loseConnection(),
            on_fault=self._no_tls,
        )
        self._handshake = self._clock.callLater(self._opening.handshake_seconds, self._too_slow)
        self._secure.begin()

    def _established(self) -> None:
        if self._handshake is not None and self._handshake.active():
            self._handshake.cancel()
        if self._introduction is not None:
            self._perform(self._introduction.tls_established())

    @property
    def _shaking_hands(self) -> bool:
        return self._handshake is not None and self._handshake.active()

    def _too_slow(self) -> None:
        self._opening.handshake_failed()
        self._refused("no end of the TLS handshake in time")

    def _no_tls(self, fault: TlsFault) -> None:
        if self._shaking_hands:
            self._opening.handshake_failed()
            self._user.backend_refused(BackendFault(f"TLS: {fault.what}", b""))
