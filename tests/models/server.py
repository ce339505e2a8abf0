"""What every model of a mail server has in common.

Contract: a `Server` is one connection, seen from the server.  It reads octets as its original does,
says what it executes and accepts, and answers; it does nothing else.  No clock, no socket, and no
octet is read twice, so that the drivers can play thousands of sessions a second.

Every reply but the banner and those to content and SASL lines names the verb that it answers and a
serial number (`250 2.1.0 MAIL #3 ok`), so that a driver can tell whose reply a client got.  Replies
to VRFY, EXPN and all else that an outsider must not have hold CANARY.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Final

from attrs import frozen

CANARY: Final = b"CANARY"
"""Stands in every answer that must not reach an outsider."""


@frozen
class Executed:
    """A command that the server ran, or would have looked for in its table of commands."""

    verb: bytes
    """In upper case, as the server understood it."""
    line: bytes
    """The octets that it took for the line, its end not included."""


@frozen
class Accepted:
    """A message that the server took responsibility for (it answered the end with 250)."""

    raw: bytes
    """The octets of the wire from the go-ahead to the end of data: dots as sent, and without the
    terminator, however the server recognised it; of a message in chunks, the chunks one after another."""
    chunked: bool = False


class Server(ABC):
    """One connection to a model."""

    name: ClassVar[str]
    profile: ClassVar[str] = "default"
    """The backend profile that the guard is told to use in front of this server."""

    def __init__(self) -> None:
        self.executed: list[Executed] = []
        self.messages: list[Accepted] = []
        self.closed = False
        """It has closed the connection; what is fed then is lost."""

    @abstractmethod
    def greet(self) -> bytes:
        """Return the banner."""

    @abstractmethod
    def feed(self, octets: bytes) -> list[bytes]:
        """Read `octets` and return the replies, each complete, in order."""

    @abstractmethod
    def finish(self) -> None:
        """The client's side of the connection ended: some servers execute what they have of a line,
        or take what they have of a message."""
