"""What libuv's connections have beyond Twisted's: another receiver than dataReceived, and cheap names."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from smtpguard.net import endpoints

from .recorder import HalfCloseable, Recorder
from .running import SECONDS, Given, Running


@pytest.fixture(scope="module")
def _started() -> Iterator[Running]:
    with Running("libuv") as running:
        yield running


@pytest.fixture
def libuv(_started: Running) -> Iterator[Running]:
    """Return a reactor on libuv."""
    yield _started
    _started.clear()


class Other:
    """Takes octets in a recorder's place."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.take = self.recorder.dataReceived

    def wait_for(self, octets: bytes) -> None:
        self.recorder.wait_for(octets)


def test_a_receiver_that_is_given_in_connection_made_gets_all(libuv: Running) -> None:
    other = Other()
    recorder = Recorder(connectionMade=lambda r: r.transport.deliver_to(other.take))
    with libuv.accept(recorder) as client:
        client.sendall(b"one")
        other.wait_for(b"one")
        client.sendall(b"two")
        other.wait_for(b"onetwo")
    recorder.wait("connectionLost")
    assert recorder.events == ["connectionMade", "connectionLost"]


def test_a_receiver_may_hand_over_to_the_next(libuv: Running) -> None:
    other = Other()
    recorder = Recorder(dataReceived=lambda r: r.transport.deliver_to(other.take))
    with libuv.accept(recorder) as client:
        client.sendall(b"one")
        recorder.wait_for(b"one")
        client.sendall(b"two")
        other.wait_for(b"two")
        assert recorder.octets == b"one"


@pytest.mark.parametrize("early", [True, False])
def test_a_receiver_that_is_given_while_paused_gets_what_comes_behind(libuv: Running, early: bool) -> None:
    other = Other()
    made = {"connectionMade": lambda r: r.transport.pauseProducing()} if early else {}
    recorder = Recorder(**made)
    with libuv.accept(recorder) as client:
        libuv.do(lambda: recorder.transport.pauseProducing())
        client.sendall(b"held")
        libuv.do(lambda: None)

        def change() -> None:
            recorder.transport.deliver_to(other.take)
            recorder.transport.resumeProducing()

        libuv.do(change)
        other.wait_for(b"held")
        client.sendall(b", and more")
        other.wait_for(b"held, and more")
    assert not recorder.octets


def test_a_receiver_for_a_connection_that_is_gone_is_never_called(libuv: Running) -> None:
    recorder = Recorder()
    libuv.accept(recorder).close()
    recorder.wait("connectionLost")
    libuv.do(lambda: recorder.transport.deliver_to(recorder.dataReceived))
    assert recorder.events[-1] == "connectionLost"


def test_held_octets_of_a_protocol_that_fails_end_its_connection(libuv: Running) -> None:
    def fail(_: Recorder) -> None:
        raise ZeroDivisionError("a bug")

    recorder = Recorder(connectionMade=lambda r: r.transport.pauseProducing(), dataReceived=fail)
    with libuv.accept(recorder) as client:
        client.sendall(b"x")
        libuv.do(lambda: None)
        libuv.do(lambda: recorder.transport.resumeProducing())
        recorder.wait("connectionLost")


def test_an_end_that_comes_while_held_is_told_when_reading_begins(libuv: Running) -> None:
    recorder = HalfCloseable(connectionMade=lambda r: r.transport.pauseProducing())
    with libuv.accept(recorder) as client:
        client.shutdown(socket.SHUT_WR)
        libuv.do(lambda: None)
        libuv.do(lambda: None)
        assert recorder.events == ["connectionMade"]
        libuv.do(lambda: recorder.transport.resumeProducing())
        recorder.wait("readConnectionLost")


def test_names_are_the_sockets_own_and_outlive_the_connection(libuv: Running) -> None:
    recorder = Recorder()
    with libuv.accept(recorder) as client:
        names = client.getsockname(), client.getpeername()
        assert (recorder.transport.peername(), recorder.transport.sockname()) == names
    recorder.wait("connectionLost")
    assert (recorder.transport.peername(), recorder.transport.sockname()) == names
    assert recorder.transport.getPeer().port == names[0][1]


def test_a_factory_may_be_asked_with_the_connection_in_place_of_an_address(libuv: Running) -> None:
    seen: list[Any] = []
    recorder = Recorder()

    class Asked(Given):
        def protocol_for(self, connection: Any) -> Recorder:
            seen.append(connection.peername())
            return recorder

    endpoint = libuv.do(lambda: endpoints.server(libuv.reactor, "tcp:0:interface=127.0.0.1"))
    port = libuv.do(endpoint.listen, Asked([]))
    with socket.create_connection(("127.0.0.1", port.getHost().port), SECONDS) as client:
        recorder.wait("connectionMade")
        assert seen == [client.getsockname()]
    recorder.wait("connectionLost")
    libuv.do(port.stopListening)
