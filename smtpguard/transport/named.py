"""Connecting to a host that is known by name.

Contract: as Twisted's HostnameEndpoint: the reactor's resolver is asked each time, the addresses are
tried in its order, the next one when one has failed or has not answered within APART_SECONDS, and the
first connection is the one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError, DNSLookupError, NoProtocol
from twisted.internet.interfaces import (
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from .connecting import Attempt, Failed
from .connection import Connection
from .deadlines import Deadlines
from .ways import TcpWay

APART_SECONDS: Final = 0.3
"""Between attempts: RFC 8305 recommends 0.25, Twisted waits this."""


@implementer(IResolutionReceiver)
class Search:
    """The attempts to reach one name."""

    def __init__(self, endpoint: NamedEndpoint, opened: Callable[[Connection], Any], failed: Failed) -> None:
        self._endpoint = endpoint
        self._opened = opened
        self._failed = failed
        self._left: list[Any] = []
        self._attempts: set[Attempt] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._last: Failure | None = None
        self._over = False

    # -- what the resolver tells -------------------------------------------------------------------

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        pass

    def addressResolved(self, address: Any) -> None:
        if isinstance(address, IPv4Address | IPv6Address):
            self._left.append(address)

    def resolutionComplete(self) -> None:
        if not self._left:
            self._last = Failure(DNSLookupError(f"no results for hostname lookup: {self._endpoint.host}"))
        self._next()

    # -- the attempts ------------------------------------------------------------------------------

    def _next(self) -> None:
        self._stop_timer()
        if self._over:
            return
        if not self._left:
            if not self._attempts and self._last is not None:
                self._over = True
                self._failed(self._last)
            return
        at = self._left.pop(0)
        endpoint, loop = self._endpoint, self._endpoint.loop
        way = TcpWay(at.host, endpoint.port, endpoint.source)
        attempt = Attempt(loop, way, endpoint.deadlines, self._made, lambda reason: self._lost(attempt, reason))
        self._attempts.add(attempt)
        self._timer = loop.call_later(APART_SECONDS, self._next)

    def _made(self, connection: Connection) -> Any:
        self.cancel()
        return self._opened(connection)

    def _lost(self, attempt: Attempt, reason: Failure) -> None:
        self._attempts.discard(attempt)
        self._last = reason
        self._next()

    def cancel(self) -> None:
        """Give all attempts up; harmless twice."""
        self._over = True
        self._stop_timer()
        attempts, self._attempts = self._attempts, set()
        for attempt in attempts:
            attempt.cancel()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@implementer(IStreamClientEndpoint)
class NamedEndpoint:
    """A host name and a port."""

    def __init__(
        self, reactor: Any, loop: asyncio.AbstractEventLoop, host: str, port: int, seconds: float, source: str | None
    ) -> None:
        """The look-up is not within `seconds`, which each attempt has."""
        self.loop = loop
        self.host, self.port = host, port
        self.source = source
        self.deadlines = Deadlines(loop, seconds)
        self._reactor = reactor

    def begin(self, protocol: IProtocol, failed: Failed) -> Search:
        """Connect `protocol`; the result may be cancelled."""
        return self._search(lambda _connection: protocol, failed)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """Connect; cancelling the result gives the attempt up."""
        factory: Any = protocolFactory

        def cancelled(given_up: Deferred[Any]) -> None:
            search.cancel()
            given_up.errback(ConnectingCancelledError(HostnameAddress(self.host.encode("idna"), self.port)))

        def opened(connection: Connection) -> Any:
            protocol = factory.buildProtocol(connection.getPeer())
            if protocol is None:
                done.errback(NoProtocol())
            else:
                connection.then = lambda: done.callback(protocol)
            return protocol

        done: Deferred[Any] = Deferred(cancelled)
        search = self._search(opened, done.errback)
        return done

    def _search(self, opened: Callable[[Connection], Any], failed: Failed) -> Search:
        search = Search(self, opened, failed)
        self._reactor.nameResolver.resolveHostName(search, self.host, portNumber=self.port)
        return search
