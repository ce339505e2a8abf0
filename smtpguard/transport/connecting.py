"""Connecting on libuv: Twisted's stream client endpoint, and a cheaper way into the same.

Contract: an attempt ends once: with a connection, whose protocol's connectionMade says so, or with a
Failure such as Twisted's own endpoints give, in a later turn than the one that began it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError, NoProtocol, TimeoutError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import classImplements

from .connection import Connection, Opened
from .deadlines import Deadlines
from .driving import Driven
from .ways import Way

Failed = Callable[[Failure], object]


class Attempt(Driven):
    """A connection that is being made."""

    __slots__ = ("__weakref__", "_deadlines", "_failed", "_open", "_way")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        way: Way,
        deadlines: Deadlines,
        opened: Opened,
        failed: Failed,
    ) -> None:
        self._coroutine = self._waits_for = None  # what Driven begins with; there is one of these a session
        self._given_up = False
        self._way = way
        self._deadlines = deadlines
        self._open: Opened | None = opened
        self._failed: Failed | None = failed
        deadlines.begin(self)
        try:
            self.drive(way.open(loop, partial(Connection, self._opened, way.flags)))
        except Exception as error:  # noqa: BLE001 - told in a later turn
            loop.call_soon(self.failed, error)

    def _opened(self, connection: Connection) -> Any:
        opened = self._open
        if opened is None:
            return None
        self._settle()
        return opened(connection)

    def failed(self, error: BaseException) -> None:
        self._fail(self._way.failure(error))

    def timed_out(self) -> None:
        """See Deadlines."""
        self.give_up()
        self._fail(Failure(TimeoutError()))

    def _fail(self, reason: Failure) -> None:
        failed = self._failed
        if failed is not None:
            self._settle()
            failed(reason)

    def cancel(self) -> None:
        """Give up: neither a connection nor a failure follows.  Harmless when there was one."""
        if self._open is not None:
            self._settle()
            self.give_up()

    def _settle(self) -> None:
        """It is decided; and what this leads to may lead back to it, which the collector would have to find."""
        self._open = self._failed = None
        self._deadlines.end(self)


class ClientEndpoint:
    """Where to connect to."""

    def __init__(self, loop: asyncio.AbstractEventLoop, way: Way, seconds: float) -> None:
        """An attempt may take `seconds`."""
        self._loop = loop
        self._way = way
        self._deadlines = Deadlines(loop, seconds)

    def begin(self, protocol: IProtocol, failed: Failed) -> Attempt:
        """Connect `protocol`; the result may be cancelled.  This is what `connect` does, less what it costs."""
        return Attempt(self._loop, self._way, self._deadlines, lambda _connection: protocol, failed)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """Connect; cancelling the result gives the attempt up."""
        return _Promised(self._loop, self._way, self._deadlines, protocolFactory).done


# Said here and not by a decorator, so that mypyc makes a class of it that is as fast as C's.
classImplements(ClientEndpoint, IStreamClientEndpoint)


class _Promised:
    """An attempt whose end a Deferred tells."""

    __slots__ = ("_attempt", "_factory", "_way", "done")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, way: Way, deadlines: Deadlines, factory: IProtocolFactory
    ) -> None:
        self._way = way
        self._factory: Any = factory
        self.done: Deferred[Any] = Deferred(self._cancelled)
        self._attempt = Attempt(loop, way, deadlines, self._opened, self.done.errback)

    def _opened(self, connection: Connection) -> Any:
        protocol = self._factory.buildProtocol(self._way.destination)
        if protocol is None:
            self.done.errback(NoProtocol())
        else:
            connection.then = partial(self.done.callback, protocol)
        return protocol

    def _cancelled(self, given_up: Deferred[Any]) -> None:
        self._attempt.cancel()
        given_up.errback(ConnectingCancelledError(self._way.destination))
