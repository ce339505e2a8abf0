"""Where to listen: addresses, unix sockets, and sockets that somebody else has opened.

Contract: each place is opened once; what can be wrong is told as Twisted tells it.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from contextlib import suppress
from typing import Any, Final, Protocol

from twisted.internet.error import CannotListenError
from twisted.python.lockfile import FilesystemLock

_MAX_BACKLOG_AT: Final = 28
"""tcpi_sacked in struct tcp_info (linux/tcp.h), which is the backlog in a socket that listens."""


class Place(Protocol):
    """Where to listen."""

    backlog: int
    """Connections that may wait to be accepted."""

    def open(self) -> socket.socket:
        """Return a bound socket; raises CannotListenError or OSError."""

    def leave(self) -> None:
        """Remove what `open` has left behind, the socket being closed."""


class InternetPlace:
    """An address and port; 0 is any port."""

    def __init__(self, interface: str, port: int, backlog: int, family: socket.AddressFamily) -> None:
        """`interface` is an address of the family, or empty for all of this host."""
        self.backlog = backlog
        self._interface = interface
        self._port = port
        self._family = family

    def open(self) -> socket.socket:
        """Return a bound socket; raises CannotListenError."""
        bound: socket.socket | None = None
        try:
            bound = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(self._name())
        except OSError as error:
            if bound is not None:
                bound.close()
            raise CannotListenError(self._interface, self._port, error) from None
        return bound

    def _name(self) -> Any:
        if self._family == socket.AF_INET:
            return self._interface, self._port
        numeric = socket.AI_NUMERICHOST | socket.AI_PASSIVE
        found = socket.getaddrinfo(self._interface or "::", self._port, self._family, socket.SOCK_STREAM, 0, numeric)
        return found[0][4]

    def leave(self) -> None:
        """Nothing is left behind."""


class UnixPlace:
    """A path."""

    def __init__(self, path: str, backlog: int, mode: int, lock: bool) -> None:
        """With `lock` nobody else can listen there, and what one has left behind who is dead is removed."""
        self.backlog = backlog
        self._path = path
        self._mode = mode
        self._wants_lock = lock
        self._lock: Any = None

    def open(self) -> socket.socket:
        """Return a bound socket; raises CannotListenError."""
        if self._wants_lock:
            self._take_lock()
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            bound.bind(self._path)
            os.chmod(self._path, self._mode)
        except OSError as error:
            bound.close()
            self._unlock()
            raise CannotListenError(None, self._path, error) from None
        return bound

    def _take_lock(self) -> None:
        lock = FilesystemLock(f"{self._path}.lock")
        if not lock.lock():
            raise CannotListenError(None, self._path, "Cannot acquire lock")
        self._lock = lock
        if not lock.clean:
            # If it cannot be removed, bind says why.
            with suppress(OSError):
                if stat.S_ISSOCK(os.stat(self._path).st_mode):
                    os.remove(self._path)

    def leave(self) -> None:
        """Remove the socket from the file system, and the lock."""
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        self._unlock()

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.unlock()


class GivenPlace:
    """A socket that is bound and listens already: a supervisor's, or systemd's."""

    def __init__(self, given: socket.socket) -> None:
        self._given = given
        self.backlog = backlog_of(given)

    def open(self) -> socket.socket:
        """Return the socket, which is this process's from now on."""
        self._given.setblocking(False)
        return self._given

    def leave(self) -> None:
        """Who has made the path of a unix socket removes it."""


def backlog_of(listening: socket.socket) -> int:
    """Return how many connections may wait at a socket, for libuv says so to the kernel again."""
    if listening.family in (socket.AF_INET, socket.AF_INET6) and hasattr(socket, "TCP_INFO"):
        told = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MAX_BACKLOG_AT + 4)
        backlog: int = struct.unpack_from("I", told, _MAX_BACKLOG_AT)[0]
        return max(backlog, 1)
    return socket.SOMAXCONN  # nobody tells; never less than was asked for
