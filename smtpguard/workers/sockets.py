"""The sockets that workers listen on, opened by their supervisor.

Contract: takes what smtpguard.config.endpoints has checked, and opens it as Twisted would.  A TCP listener
is one socket for each worker (SO_REUSEPORT, socket(7)), among which the kernel shares out the clients;
the worker that replaces a dead one gets the same socket, with all who wait in it.  A unix socket, or one
from systemd, is one for all.  The sockets are bound; who listens is the worker, once it may serve.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import define, field
from twisted.python.lockfile import FilesystemLock

from ..config.endpoints import Endpoint, parse_server
from ..lifecycle.systemd import Passed
from ..net.endpoints import BACKLOG

_ALL_MAY: Final = "666"
"""Twisted's mode for a unix socket that has none of its own."""


class CannotOpen(Exception):
    """A listener cannot be had."""

    def __init__(self, endpoint: str, reason: OSError) -> None:
        super().__init__(f"{endpoint}: {reason}")
        self.endpoint = endpoint
        self.reason = reason


@define
class Listener:
    """One listener, for all workers."""

    shown: str
    """Where it is, for the log."""
    backlog: int | None
    """Connections that may wait to be accepted; None if it listens already."""
    sockets: list[socket.socket]
    """One for each worker, or one for all."""
    path: str = ""
    """Of a unix socket that is to be removed."""
    lock: FilesystemLock | None = field(default=None)

    def socket_for(self, worker: int) -> socket.socket:
        """Return the socket of the worker of that number, from 0."""
        return self.sockets[worker if len(self.sockets) > 1 else 0]

    def listening(self, worker: int) -> socket.socket:
        """Return the same, and listen on it; once more does no harm."""
        ours = self.socket_for(worker)
        if self.backlog is not None:
            ours.listen(self.backlog)
        return ours

    def keep_only(self, worker: int) -> None:
        """In the worker: let go of what is for others, so that each socket ends with those who serve it."""
        ours = self.socket_for(worker)
        for one in self.sockets:
            if one is not ours:
                one.close()

    def let_go(self) -> None:
        """In a process that serves nobody: do not keep it open."""
        for one in self.sockets:
            one.close()

    def close(self) -> None:
        """In the supervisor: let go of it; harmless twice."""
        for one in self.sockets:
            one.close()
        path, self.path = self.path, ""
        lock, self.lock = self.lock, None
        if path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        if lock is not None:
            lock.unlock()


def open_all(endpoints: Sequence[str], workers: int, passed: Sequence[Passed]) -> list[Listener]:
    """Open every listener, each for that many workers; `passed` is what systemd holds.  Raises CannotOpen."""
    opened: list[Listener] = []
    for text in endpoints:
        try:
            opened.append(_open(parse_server(text), workers, passed))
        except OSError as error:
            for listener in opened:
                listener.close()
            raise CannotOpen(text, error) from None
    return opened


def _open(endpoint: Endpoint, workers: int, passed: Sequence[Passed]) -> Listener:
    match endpoint.kind:
        case "unix":
            return _unix(endpoint)
        case "systemd":
            return _from_systemd(endpoint.options, passed)
        case _:
            return _tcp(endpoint, workers)


# -- TCP -------------------------------------------------------------------------------------------


def _tcp(endpoint: Endpoint, workers: int) -> Listener:
    port = int(endpoint.option("port", 0) or 0)
    address: tuple[str, int] | tuple[str, int, int, int]
    if endpoint.kind == "tcp6":
        family, host = socket.AF_INET6, endpoint.option("interface") or "::"
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV  # for the zone of an address that has one
        address = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, flags)[0][4]  # type: ignore[assignment]
    else:
        family, address = socket.AF_INET, (endpoint.option("interface") or "", port)
    # Sockets that share a port would share it with a guard that was started twice, too, without a word to anybody.
    with _bound(family, address, shared=False) as probe:
        address = (address[0], probe.getsockname()[1], *address[2:])
    sockets: list[socket.socket] = []
    try:
        for _ in range(workers):
            sockets.append(_bound(family, address, shared=True))
    except OSError:
        for one in sockets:
            one.close()
        raise
    return Listener(_shown(sockets[0]), _backlog(endpoint), sockets)


def _bound(
    family: socket.AddressFamily, address: tuple[str, int] | tuple[str, int, int, int], shared: bool
) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one


def _backlog(endpoint: Endpoint) -> int:
    return int(endpoint.options.get("backlog", BACKLOG))


# -- unix sockets ----------------------------------------------------------------------------------


def _unix(endpoint: Endpoint) -> Listener:
    path = endpoint.option("address", 0) or ""
    lock = _lock(path) if endpoint.options.get("lockfile", "1") != "0" else None
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        one.bind(path)
        os.chmod(path, int(endpoint.options.get("mode", _ALL_MAY), 8))
    except OSError:
        one.close()
        if lock is not None:
            lock.unlock()
        raise
    return Listener(_shown(one), _backlog(endpoint), [one], path, lock)


def _lock(path: str) -> FilesystemLock:
    """Take the lock that Twisted takes, and remove a socket that a process has left that is dead."""
    lock = FilesystemLock(f"{path}.lock")
    if not lock.lock():
        raise OSError("Cannot acquire lock")
    if not lock.clean:
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.stat(path).st_mode):
                os.remove(path)
    return lock


# -- systemd ---------------------------------------------------------------------------------------


def _from_systemd(options: Mapping[str, str], passed: Sequence[Passed]) -> Listener:
    name, index = options.get("name"), options.get("index")
    if index is not None:
        found = list(passed[int(index) : int(index) + 1])
    else:
        found = [one for one in passed if one.name == name][-1:]
    if not found:
        raise OSError("systemd has passed no such socket")
    one = socket.socket(fileno=os.dup(found[0].descriptor))
    one.setblocking(False)
    if one.family != getattr(socket, f"AF_{options['domain']}"):
        one.close()
        raise OSError(f"its domain is not {options['domain']}")
    return Listener(_shown(one), None, [one])


def _shown(one: socket.socket) -> str:
    """Return where it is, as smtpguard.lifecycle.announcing.shown does."""
    address = one.getsockname()
    if one.family == socket.AF_UNIX:
        return f"unix:{os.fsdecode(address)}"
    host = f"[{address[0]}]" if one.family == socket.AF_INET6 else address[0]
    return f"{host}:{address[1]}"
