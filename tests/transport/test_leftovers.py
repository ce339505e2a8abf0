"""What is libuv's alone: no cycles for the garbage collector to find, and sockets that are prepared."""

from __future__ import annotations

import errno
import gc
import socket
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.error import ConnectBindError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from smtpguard.net import endpoints
from smtpguard.transport.connecting import ClientEndpoint
from smtpguard.transport.ways import PreparedWay
from tests.rig.wait import wait_until

from .running import SECONDS, Given, Running


class Ends(Protocol):
    """Closes at the first octets, and counts."""

    ended = 0

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        Ends.ended += 1


@pytest.fixture
def libuv() -> Iterator[Running]:
    """Return the reactor of which this is promised: Twisted's own leaves cycles."""
    with Running("libuv") as running:
        yield running


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def gone(left: list[weakref.ref[Any]]) -> None:
    wait_until(lambda: all(one() is None for one in left), "all of it to go", 5, lambda: repr([one() for one in left]))


@pytest.mark.usefixtures("_no_collector")
def test_a_client_leaves_nothing(libuv: Running) -> None:
    left: list[weakref.ref[Any]] = []

    class Noted(Given):
        def buildProtocol(self, addr: Any) -> Any:
            return Ends()

    factory = Noted([])
    made = factory.buildProtocol

    def protocol_for(connection: Any) -> Any:
        protocol = made(None)
        left.extend((weakref.ref(connection), weakref.ref(protocol)))
        return protocol

    factory.protocol_for = protocol_for  # type: ignore[attr-defined]
    endpoint = libuv.do(lambda: endpoints.server(libuv.reactor, "tcp:0:interface=127.0.0.1"))
    port = libuv.do(endpoint.listen, factory)
    name = ("127.0.0.1", port.getHost().port)
    for _ in range(3):
        with socket.create_connection(name, SECONDS) as client:
            client.sendall(b"x")
            assert client.recv(1) == b""
    gone(left)
    assert len(left) == 6
    libuv.do(port.stopListening)


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("how", ["made", "refused", "cancelled"])
def test_an_attempt_leaves_nothing(libuv: Running, how: str) -> None:
    left: list[weakref.ref[Any]] = []
    told: list[Failure] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)
        text = f"tcp:127.0.0.1:{server.getsockname()[1]}"
        if how == "refused":
            server.close()
        endpoint: Any = libuv.do(lambda: endpoints.client(libuv.reactor, text, None, SECONDS))

        def begin() -> None:
            protocol = Ends()
            attempt = endpoint.begin(protocol, lambda failure: told.append(failure.type))
            left.extend((weakref.ref(protocol), weakref.ref(attempt)))
            if how == "cancelled":
                attempt.cancel()

        ended = Ends.ended
        libuv.do(begin)
        if how == "made":
            with server.accept()[0] as there:
                there.sendall(b"x")
                wait_until(lambda: Ends.ended > ended, "the end")
    gone(left)
    assert bool(told) == (how == "refused")


def test_a_socket_that_cannot_be_prepared_is_no_fault_of_the_server(libuv: Running) -> None:
    def forbidden() -> socket.socket:
        raise PermissionError(errno.EPERM, "not permitted")

    way = PreparedWay("127.0.0.1", 25, forbidden)
    told: list[Failure] = []
    libuv.do(lambda: ClientEndpoint(libuv.reactor.libuv, way, SECONDS).begin(Ends(), told.append))
    wait_until(lambda: told, "the failure")
    assert told[0].type is ConnectBindError
    assert "Operation not permitted" in told[0].getErrorMessage()
