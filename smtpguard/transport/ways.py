"""How a connection is made: to an address, to a unix socket, or by a socket that needs preparation.

Contract: a way opens one connection each time it is asked, and says in Twisted's words why it could not.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.python.failure import Failure

from . import reasons
from .on_socket import NO_DELAY, UNIX

Make = Callable[[], Any]
"""Returns the asyncio protocol, which is the connection."""


class Way(Protocol):
    """How to connect."""

    flags: int
    """What is true of the connection from its beginning."""
    destination: Any
    """Twisted's address of the other end."""

    def open(self, loop: asyncio.AbstractEventLoop, make: Make) -> Coroutine[Any, Any, Any]:
        """Return what connects; it raises OSError."""

    def failure(self, error: BaseException) -> Failure:
        """Return what Twisted calls it."""


class TcpWay:
    """To an address, from any of this host's or from a certain one."""

    flags = NO_DELAY

    def __init__(self, host: str, port: int, source: str | None) -> None:
        """`host` and `source` are addresses of one family."""
        self._host, self._port = host, port
        self._source = (source, 0) if source else None
        self.destination = _destination(host, port)

    def open(self, loop: asyncio.AbstractEventLoop, make: Make) -> Coroutine[Any, Any, Any]:
        return loop.create_connection(make, self._host, self._port, local_addr=self._source)

    def failure(self, error: BaseException) -> Failure:
        if not isinstance(error, OSError):
            return Failure(error)
        # uvloop does not say which of the two calls failed.
        why = unbindable(self._source) if self._source is not None else None
        return reasons.of_connect(error) if why is None else reasons.of_bind(why)


class UnixWay:
    """To a path."""

    flags = UNIX

    def __init__(self, path: str) -> None:
        self._path = path
        self.destination = UNIXAddress(path)

    def open(self, loop: asyncio.AbstractEventLoop, make: Make) -> Coroutine[Any, Any, Any]:
        return loop.create_unix_connection(make, self._path)

    def failure(self, error: BaseException) -> Failure:
        return reasons.of_connect(error) if isinstance(error, OSError) else Failure(error)


class Unprepared(Exception):
    """The socket could not be made as it was to be; the cause is the OSError."""


class PreparedWay:
    """To an address, by sockets that somebody else makes: with options, and bound."""

    flags = NO_DELAY

    def __init__(self, host: str, port: int, prepare: Callable[[], socket.socket]) -> None:
        """`prepare` returns a socket that does not block, of the family of `host`; it raises OSError."""
        self._name = host, port
        self._prepare = prepare
        self.destination = _destination(host, port)

    async def open(self, loop: asyncio.AbstractEventLoop, make: Make) -> None:
        try:
            prepared = self._prepare()
        except OSError as error:
            raise Unprepared from error
        try:
            await loop.sock_connect(prepared, self._name)
        except BaseException:
            prepared.close()
            raise
        await loop.create_connection(make, sock=prepared)

    def failure(self, error: BaseException) -> Failure:
        if isinstance(error, Unprepared) and isinstance(error.__cause__, OSError):
            return reasons.of_bind(error.__cause__)
        return reasons.of_connect(error) if isinstance(error, OSError) else Failure(error)


def unbindable(source: tuple[str, int]) -> OSError | None:
    """Return why no socket can have an address, or None if one can."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in source[0] else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind(source)
    except OSError as error:
        return error
    return None


def _destination(host: str, port: int) -> IPv4Address | IPv6Address:
    return IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)
