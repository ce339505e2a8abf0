"""Connecting to the backend from an address that is not this host's: the client's own.

Contract: a `TransparentEndpoint` is a stream client endpoint like any other, but that its socket has
IP_TRANSPARENT (ip(7)) or IPV6_TRANSPARENT before it is bound.  The kernel then lets any address be
the source; that the replies find their way back here is a matter of routing
(systemd/smtpguard-transparent).
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, TCPTimedOutError, TimeoutError
from twisted.internet.interfaces import IAddress, IConnector, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import ClientFactory
from twisted.internet.tcp import Client, Connector
from twisted.python.failure import Failure
from zope.interface import implementer

from .sockets import make_transparent


class AnswersAstray(Exception):
    """Nothing came back to the client's address: the routes are missing, at least for it, or nobody answers."""


class NoPortLeft(Exception):
    """The client has as many connections as its address has ports; others have their own."""


class _TransparentClient(Client):
    def createInternetSocket(self) -> socket.socket:
        made: socket.socket = super().createInternetSocket()  # type: ignore[no-untyped-call]
        try:
            make_transparent(made)
        except OSError:
            made.close()
            raise  # Twisted reports it as a failure to connect
        return made


class _TransparentConnector(Connector):
    def _makeTransport(self) -> Client:
        return _TransparentClient(  # type: ignore[no-untyped-call]
            self.host, self.port, self.bindAddress, self, self.reactor
        )


class _Attempt(ClientFactory[Any]):
    noisy = False

    def __init__(self, made: IProtocolFactory, host: str, source: str) -> None:
        self._made = made
        self._host, self._source = host, source
        self.connecting: Deferred[Any] = Deferred(lambda _: self._connector.stopConnecting())

    def startedConnecting(self, connector: IConnector) -> None:
        self._connector = connector

    def buildProtocol(self, addr: IAddress | None) -> Any:
        protocol = self._made.buildProtocol(addr)  # type: ignore[arg-type]  # Twisted's two interfaces differ
        if protocol is not None:
            self.connecting.callback(protocol)
        return protocol

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        if reason.check(TimeoutError, TCPTimedOutError):
            text = (
                f"timed out, so the answers of {self._host} to {self._source} do not come back to this host (see "
                "smtpguard-transparent up), or there are none"
            )
            reason = Failure(AnswersAstray(text))
        elif isinstance(reason.value, ConnectError) and reason.value.osError == errno.EADDRNOTAVAIL:
            reason = Failure(NoPortLeft(f"all ports of {self._source} are in use towards {self._host}"))
        self.connecting.errback(reason)


@implementer(IStreamClientEndpoint)
class TransparentEndpoint:
    """A TCP endpoint, seen as connecting from `source`."""

    def __init__(self, reactor: Any, host: str, port: int, source: str, timeout: float) -> None:
        """`host` and `source` are addresses of one family; `timeout` is in seconds."""
        self._reactor = reactor
        self._host, self._port = host, port
        self._source = source
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """Connect; cancelling the result gives the attempt up."""
        attempt = _Attempt(protocolFactory, self._host, self._source)
        source = (self._source, 0)
        _TransparentConnector(self._host, self._port, attempt, self._timeout, source, self._reactor).connect()
        return attempt.connecting
