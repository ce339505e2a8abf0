"""The guard's end of one connection to the mail server, and what is said on it before the session.

Contract: a `BackendSide` does what its `Opening` says, a PROXY header, an introduction, TLS, and then hands
every octet to its `BackendUser`, the first of which are the banner.  If the opening fails, the
connection is reset and the user told why, once.  A user may hand it on to another, who then is told
that it is connected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, final

from attrs import frozen
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import classImplements

from ..identity.introduction import (
    BeginTls,
    Effect,
    FindName,
    Introduced,
    Introduction,
    Say,
)
from ..net.deadlines import NEVER, Deadlines
from ..net.secure import SecureTransport
from ..net.wires import deliver
from ..policy.networks import Peer
from ..smtp.effects import BackendFault
from ..tls.engine import TlsEngine, TlsFault

LEAVE_SECONDS: Final = 2.0
"""For a backend to read the QUIT of whoever needs nothing more of it: a check, or a client that goes to another one."""

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


NOTHING_FIRST: Final = Opening()
"""The session begins at once."""


def _nobody() -> None:
    """Nobody wants to know."""


@final
class Usage:
    """What one backend is used for by sessions."""

    __slots__ = ("broke", "endpoint", "made", "sides")

    def __init__(self, endpoint: str) -> None:
        self.endpoint: Final = endpoint
        """Where it is."""
        self.sides: set[BackendSide] = set()
        """The connections that there are."""
        self.made = 0
        """How many there have been."""
        self.broke: Callable[[], None] = _nobody
        """Told when one was lost in the middle of a session."""


class BackendSide:
    """The guard's end of one connection to the mail server (a Twisted protocol)."""

    __slots__ = (
        "_deadlines", "_introduction", "_leaving", "_opening", "_raw", "_secure", "_shaking_hands", "_stays", "_usage",
        "deadline", "transport", "user",
    )  # fmt: skip

    def __init__(
        self,
        user: BackendUser,
        deadlines: Deadlines,
        opening: Opening = NOTHING_FIRST,
        usage: Usage | None = None,
        stays: bool = True,
    ) -> None:
        """`usage` counts the connection; `stays` is false where `user` will hand it on."""
        self.transport: Any = None
        self.user = user
        """Whose connection it is now."""
        self._usage = usage
        self._stays = stays
        self._deadlines = deadlines
        self._opening = opening
        self._introduction = opening.introduction
        self._raw: Any = None
        self._secure: SecureTransport | None = None
        self._shaking_hands = False
        self._leaving = False
        self.deadline = NEVER
        """See deadlines.py."""

    @property
    def endpoint(self) -> str:
        """Where the backend is; empty if the connection is no session's."""
        return "" if self._usage is None else self._usage.endpoint

    def hand_to(self, user: BackendUser) -> None:
        """Let it be another's from now on."""
        self.user = user
        user.backend_connected(self)

    def broke_off(self) -> None:
        """Its user has lost it in the middle of a session."""
        if self._usage is not None:
            self._usage.broke()

    def leave(self, seconds: float) -> None:
        """Close, in order if the backend reads what it was sent, and otherwise after `seconds`."""
        self._leaving = True
        self._wait(seconds)
        self.transport.loseConnection()

    def ring(self) -> None:
        """The end of the handshake has not come in time, or that of the connection."""
        self.deadline = NEVER
        if self._leaving:
            self.transport.abortConnection()
        else:
            self._shaking_hands = False
            self._opening.handshake_failed()
            self._refused("no end of the TLS handshake in time")

    def _wait(self, seconds: float) -> None:
        self._deadlines.add(self)
        self.deadline = self._deadlines.in_seconds(seconds)

    # -- what the transport tells --------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        self._raw = self.transport = transport
        if self._usage is not None:
            self._usage.sides.add(self)
            self._usage.made += 1
        if self._introduction is None and self._stays:
            deliver(self._raw, self.user.backend_sent)
        self.user.backend_connected(self)
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
        if self._shaking_hands and not self._leaving:
            self._opening.handshake_failed()
        self._deadlines.discard(self)
        if self._usage is not None:
            self._usage.sides.discard(self)
        self.user.backend_lost()

    # -- the introduction ----------------------------------------------------------------------------

    def _received(self, octets: bytes) -> None:
        if self._introduction is None:
            self.user.backend_sent(octets)
        else:
            self._perform(self._introduction.from_backend(octets))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Say):
                self.transport.write(effect.octets)
            elif isinstance(effect, BeginTls):
                self._begin_tls()
            elif isinstance(effect, FindName):
                self._opening.find_name(self._named)
            elif isinstance(effect, Introduced):
                self._introduction = None
                self.user.backend_sent(effect.banner)
            else:
                self._refused(effect.what, effect.octets)

    def _named(self, name: str | None) -> None:
        if self._introduction is not None:
            self._perform(self._introduction.named(name))

    def _refused(self, what: str, octets: bytes = b"") -> None:
        self.transport.abortConnection()
        self.user.backend_refused(BackendFault(what, octets))

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
            on_finished=self._finished,
            on_fault=self._no_tls,
        )
        self._shaking_hands = True
        self._wait(self._opening.handshake_seconds)
        deliver(self._raw, self._secure.received)
        self._secure.begin()

    def _established(self) -> None:
        self._shaking_hands = False
        if not self._leaving:
            self._deadlines.discard(self)
        if self._introduction is not None:
            self._perform(self._introduction.tls_established())

    def _finished(self) -> None:
        self.transport.loseConnection()

    def _no_tls(self, fault: TlsFault) -> None:
        if self._shaking_hands:
            self._shaking_hands = False
            if not self._leaving:
                self.deadline = NEVER
            self._opening.handshake_failed()
            self.user.backend_refused(BackendFault(f"TLS: {fault.what}", b""))


# Said here and not by a decorator, so that mypyc makes a class of it that is as fast as C's.
classImplements(BackendSide, IProtocol)  # type: ignore[misc]
