"""What a connection is asked about its socket: who is at which end, and options.

Contract: names of TCP sockets are those of the beginning, and are there when the connection is gone; an
option that already has the value costs no system call.
"""

from __future__ import annotations

import socket
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from .reasons import PeerGone

# What is true of a connection, as bits.
UNIX: Final = 1
NO_DELAY: Final = 2
"""TCP_NODELAY is set: libuv sets it on whatever it opens."""
KEEP_ALIVE: Final = 4
"""SO_KEEPALIVE is set: Linux inherits it from the socket that listens."""
GONE: Final = 8
"""connectionLost was called."""


class OnSocket:
    """Knows its libuv transport, and what has been set on the socket."""

    __slots__ = ("_flags", "_libuv")

    _flags: int
    _libuv: Any
    """None until the connection is made."""

    # -- whose it is -------------------------------------------------------------------------------

    def peername(self) -> Any:
        """Return the peer's address as a socket has it (socket.getpeername), which is cheaper than `getPeer`.

        Raises PeerGone; connectionMade need not mind: the connection is closed without a word.
        """
        return self._name("peername")

    def sockname(self) -> Any:
        """Return this end's address as a socket has it (socket.getsockname)."""
        return self._name("sockname")

    def _name(self, whose: str) -> Any:
        if self._flags & UNIX and self._flags & GONE:
            return None  # libuv remembers those of TCP only
        name = self._libuv.get_extra_info(whose)
        if not name and not self._flags & UNIX:
            raise PeerGone
        return name

    def getPeer(self) -> Any:
        return address(self.peername(), self._flags & UNIX)

    def getHost(self) -> Any:
        return address(self.sockname(), self._flags & UNIX)

    # -- options of the socket ---------------------------------------------------------------------

    def getTcpNoDelay(self) -> bool:
        return bool(self._flags & NO_DELAY)

    def setTcpNoDelay(self, enabled: bool) -> None:
        self._set(NO_DELAY, socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        return bool(self._flags & KEEP_ALIVE)

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self._set(KEEP_ALIVE, socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)

    def _set(self, flag: int, level: int, option: int, enabled: bool) -> None:
        if bool(self._flags & flag) == bool(enabled) or self._flags & (UNIX | GONE):
            return
        self._option(level, option, int(enabled))
        self._flags ^= flag

    def _option(self, level: int, option: int, value: int | bytes) -> None:
        self._libuv.get_extra_info("socket").setsockopt(level, option, value)


def address(name: Any, unix: int) -> Any:
    """Return a socket's name as Twisted writes it."""
    if unix:
        return UNIXAddress(name or None)
    if len(name) == 2:
        return IPv4Address("TCP", *name)
    host, port, flow, scope = name
    if scope:  # a link-local address is one on a link only
        host = f"{host}%{socket.if_indextoname(scope)}"
    return IPv6Address("TCP", host, port, flow, scope)
