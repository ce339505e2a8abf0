"""Connecting: what is told of a connection that is made, and of one that cannot be."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import (
    ConnectBindError,
    ConnectError,
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionRefusedError,
    NoProtocol,
    TimeoutError,
)

from smtpguard.net import endpoints
from tests.rig.wait import wait_until

from .recorder import Recorder
from .running import SECONDS, Given, Running


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Return a socket that listens at 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(SECONDS)
        yield listening


def at(server: socket.socket) -> str:
    return f"tcp:127.0.0.1:{server.getsockname()[1]}"


def outcome(deferred: Any) -> Any:
    """Return what a Deferred has fired with, having waited for it."""
    fired: list[Any] = []
    deferred.addBoth(fired.append)
    wait_until(lambda: fired, "the attempt to end")
    return fired[0]


def test_the_protocol_is_connected_and_handed_back(running: Running, server: socket.socket) -> None:
    recorder = Recorder(connectionMade=lambda r: r.transport.write(b"EHLO"))
    connecting = running.connect(recorder, at(server))
    there, peer = server.accept()
    with there:
        assert outcome(connecting) is recorder
        host, port = server.getsockname()
        assert recorder.told == IPv4Address("TCP", host, port)
        assert running.do(lambda: recorder.transport.getPeer()) == IPv4Address("TCP", host, port)
        assert running.do(lambda: recorder.transport.getHost()) == IPv4Address("TCP", *peer)
        assert there.recv(100) == b"EHLO"
        there.sendall(b"250")
        recorder.wait_for(b"250")
    assert recorder.ended is ConnectionDone


def test_what_the_server_says_first_comes_behind_connection_made(running: Running, server: socket.socket) -> None:
    recorder = Recorder()
    running.connect(recorder, at(server))
    with server.accept()[0] as there:
        there.sendall(b"220")
        recorder.wait_for(b"220")
    assert recorder.events[0] == "connectionMade"


def test_a_refused_connection_is_told_as_twisted_tells_it(running: Running, server: socket.socket) -> None:
    where = at(server)
    server.close()
    recorder = Recorder()
    failure = outcome(running.connect(recorder, where))
    assert failure.type is ConnectionRefusedError
    assert failure.getErrorMessage() == "Connection was refused by other side: 111: Connection refused."
    assert not recorder.events


def test_nobody_answers(running: Running) -> None:
    with ExitStack() as held:
        full = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        fill(held, full)
        recorder = Recorder()
        failure = outcome(running.connect(recorder, at(full), seconds=0.3))
        assert failure.type is TimeoutError
        assert failure.getErrorMessage() == "User timeout caused connection failure."
        assert not recorder.events


def fill(held: ExitStack, full: socket.socket) -> None:
    """Make connections until a listening socket takes no more."""
    for _ in range(4):
        client = held.enter_context(socket.socket())
        client.setblocking(False)
        client.connect_ex(full.getsockname())


def test_each_of_many_attempts_has_its_own_time(running: Running, server: socket.socket) -> None:
    with ExitStack() as held:
        full = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        fill(held, full)
        recorders = [Recorder() for _ in range(5)]
        endpoint = running.do(lambda: endpoints.client(running.reactor, at(full), None, 0.3))
        attempts = [running.begin(endpoint.connect, Given([recorder])) for recorder in recorders]
        assert {outcome(attempt).type for attempt in attempts} == {TimeoutError}
    assert outcome(running.connect(Recorder(), at(server), seconds=0.3))


def test_an_attempt_may_be_given_up(running: Running) -> None:
    with ExitStack() as held:
        full = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        fill(held, full)
        recorder = Recorder()
        connecting = running.connect(recorder, at(full))
        running.do(connecting.cancel)
        assert outcome(connecting).type is ConnectingCancelledError
    running.do(lambda: None)
    assert not recorder.events


def test_an_attempt_that_is_given_up_in_the_same_turn_leaves_nothing(running: Running, server: socket.socket) -> None:
    recorder = Recorder()

    def begin() -> Any:
        endpoint = endpoints.client(running.reactor, at(server), None, SECONDS)
        connecting = endpoint.connect(Given([recorder]))
        connecting.cancel()
        return connecting.addErrback(lambda failure: failure.type)

    assert running.do(begin) is ConnectingCancelledError
    server.setblocking(False)
    try:
        there, _ = server.accept()
    except BlockingIOError:
        pass
    else:
        with there:
            there.settimeout(SECONDS)
            assert there.recv(1) == b""
    assert not recorder.events


def test_the_source_is_the_one_that_was_asked_for(running: Running, server: socket.socket) -> None:
    for where, bind in ((at(server), "127.0.0.7"), (f"{at(server)}:bindAddress=127.0.0.8", None)):
        recorder = Recorder()
        running.connect(recorder, where, bind)
        there, peer = server.accept()
        with there:
            assert peer[0] == (bind or "127.0.0.8")
            recorder.wait("connectionMade")
            assert running.do(lambda r=recorder: r.transport.getHost().host) == peer[0]


# Twisted leaves a socket open that could not be bound, and says so when it is collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_source_that_is_not_this_hosts_is_told_apart_from_the_server(running: Running, server: socket.socket) -> None:
    failure = outcome(running.connect(Recorder(), at(server), "192.0.2.1"))
    assert failure.type is ConnectBindError
    assert "Cannot assign requested address" in failure.getErrorMessage()


def test_a_server_that_is_away_is_told_apart_from_the_source(running: Running, server: socket.socket) -> None:
    where = at(server)
    server.close()
    assert outcome(running.connect(Recorder(), where, "127.0.0.7")).type is ConnectionRefusedError


def test_a_network_that_cannot_be_reached_is_no_bind_error(running: Running) -> None:
    failure = outcome(running.connect(Recorder(), "tcp:127.0.0.1:25", "127.0.0.9", 1))
    assert failure.check(ConnectError)
    assert not failure.check(ConnectBindError)


def test_a_process_without_a_descriptor_left_does_not_blame_the_server(running: Running, server: socket.socket) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        failure = outcome(running.connect(Recorder(), at(server)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert failure.type is ConnectBindError


def test_ipv6(running: Running) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        recorder = Recorder()
        running.connect(recorder, f"tcp:\\:\\:1:{server.getsockname()[1]}", "::1")
        there, peer = server.accept()
        with there:
            recorder.wait("connectionMade")
            assert running.do(lambda: recorder.transport.getPeer()) == IPv6Address("TCP", *server.getsockname())
            assert running.do(lambda: recorder.transport.getHost()) == IPv6Address("TCP", *peer)
            there.sendall(b"220")
            recorder.wait_for(b"220")


def test_a_host_by_its_name(running: Running, server: socket.socket) -> None:
    recorder = Recorder()
    connecting = running.connect(recorder, f"tcp:localhost:{server.getsockname()[1]}")
    with server.accept()[0]:
        assert outcome(connecting) is recorder


def test_a_host_by_its_name_that_refuses_at_each_address(running: Running, server: socket.socket) -> None:
    where = f"tcp:localhost:{server.getsockname()[1]}"
    server.close()
    assert outcome(running.connect(Recorder(), where)).type is ConnectionRefusedError


def test_a_factory_without_a_protocol_closes(running: Running, server: socket.socket) -> None:
    endpoint = running.do(lambda: endpoints.client(running.reactor, at(server), None, SECONDS))
    connecting = running.begin(endpoint.connect, Given([]))
    with server.accept()[0] as there:
        there.settimeout(SECONDS)
        assert outcome(connecting).type is NoProtocol
        assert there.recv(1) == b""


def test_a_unix_socket(running: Running, tmp_path: object) -> None:
    path = f"{tmp_path}/smtp.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        recorder = Recorder()
        running.connect(recorder, f"unix:{path}")
        there, _ = server.accept()
        with there:
            recorder.wait("connectionMade")
            assert running.do(lambda: recorder.transport.getPeer()) == UNIXAddress(path)
            there.sendall(b"220")
            recorder.wait_for(b"220")
        assert recorder.ended is ConnectionDone


def test_a_unix_socket_where_nobody_listens(running: Running, tmp_path: object) -> None:
    failure = outcome(running.connect(Recorder(), f"unix:{tmp_path}/none"))
    assert failure.check(ConnectError)
    assert not failure.check(ConnectBindError)
