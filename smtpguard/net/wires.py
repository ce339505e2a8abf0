"""What a side asks of its transport beyond Twisted's interfaces.

Contract: does nothing where a transport does not offer it; every transport may be asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def tune(transport: Any) -> None:
    """Send small pieces at once, and find out if the peer is gone."""
    if hasattr(transport, "deliver_to"):  # then it does both by itself
        return
    for option in ("setTcpNoDelay", "setTcpKeepAlive"):
        if hasattr(transport, option):
            getattr(transport, option)(True)


def deliver(transport: Any, receiver: Callable[[bytes], None]) -> None:
    """Let what comes from now on go straight to `receiver`, where the transport can do without `dataReceived`."""
    deliver_to = getattr(transport, "deliver_to", None)
    if deliver_to is not None:
        deliver_to(receiver)
