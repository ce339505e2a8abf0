"""A plain client of the benchmark: one connection, one command at a time, and many of them held at once.

Contract: blocking sockets and nothing else, so that what a round trip takes is the kernel's and the proxy's.  A
reply that is not the one expected is a BenchError.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter_ns
from typing import Final, Self

from .running import BenchError

_SECONDS: Final = 30.0
"""For one reply."""
_AT_ONCE: Final = 100
"""Connections that are opened together: fewer than any listener's queue holds."""
_BIND_ADDRESS_NO_PORT: Final = 24
"""ip(7); Python 3.11 has no name for it."""


def prepared(source: str) -> socket.socket:
    """Return a socket that will connect from this address, without waiting to fill a packet."""
    made = socket.socket()
    # The port is chosen when it connects, and may serve towards several others: thousands of connections that
    # have ended would use up all ports otherwise.
    made.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
    made.bind((source, 0))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


class Talk:
    """One connection."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        """Connect to a port of 127.0.0.1, from `source`."""
        self._socket = prepared(source)
        self._socket.settimeout(_SECONDS)
        self._socket.connect(("127.0.0.1", port))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, line: bytes) -> None:
        """Send a command, without its line end."""
        self._socket.sendall(line + b"\r\n")

    def expect(self, code: bytes) -> bytes:
        """Read a reply, all lines of it, and return it; BenchError if it has another code."""
        reply = b""
        while not _complete(reply):
            got = self._socket.recv(4096)
            if not got:
                raise BenchError(f"the connection ended; {code!r} was expected, and {reply!r} came")
            reply += got
        if not reply.startswith(code):
            raise BenchError(f"{code!r} was expected, and {reply!r} came")
        return reply

    def command(self, line: bytes, code: bytes) -> bytes:
        """Send a command, and return its reply."""
        self.send(line)
        return self.expect(code)

    def trips(self, line: bytes, code: bytes, count: int) -> list[int]:
        """Return the nanoseconds of every round trip of a command whose reply is one line."""
        wire, send, receive = line + b"\r\n", self._socket.send, self._socket.recv
        found = []
        for _ in range(count):
            began = perf_counter_ns()
            send(wire)
            reply = receive(512)
            found.append(perf_counter_ns() - began)
            if not (reply.startswith(code) and reply.endswith(b"\r\n")):
                raise BenchError(f"{code!r} was expected, and {reply!r} came")
        return found


def _complete(reply: bytes) -> bool:
    last = reply[:-2].rpartition(b"\r\n")[2]
    return reply.endswith(b"\r\n") and last[3:4] in (b" ", b"")


@contextmanager
def held(port: int, count: int) -> Iterator[list[Talk]]:
    """Open connections that have said EHLO, and hold them as long as the block lasts."""
    with ExitStack() as stack:
        talks: list[Talk] = []
        while len(talks) < count:
            some = [stack.enter_context(Talk(port)) for _ in range(min(_AT_ONCE, count - len(talks)))]
            for talk in some:
                talk.expect(b"220")
            together(some, b"EHLO client.test", b"250")
            talks += some
        yield talks


def together(talks: list[Talk], line: bytes, code: bytes) -> None:
    """Send a command on every connection, then read every reply."""
    for talk in talks:
        talk.send(line)
    for talk in talks:
        talk.expect(code)
