"""Listening on libuv: Twisted's stream server endpoints and listening port.

Contract: a `ServerEndpoint` takes a socket that is bound, or makes one when it is told to listen, and
listens as Twisted's endpoints do: the same exceptions, the same rights and lock of a unix socket.
Where descriptors run out, libuv keeps one in reserve, with which it accepts and closes what waits.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import AlreadyListened
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer

from .connection import Connection
from .driving import at_once
from .on_socket import KEEP_ALIVE, NO_DELAY, UNIX, address
from .places import Place


@implementer(IListeningPort)
class Port:
    """A socket that listens."""

    def __init__(self, loop: asyncio.AbstractEventLoop, place: Place, factory: IProtocolFactory) -> None:
        self._loop = loop
        self._place = place
        self._factory: Any = factory
        self._server: Any = None
        self._address: Any = None

    def startListening(self) -> None:
        """Listen; raises CannotListenError or OSError."""
        bound = self._place.open()
        try:
            unix = bound.family == socket.AF_UNIX
            self._address = address(bound.getsockname(), unix)
            if not unix:
                # What is accepted has it from here: one system call less for each.
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            # uvloop does this again, and says nothing when it fails.
            bound.listen(self._place.backlog)
            self._factory.doStart()
            flags = UNIX if unix else NO_DELAY | KEEP_ALIVE
            accepted: Any = partial(Connection, self._opener(), flags)
            create: Any = self._loop.create_server
            if unix:
                # The path is for the place to remove, and not for uvloop, which does from Python 3.13 on.
                create_unix: Any = self._loop.create_unix_server
                create = partial(create_unix, cleanup_socket=False)
            self._server = at_once(create(accepted, sock=bound, backlog=self._place.backlog))
        except BaseException:
            bound.close()
            self._place.leave()
            raise

    def _opener(self) -> Callable[[Connection], Any]:
        make: Callable[[Connection], Any] | None = getattr(self._factory, "protocol_for", None)
        if make is not None:
            return make
        build = self._factory.buildProtocol
        return lambda connection: build(connection.getPeer())

    def stopListening(self) -> Deferred[None]:
        """Stop; connections that have been accepted go on."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            self._place.leave()
            self._factory.doStop()
        return succeed(None)

    loseConnection = stopListening

    def getHost(self) -> Any:
        return self._address

    def __repr__(self) -> str:
        state = "on" if self._server is not None else "no longer on"
        return f"<{type(self._factory).__name__} {state} {self._address}>"


@implementer(IStreamServerEndpoint)
class ServerEndpoint:
    """A place to listen, once or more often."""

    def __init__(self, loop: asyncio.AbstractEventLoop, place: Callable[[], Place], once: bool = False) -> None:
        """`once` is for a socket that was given, of which there is one."""
        self._loop = loop
        self._place = place
        self._once = once
        self._used = False

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen.

        A factory that has `protocol_for(connection)` is asked that way, with the connection, for which no
        address has been made; any other has `buildProtocol` called.
        """
        if self._used and self._once:
            return fail(AlreadyListened())
        self._used = True
        try:
            port = Port(self._loop, self._place(), protocolFactory)
            port.startListening()
        except Exception:  # noqa: BLE001 - it is for whom the Deferred is for
            return fail()
        return succeed(port)
