"""BDAT for the servers that know it.

Contract: `Chunking` counts the octets of a chunk and keeps or drops them.  What a size is, when octets
follow and what comes after a chunk is said by each model in `bdat`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from .server import Accepted
from .session import BASIC, MESSAGE_BOUND, Mode, Session

WITH_BDAT: Final = {**BASIC, b"BDAT": "bdat"}


class Chunking(Session):
    """A session that can be in the middle of a chunk."""

    verbs: ClassVar[Mapping[bytes, str]] = WITH_BDAT

    def __init__(self) -> None:
        super().__init__()
        self.left = 0
        """Octets of the chunk that have not come."""
        self.kept = False
        """The chunk belongs to a message."""
        self.last = False
        self.chunked = False
        """The transaction had a chunk."""
        self.after = b""
        """Reply to a chunk that is not kept."""

    def chunk(self, size: int, *, last: bool) -> bytes:
        """Take the next `size` octets for the message."""
        self.left, self.last, self.kept, self.chunked = size, last, True, True
        self.after = self.say(b"250 2.0.0", b"%d octets" % size)
        self.mode = Mode.CHUNK
        return b""

    def swallow(self, size: int, reply: bytes) -> bytes:
        """Drop the next `size` octets, and answer `reply` then."""
        self.left, self.last, self.kept = size, False, False
        self.after = reply
        self.mode = Mode.CHUNK
        return b""

    def read_chunk(self) -> bytes | None:
        octets = self.take(min(self.left, len(self.input)))
        self.left -= len(octets)
        if self.kept:
            self.chunks += octets
            if len(self.chunks) > MESSAGE_BOUND:
                return self.hang_up(b"552 5.3.4 message too big\r\n")
        if self.left:
            return None
        self.mode = Mode.COMMAND
        return self.judged(Accepted(bytes(self.chunks), chunked=True)) if self.last else self.after

    def data(self, argument: bytes) -> bytes:
        if self.chunked:
            return self.say(b"503 5.5.1", b"DATA behind BDAT")
        return super().data(argument)

    def reset(self) -> None:
        super().reset()
        self.chunked = False
