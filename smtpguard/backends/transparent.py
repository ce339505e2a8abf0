"""Connecting to the backend from an address that is not this host's: the client's own.

Contract: a `TransparentEndpoint` is a stream client endpoint like any other, but that its socket has
IP_TRANSPARENT (ip(7)) or IPV6_TRANSPARENT before it is bound.  The kernel then lets any address be
the source; that the replies find their way back here is a matter of routing
(systemd/smtpguard-transparent).  It is made on either reactor, with the same failures.
"""

from __future__ import annotations

import errno
import socket
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, TCPTimedOutError, TimeoutError
from twisted.internet.interfaces import IAddress, IConnector, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import ClientFactory
from twisted.internet.tcp import Client, Connector
from twisted.python.failure import Failure
from zope.interface import implementer

from ..net.sockets import make_transparent
from ..transport.connecting import ClientEndpoint
from ..transport.reactor import loop_of
from ..transport.ways import PreparedWay


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
        self.connecting.errback(_explained(reason, self._host, self._source))


def _explained(reason: Failure, host: str, source: str) -> Failure:
    """Return a failure to connect with what it means of a connection from another's address."""
    if reason.check(TimeoutError, TCPTimedOutError):
        text = (
            f"timed out, so the answers of {host} to {source} do not come back to this host (see "
            "smtpguard-transparent up), or there are none"
        )
        return Failure(AnswersAstray(text))
    if isinstance(reason.value, ConnectError) and reason.value.osError == errno.EADDRNOTAVAIL:
        return Failure(NoPortLeft(f"all ports of {source} are in use towards {host}"))
    return reason


def _prepared(source: str) -> socket.socket:
    """Return a socket that has `source` for its address; raises OSError."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        make_transparent(made)
        made.bind((source, 0))
    except OSError:
        made.close()
        raise
    return made


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
        loop = loop_of(self._reactor)
        if loop is not None:
            way = PreparedWay(self._host, self._port, partial(_prepared, self._source))
            connecting = ClientEndpoint(loop, way, self._timeout).connect(protocolFactory)
            return connecting.addErrback(_explained, self._host, self._source)
        attempt = _Attempt(protocolFactory, self._host, self._source)
        source = (self._source, 0)
        _TransparentConnector(self._host, self._port, attempt, self._timeout, source, self._reactor).connect()
        return attempt.connecting
