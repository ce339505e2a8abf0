"""Twisted's factory for the two sides of a session.

Contract: it does nothing but make one.  It stands apart since a class of Twisted's cannot be the base of a
compiled one (tools/compile.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory


class Making(Factory):
    """Makes protocols by a function."""

    noisy = False

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make
        """May be replaced: from then on, others are made."""

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return self.make()

    def protocol_for(self, _connection: object) -> Any:
        """Likewise, for a transport that need not make an address first (smtpguard.transport.listening)."""
        return self.make()
