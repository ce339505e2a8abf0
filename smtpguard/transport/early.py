"""What comes for a protocol that was paused before anything was read.

Contract: libuv begins to read when connectionMade has returned, whatever was said in there.  An `Early`
takes the first octets in place of the protocol, stops the reading, and hands them on when the protocol
resumes, in a later turn, as if they had come then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.logger import Logger
from twisted.python.failure import Failure

_log: Final = Logger()


class Paused(Protocol):
    """The connection, as far as this needs it."""

    def early_over(self, receiver: Callable[[bytes], object]) -> None:
        """Deliver to `receiver` from now on."""


class Early:
    """The first octets, which nobody wanted yet."""

    __slots__ = ("_held", "_libuv", "paused", "receiver")

    def __init__(self, libuv: Any, receiver: Callable[[bytes], object]) -> None:
        self._libuv = libuv
        self._held: list[bytes] = []
        """At most what libuv reads in one go, since it is told to stop at the first."""
        self.receiver = receiver
        self.paused = True

    def received(self, octets: bytes) -> None:
        """Take what libuv has read."""
        self._held.append(octets)
        self._libuv.pause_reading()

    def release(self, connection: Paused) -> None:
        """The protocol wants to read."""
        if not self.paused:
            return
        self.paused = False
        if self._held:
            asyncio.get_running_loop().call_soon(self._hand_on, connection)
        else:
            connection.early_over(self.receiver)
            self._libuv.resume_reading()

    def _hand_on(self, connection: Paused) -> None:
        if self.paused or not self._held or self._libuv.is_closing():
            return
        held, self._held = self._held, []
        connection.early_over(self.receiver)
        self._libuv.resume_reading()  # which the receiver may stop again
        try:
            for octets in held:
                self.receiver(octets)
        except Exception:  # noqa: BLE001 - as where libuv calls: the fault of one connection
            _log.failure("dataReceived failed", Failure())
            self._libuv.abort()
