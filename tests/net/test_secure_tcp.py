"""A transport in TLS over real connections, with a client that is the ssl module's own.

The reactor is one of the test's own, turned by hand: none is installed.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpguard.net.secure import SecureTransport
from smtpguard.tls.engine import TlsEngine, TlsFault
from tests.rig.wait import wait_until
from tests.tls.ends import CLIENTS, SERVER, VERSIONS

SECONDS = 20
BUFFER = 65536
"""Octets of the kernel's, so that it is soon full."""


@pytest.fixture
def reactor() -> Iterator[Any]:
    """Return a reactor that turns only while it is asked to."""
    own: Any = EPollReactor()
    yield own
    for selectable in own.removeAll():
        selectable.connectionLost(Failure(connectionDone))
    own.waker.connectionLost(None)
    own._poller.close()


@implementer(IPushProducer)
class Server(Protocol):
    """Echoes what it gets, and produces when asked to, as long as the transport takes it."""

    transport: Any

    def __init__(self) -> None:
        self.told: list[str] = []
        self.paused = False
        self.pauses = 0
        self.got = bytearray()

    def connectionMade(self) -> None:
        self.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self.secure = SecureTransport(
            self.transport,
            TlsEngine(SERVER, server=True),
            on_established=lambda: self.told.append("established"),
            on_plain=self.plain,
            on_finished=self.finished,
            on_fault=self.fault,
        )
        self.secure.registerProducer(self, True)
        self.secure.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        self.secure.received(data)

    def plain(self, octets: bytes) -> None:
        assert self.transport.getTcpNoDelay()
        self.got += octets
        if self.got.endswith(b"QUIT\r\n"):
            self.secure.write(b"221 bye\r\n")
            self.secure.unregisterProducer()
            self.secure.loseConnection()

    def finished(self) -> None:
        self.told.append("finished")
        self.secure.loseConnection()

    def fault(self, fault: TlsFault) -> None:
        self.told.append(fault.what)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.told.append("lost")

    def pauseProducing(self) -> None:
        self.paused = True
        self.pauses += 1

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        """The connection is gone."""


class Running:
    """A server, and a client in a thread, so that both can block where they do."""

    def __init__(self, reactor: Any, client: Callable[[socket.socket], None]) -> None:
        self._reactor = reactor
        self.protocols: list[Server] = []
        factory = Factory.forProtocol(self._server)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.failed: list[BaseException] = []

        def run() -> None:
            try:
                with closing(socket.create_connection(("127.0.0.1", port.getHost().port), SECONDS)) as connection:
                    client(connection)
            except BaseException as error:  # noqa: BLE001 - it is raised again by the test
                self.failed.append(error)

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def _server(self) -> Server:
        self.protocols.append(Server())
        return self.protocols[-1]

    def until(self, happened: Callable[[], bool], what: str) -> None:
        """Turn the reactor until something has happened."""

        def turned() -> bool:
            for _ in range(100):
                self._reactor.iterate(0.001)
                if happened():
                    return True
            return False

        wait_until(turned, what, SECONDS, lambda: f"{[p.told for p in self.protocols]} {self.failed}")

    def finish(self) -> Server:
        """Wait until both ends are gone."""
        self.until(lambda: not self.thread.is_alive(), "the client's end")
        self.until(lambda: self.protocols[0].told[-1:] == ["lost"], "the server's end")
        if self.failed:
            raise self.failed[0]
        return self.protocols[0]


def wrapped(connection: socket.socket, version: ssl.TLSVersion) -> ssl.SSLSocket:
    return CLIENTS[version].wrap_socket(connection, server_hostname="mx.test", suppress_ragged_eofs=False)


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_a_conversation_ends_in_order(reactor: Any, version: ssl.TLSVersion) -> None:
    """The client sees a close_notify behind the last reply; else its ssl module would raise."""
    read: list[bytes] = []

    def client(connection: socket.socket) -> None:
        with wrapped(connection, version) as secure:
            secure.sendall(b"NOOP\r\n")
            secure.sendall(b"QUIT\r\n")
            while octets := secure.recv(4096):
                read.append(octets)

    server = Running(reactor, client).finish()
    assert b"".join(read) == b"221 bye\r\n"
    assert bytes(server.got) == b"NOOP\r\nQUIT\r\n"
    assert server.told == ["established", "lost"]


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_a_client_that_does_not_read_pauses_the_producer(reactor: Any, version: ssl.TLSVersion) -> None:
    """And one that reads again gets everything."""
    may_read = threading.Event()
    read: list[int] = []

    def client(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        with wrapped(connection, version) as secure:
            secure.sendall(b"go\r\n")
            assert may_read.wait(SECONDS)
            left = total
            while left:
                read.append(len(secure.recv(65536)))
                left -= read[-1]
            secure.sendall(b"QUIT\r\n")
            assert secure.recv(100) == b"221 bye\r\n"
            assert secure.recv(100) == b""

    total = 4 << 20
    piece = bytes(65536)
    running = Running(reactor, client)
    running.until(lambda: bool(running.protocols and running.protocols[0].got), "the client's word")
    server = running.protocols[0]
    left = total

    def produce() -> bool:
        nonlocal left
        if not server.paused and left:
            server.secure.write(piece)
            left -= len(piece)
        return server.paused or not left

    def stuck() -> bool:
        """Whether the kernel takes no more: its buffers are full, and so is the transport's."""
        assert left, "nothing paused the producer"
        _, writable, _ = select.select([], [server.transport], [], 0)
        return not writable

    running.until(lambda: produce() and stuck(), "a pause that lasts")
    assert left > total // 2
    may_read.set()
    running.until(lambda: produce() and not left, "the end")
    assert running.finish().told == ["established", "lost"]
    assert sum(read) == total


def test_a_client_that_speaks_no_tls_is_sent_away(reactor: Any) -> None:
    """The connection closes, though the producer was never unregistered by its owner."""

    def client(connection: socket.socket) -> None:
        connection.sendall(b"EHLO x\r\n")
        assert connection.recv(100) == b""

    assert Running(reactor, client).finish().told == ["wrong version number", "lost"]


def test_a_client_that_leaves_in_order_is_known_from_one_that_does_not(reactor: Any) -> None:
    """Only the first says goodbye."""

    def polite(connection: socket.socket) -> None:
        secure = wrapped(connection, ssl.TLSVersion.TLSv1_3)
        secure.sendall(b"DATA\r\n")
        secure.unwrap().close()

    def rude(connection: socket.socket) -> None:
        secure = wrapped(connection, ssl.TLSVersion.TLSv1_3)
        secure.sendall(b"DATA\r\n")
        secure.close()

    assert Running(reactor, polite).finish().told == ["established", "finished", "lost"]
    assert Running(reactor, rude).finish().told == ["established", "lost"]
