"""A connection that is cut off: at once, with a reset, and never from within the call."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionLost

from .recorder import Recorder
from .running import Running, drain

MUCH = 50_000_000


def test_the_peer_gets_a_reset(running: Running) -> None:
    recorder = Recorder()
    with running.accept(recorder) as client:
        running.do(lambda: recorder.transport.abortConnection())
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert recorder.ended is ConnectionAborted


def test_what_is_unsent_is_lost(running: Running) -> None:
    recorder = Recorder()
    with running.accept(recorder, 4096) as client:

        def say() -> None:
            recorder.transport.write(bytes(MUCH))
            recorder.transport.abortConnection()
            recorder.transport.write(b"more")

        running.do(say)
        recorder.wait("connectionLost")
        with pytest.raises(ConnectionResetError):
            drain(client)  # what the kernel had before
    assert recorder.ended is ConnectionAborted


def abort(recorder: Recorder) -> None:
    recorder.transport.abortConnection()
    recorder.transport.abortConnection()
    assert not recorder.lost


def test_the_end_is_told_in_a_later_turn(running: Running) -> None:
    recorder = Recorder(dataReceived=abort)
    with running.accept(recorder) as client:
        client.sendall(b"x")
        assert recorder.ended is ConnectionAborted
    assert recorder.events == ["connectionMade", "dataReceived", "connectionLost"]


def test_a_connection_may_be_cut_off_in_its_first_moment(running: Running) -> None:
    recorder = Recorder(connectionMade=abort)
    port = running.listen("tcp:0:interface=127.0.0.1", recorder)
    with socket.socket() as client, suppress(ConnectionResetError):
        client.connect(("127.0.0.1", port.getHost().port))
    assert recorder.ended is ConnectionAborted
    assert recorder.events == ["connectionMade", "connectionLost"]


def test_a_close_may_become_an_abort(running: Running) -> None:
    recorder = Recorder()
    with running.accept(recorder) as client:

        def both() -> None:
            recorder.transport.loseConnection()
            recorder.transport.abortConnection()

        running.do(both)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert recorder.ended is ConnectionAborted


def test_an_abort_behind_the_peers_end_is_one(running: Running) -> None:
    recorder = Recorder(connectionMade=lambda r: r.transport.pauseProducing())
    client = running.accept(recorder)
    client.close()
    running.do(lambda: recorder.transport.abortConnection())
    assert recorder.ended in (ConnectionAborted, ConnectionLost)


def test_a_producer_is_stopped(running: Running) -> None:
    recorder = Recorder(connectionMade=lambda r: r.transport.registerProducer(r, True))
    with running.accept(recorder):
        running.do(lambda: recorder.transport.abortConnection())
        recorder.wait("connectionLost")
    assert recorder.events == ["connectionMade", "stopProducing", "connectionLost"]


def test_a_unix_socket_is_cut_off_too(running: Running, tmp_path: object) -> None:
    recorder = Recorder()
    running.listen(f"unix:{tmp_path}/s", recorder)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{tmp_path}/s")
        recorder.wait("connectionMade")
        running.do(lambda: recorder.transport.abortConnection())
        assert client.recv(1) == b""
    assert recorder.ended is ConnectionAborted
