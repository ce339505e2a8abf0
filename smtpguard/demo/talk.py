"""The demo's clients: they say one line after the other and show what comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

Show = Callable[[str, str], None]
"""Called with who speaks (`C` or `S`) and the line."""


class Talk(LineOnlyReceiver):
    """Says `lines`, each when the reply to the one before is complete; `done` fires at the end."""

    transport: Any

    def __init__(self, lines: list[str], show: Show) -> None:
        self.done: Deferred[None] = Deferred()
        self._lines = [*lines, "QUIT"]
        self._show = show

    def lineReceived(self, line: bytes) -> None:
        text = line.decode("latin-1")
        self._show("S", text)
        if text[3:4] != "-" and self._lines:
            said = self._lines.pop(0)
            self._show("C", said)
            self.transport.write(said.encode("ascii") + b"\r\n")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.done.callback(None)


def talk(reactor: Any, port: int, source: str, lines: list[str], show: Show) -> Deferred[None]:
    """Talk to 127.0.0.1:`port` from `source`."""
    client = Talk(lines, show)
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port, bindAddress=(source, 0))
    connecting: Deferred[Any] = endpoint.connect(Factory.forProtocol(lambda: client))
    connecting.addErrback(client.done.errback)
    return client.done
