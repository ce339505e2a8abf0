"""Connections from an address that the kernel is told to take as it is; what needs routes is in tests/hosts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from twisted.internet.error import ConnectionRefusedError

from smtpguard.backends.transparent import AnswersAstray, TransparentEndpoint

from .recorder import Recorder
from .running import SECONDS, Given, Running
from .test_connecting import fill, outcome


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(SECONDS)
        yield listening


def connect(running: Running, recorder: Recorder, port: int, source: str, seconds: float = SECONDS) -> Any:
    host = "::1" if ":" in source else "127.0.0.1"
    endpoint = TransparentEndpoint(running.reactor, host, port, source, seconds)
    return running.begin(endpoint.connect, Given([recorder]))


def test_the_source_is_the_clients(running: Running, server: socket.socket) -> None:
    recorder = Recorder()
    connecting = connect(running, recorder, server.getsockname()[1], "127.0.0.66")
    there, peer = server.accept()
    with there:
        assert peer[0] == "127.0.0.66"
        assert outcome(connecting) is recorder
        assert running.do(lambda: recorder.transport.getHost().host) == "127.0.0.66"
        there.sendall(b"220")
        recorder.wait_for(b"220")
        running.do(lambda: recorder.transport.write(b"EHLO"))
        assert there.recv(100) == b"EHLO"
    recorder.wait("connectionLost")


def test_ipv6(running: Running) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        recorder = Recorder()
        connecting = connect(running, recorder, server.getsockname()[1], "::1")
        with server.accept()[0]:
            assert outcome(connecting) is recorder
        recorder.wait("connectionLost")


def test_a_server_that_refuses(running: Running, server: socket.socket) -> None:
    port = server.getsockname()[1]
    server.close()
    assert outcome(connect(running, Recorder(), port, "127.0.0.66")).type is ConnectionRefusedError


def test_no_answer_means_that_it_went_astray(running: Running) -> None:
    with ExitStack() as held:
        full = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        fill(held, full)
        failure = outcome(connect(running, Recorder(), full.getsockname()[1], "127.0.0.66", 0.3))
    assert failure.type is AnswersAstray


def test_an_attempt_may_be_given_up(running: Running) -> None:
    with ExitStack() as held:
        full = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        fill(held, full)
        recorder = Recorder()
        connecting = connect(running, recorder, full.getsockname()[1], "127.0.0.66")
        running.do(connecting.cancel)
        assert outcome(connecting) is not None
    assert not recorder.events
