"""Listening on a socket that several processes have.

Contract: what smtpguard.net.endpoints gives for an inherited socket, but for unix sockets under Twisted's own
reactors: Twisted would give everybody the right to connect, and remove the path when the first of the
processes stops.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer

from ..transport.reactor import loop_of
from . import endpoints


def server(reactor: Any, text: str, inherited: socket.socket) -> IStreamServerEndpoint:
    """Return where to listen, `inherited` being the socket that listens there already; it belongs to the result."""
    if inherited.family == socket.AF_UNIX and loop_of(reactor) is None:
        return _SharedPath(reactor, inherited)
    return endpoints.server(reactor, text, inherited)


class _SharedPathPort(unix.Port):
    """A unix port that leaves the path as it is, at its beginning and at its end."""

    startListening = tcp.Port.startListening
    connectionLost = tcp.Port.connectionLost


@implementer(IStreamServerEndpoint)
class _SharedPath:
    def __init__(self, reactor: Any, inherited: socket.socket) -> None:
        self._reactor = reactor
        self._inherited = inherited

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        try:
            made: Any = _SharedPathPort
            port = made._fromListeningDescriptor(self._reactor, self._inherited.fileno(), protocolFactory)
            self._inherited.close()  # the port has a descriptor of its own
            port.startListening()
        except Exception:  # noqa: BLE001 - it is for whom the Deferred is for
            return fail()
        return succeed(port)
