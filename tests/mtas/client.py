"""A client that plays a random stream, and waits where a polite one would.

Contract: `play` returns all that was heard, or raises TimeoutError if the other side neither answers
what it must nor ends.  Only a valid stream is waited for exactly; of the others nobody can say how
many replies they are worth, so silence for a moment is enough to go on.
"""

from __future__ import annotations

import contextlib
import re
import socket
from typing import Final

from tests.fuzz.generator import ClientStream

_REPLY: Final = re.compile(rb"(?:[0-9]{3}-[^\n]*\n)*[0-9]{3}(?: [^\n]*)?\n")
_PATIENCE: Final = 20.0
_MOMENT: Final = 0.1


def play(stream: ClientStream, port: int, source: str) -> bytes:
    """Send a stream, say that nothing follows, and hear the rest."""
    with socket.create_connection(("127.0.0.1", port), _PATIENCE, (source, 0)) as connection:
        heard = _Heard(connection)
        heard.wait(1, _PATIENCE)
        sent = b""
        for turn in stream.turns:
            connection.settimeout(_PATIENCE)
            # That the other side has ended shows when it is heard.
            with contextlib.suppress(ConnectionError):
                connection.sendall(turn)
            sent += turn
            heard.wait(1 + replies_due(sent), _PATIENCE if stream.valid else _MOMENT)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        heard.all()
        return heard.octets


def replies_due(octets: bytes) -> int:
    """Return how many replies these commands and messages are worth if each DATA is granted."""
    count = 0
    content = False
    for line in octets.split(b"\r\n")[:-1]:
        if content:
            content = line != b"."
            count += not content
        else:
            content = line.upper() == b"DATA"
            count += 1
    return count


class _Heard:
    """What comes from the other side."""

    def __init__(self, connection: socket.socket) -> None:
        self.octets = b""
        self._connection = connection
        self._count = 0
        self._counted = 0
        self._ended = False

    def wait(self, replies: int, seconds: float) -> None:
        """Wait for so many replies in all, the end, or, if that is only a moment, silence."""
        self._connection.settimeout(seconds)
        while not self._ended and self._understood() < replies:
            try:
                self._take()
            except TimeoutError:
                if seconds >= _PATIENCE:
                    raise
                return

    def all(self) -> None:
        """Wait for the end."""
        self._connection.settimeout(_PATIENCE)
        while not self._ended:
            self._take()

    def _take(self) -> None:
        try:
            part = self._connection.recv(65536)
        except ConnectionError:
            part = b""
        self.octets += part
        self._ended = not part

    def _understood(self) -> int:
        while match := _REPLY.match(self.octets, self._counted):
            self._counted = match.end()
            self._count += 1
        return self._count
