"""Where a client's connection comes from, and what it was made to.

Contract: an `Origin` that exists can be told: its ports are ports.  How it became known, by a socket
or by a header in front of the connection, is not part of it.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from ..policy.networks import Peer

GREATEST_PORT: Final = 65535
"""RFC 9293 3.1: a port has 16 bits.  Port 0 is one that was not told."""


@frozen
class Origin:
    """Both ends of a client's connection."""

    peer: Peer
    """The client."""
    port: int
    to: Peer | None
    """What the client connected to; None where that is not known."""
    to_port: int

    def __attrs_post_init__(self) -> None:
        for port in (self.port, self.to_port):
            if not 0 <= port <= GREATEST_PORT:
                raise ValueError(f"{port} is not a port: they go from 0 to {GREATEST_PORT}")
