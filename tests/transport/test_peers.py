"""Clients that are gone before anybody looks, and hosts that are known by name."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectingCancelledError, ConnectionRefusedError, DNSLookupError
from twisted.internet.interfaces import IHostnameResolver, IHostResolution
from zope.interface import implementer

from tests.rig.sendmail import free_port

from .recorder import Recorder
from .running import SECONDS, Running
from .test_connecting import fill, outcome

RESET = struct.pack("ii", 1, 0)


def test_a_client_that_has_reset_its_connection_before_it_is_looked_at_does_no_harm(running: Running) -> None:
    gone, staying = Recorder(), Recorder()
    port = running.listen("tcp:0:interface=127.0.0.1", gone, staying)
    name = ("127.0.0.1", port.getHost().port)

    def come_and_go() -> None:
        # In the reactor's thread, so that it cannot look in between.
        with socket.create_connection(name, SECONDS) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    running.do(come_and_go)
    with socket.create_connection(name, SECONDS) as client:
        client.sendall(b"x")
        # libuv has no address to make a protocol for, and makes none; Twisted's own has.
        recorder = staying if running.kind == "stock" else gone
        recorder.wait_for(b"x")


@implementer(IHostnameResolver)
class Known:
    """A resolver that knows one name, whose look-ups are the tests' own."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[Any] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        receiver = resolutionReceiver
        receiver.resolutionBegan(None)
        if hostName == "mx.test":
            for address in self._addresses:
                receiver.addressResolved(IPv4Address("TCP", address, portNumber))
        receiver.resolutionComplete()
        return None  # type: ignore[return-value]


@pytest.fixture
def resolver(running: Running) -> Iterator[Any]:
    """Return what installs a resolver; the reactor's own is back afterwards."""
    own: list[Any] = []

    def install(*addresses: str) -> None:
        own.append(running.do(lambda: running.reactor.installNameResolver(Known(*addresses))))

    yield install
    if own:
        running.do(lambda: running.reactor.installNameResolver(own[0]))


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(SECONDS)
        yield listening


def mx(server: socket.socket) -> str:
    return f"tcp:mx.test:{server.getsockname()[1]}"


def test_the_next_address_is_tried_when_one_refuses(running: Running, resolver: Any, server: socket.socket) -> None:
    resolver("127.0.0.2", "127.0.0.1")
    recorder = Recorder()
    connecting = running.connect(recorder, mx(server))
    with server.accept()[0]:
        assert outcome(connecting) is recorder
        assert recorder.told.host == "127.0.0.1"


def test_the_next_address_is_tried_when_one_does_not_answer(running: Running, resolver: Any) -> None:
    resolver("127.0.0.2", "127.0.0.1")
    with ExitStack() as held:
        port = free_port()
        full = held.enter_context(socket.create_server(("127.0.0.2", port), backlog=0))
        fill(held, full)
        server = held.enter_context(socket.create_server(("127.0.0.1", port)))
        recorder = Recorder()
        connecting = running.connect(recorder, mx(server))
        with server.accept()[0]:
            assert outcome(connecting) is recorder


def test_a_name_whose_addresses_all_refuse(running: Running, resolver: Any, server: socket.socket) -> None:
    resolver("127.0.0.2", "127.0.0.3")
    assert outcome(running.connect(Recorder(), mx(server))).type is ConnectionRefusedError


def test_a_name_that_nobody_has(running: Running, resolver: Any) -> None:
    resolver()
    assert outcome(running.connect(Recorder(), "tcp:nobody.test:25")).type is DNSLookupError


def test_all_attempts_at_a_name_are_given_up_together(running: Running, resolver: Any) -> None:
    resolver("127.0.0.1")
    with ExitStack() as held:
        full = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        fill(held, full)
        connecting = running.connect(Recorder(), mx(full))
        running.do(connecting.cancel)
        assert outcome(connecting).type is ConnectingCancelledError


def test_a_name_is_reached_from_the_source_that_was_asked_for(
    running: Running, resolver: Any, server: socket.socket
) -> None:
    resolver("127.0.0.1")
    running.connect(Recorder(), mx(server), "127.0.0.6")
    there, peer = server.accept()
    with there:
        assert peer[0] == "127.0.0.6"
