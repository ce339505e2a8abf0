"""Connecting to the backend from an address that is not this host's: the client's own.

Contract: a `TransparentEndpoint` is a stream client endpoint like any other, but that its socket has
IP_TRANSPARENT (ip(7)) or IPV6_TRANSPARENT before it is bound.  The kernel then lets any address be
the source; that the replies find their way back here is a matter of routing
(systemd/smtpguard-transparent).  `missing` says what stands against it on this host.
"""

from __future__ import annotations

import errno
import socket
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, TCPTimedOutError, TimeoutError
from twisted.internet.interfaces import IAddress, IConnector, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import ClientFactory
from twisted.internet.tcp import Client, Connector
from twisted.python.failure import Failure
from zope.interface import implementer

_TRANSPARENT: Final = {
    socket.AF_INET: (socket.IPPROTO_IP, 19),  # IP_TRANSPARENT, linux/in.h
    socket.AF_INET6: (socket.IPPROTO_IPV6, 75),  # IPV6_TRANSPARENT, linux/in6.h
}
_NO_PORT_YET: Final = (socket.IPPROTO_IP, 24)  # IP_BIND_ADDRESS_NO_PORT, linux/in.h


def _prepare(unbound: socket.socket) -> None:
    unbound.setsockopt(*_TRANSPARENT[unbound.family], 1)
    # The port is chosen when the destination is known, so that one address may have more sessions than ports.
    unbound.setsockopt(*_NO_PORT_YET, 1)


def missing(family: int) -> str:
    """Return why no socket of this family (4 or 6) can be transparent here, or "" if one can."""
    with socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            _prepare(probe)
        except PermissionError:
            return (
                "identity: transparent needs the capability CAP_NET_ADMIN, which this process does not have: with "
                "systemd, install the drop-in smtpguard.service.d/transparent.conf"
            )
        except OSError as error:
            return f"identity: transparent does not work on this host: {error.strerror}"
    return ""


class AnswersAstray(Exception):
    """Nothing came back to the client's address: the routes are missing, at least for it, or nobody answers."""


class NoPortLeft(Exception):
    """The client has as many connections as its address has ports; others have their own."""


class _TransparentClient(Client):
    def createInternetSocket(self) -> socket.socket:
        made: socket.socket = super().createInternetSocket()  # type: ignore[no-untyped-call]
        try:
            _prepare(made)
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
