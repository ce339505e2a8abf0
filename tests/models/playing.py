"""Ways to bring a model to where a test wants it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.vectors import Stream

from . import SERVERS
from .lax import Lax
from .server import Server

BY_NAME = {server.name: server for server in SERVERS}
NAMED = tuple(server for server in SERVERS if not issubclass(server, Lax))


def segments(octets: bytes, size: int | None) -> Iterator[bytes]:
    """Cut into segments of `size` octets; one if that is None."""
    size = size or max(1, len(octets))
    return (octets[i : i + size] for i in range(0, len(octets), size))


def fed(server: Server, octets: bytes, size: int | None = None) -> list[bytes]:
    """Feed in segments, and return the replies."""
    return [reply for segment in segments(octets, size) for reply in server.feed(segment)]


def play(stream: Stream, server: Server, size: int | None = None) -> list[bytes]:
    """Send a stream as it is, or in segments of `size` octets, and return the replies."""
    replies = [server.greet()]
    urgent = 0
    for step in stream.steps:
        match step.kind:
            case "send":
                # An urgent octet is not in the stream that the server reads.
                replies += fed(server, step.octets[urgent:], size)
                urgent = 0
            case "oob":
                urgent = 1
            case "half_close":
                server.finish()
    return replies


def in_transaction(server: Server) -> Server:
    """Bring a server to where it wants DATA or BDAT."""
    hello = b"HELO" if server.name in ("sendmail-4.x", "sendmail-5.6x") else b"EHLO"
    server.greet()
    for line in (hello + b" x.test", b"MAIL FROM:<a@b.test>", b"RCPT TO:<root@mx.test>"):
        (reply,) = server.feed(line + b"\r\n")
        assert reply.startswith(b"250")
    return server


def verbs(server: Server) -> list[bytes]:
    return [command.verb for command in server.executed]


def filled(length: int) -> bytes:
    """Return a NOOP of that length, and VRFY directly behind it."""
    return b"NOOP ".ljust(length, b"A") + b"VRFY root\r\n"
