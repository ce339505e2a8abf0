"""What a protocol is told of what comes, and what it may do about it."""

from __future__ import annotations

import socket
import struct
from itertools import pairwise
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport

from smtpguard.transport.connection import READ_OCTETS
from tests.rig.wait import wait_until

from .recorder import HalfCloseable, Recorder
from .running import Running

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER for a close that resets."""


def test_octets_arrive_in_order_and_the_end_is_told_once(running: Running) -> None:
    recorder = Recorder()
    with running.accept(recorder) as client:
        client.sendall(b"one")
        recorder.wait_for(b"one")
        client.sendall(b"two")
        recorder.wait_for(b"onetwo")
    assert recorder.ended is ConnectionDone
    assert recorder.events == ["connectionMade", "dataReceived", "dataReceived", "connectionLost"]


def test_the_transport_is_what_twisted_calls_one(running: Running) -> None:
    recorder = Recorder()
    with running.accept(recorder):
        for interface in (ITCPTransport, IPushProducer, IConsumer):
            assert interface.providedBy(recorder.transport)


def test_a_reset_is_a_connection_that_was_lost(running: Running) -> None:
    recorder = Recorder()
    client = running.accept(recorder)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()
    assert recorder.ended is ConnectionLost


def test_who_can_do_with_half_a_connection_goes_on_sending(running: Running) -> None:
    recorder = HalfCloseable(readConnectionLost=lambda r: r.transport.write(b"still here"))
    with running.accept(recorder) as client:
        client.sendall(b"all")
        client.shutdown(socket.SHUT_WR)
        recorder.wait("readConnectionLost")
        assert client.recv(100) == b"still here"
        running.do(lambda: recorder.transport.write(b"."))
        assert client.recv(100) == b"."
        running.do(lambda: recorder.transport.loseConnection())
        assert client.recv(100) == b""
    assert recorder.ended is ConnectionDone
    assert recorder.events == ["connectionMade", "dataReceived", "readConnectionLost", "connectionLost"]


def test_the_end_of_what_comes_ends_a_protocol_that_cannot(running: Running) -> None:
    recorder = Recorder()
    with running.accept(recorder) as client:
        client.shutdown(socket.SHUT_WR)
        assert recorder.ended is ConnectionDone
        assert client.recv(100) == b""


def test_an_end_that_is_read_again_is_told_again(running: Running) -> None:
    recorder = HalfCloseable()
    with running.accept(recorder) as client:
        client.shutdown(socket.SHUT_WR)
        recorder.wait("readConnectionLost")
        running.do(lambda: recorder.transport.resumeProducing())
        recorder.wait("readConnectionLost", 2)


def test_nothing_arrives_while_paused(running: Running) -> None:
    recorder = Recorder()
    with running.accept(recorder) as client:
        running.do(lambda: recorder.transport.pauseProducing())
        client.sendall(b"wait")
        _turns(running)
        assert not recorder.octets
        running.do(lambda: recorder.transport.resumeProducing())
        recorder.wait_for(b"wait")


def test_who_pauses_in_connection_made_gets_nothing_before_it_resumes(running: Running) -> None:
    recorder = Recorder(connectionMade=lambda r: r.transport.pauseProducing())
    with running.accept(recorder) as client:
        client.sendall(b"early")
        client.shutdown(socket.SHUT_WR)
        _turns(running)
        assert recorder.events == ["connectionMade"]
        running.do(lambda: recorder.transport.resumeProducing())
        assert recorder.ended is ConnectionDone
        assert recorder.octets == b"early"


def test_who_changes_its_mind_is_asked_the_last_time(running: Running) -> None:
    def there_and_back(recorder: Recorder) -> None:
        recorder.transport.pauseProducing()
        recorder.transport.resumeProducing()

    recorder = Recorder(connectionMade=there_and_back)
    with running.accept(recorder) as client:
        client.sendall(b"now")
        recorder.wait_for(b"now")

    held = Recorder(connectionMade=lambda r: r.transport.pauseProducing())
    with running.accept(held) as client:
        client.sendall(b"later")
        _turns(running)

        def on_off(_: Any = None) -> None:
            held.transport.resumeProducing()
            held.transport.pauseProducing()

        running.do(on_off)
        _turns(running)
        assert not held.octets
        running.do(lambda: held.transport.resumeProducing())
        held.wait_for(b"later")
        client.sendall(b" too")
        held.wait_for(b"later too")


def test_pausing_and_resuming_a_connection_that_is_gone_is_harmless(running: Running) -> None:
    recorder = Recorder()
    running.accept(recorder).close()
    recorder.wait("connectionLost")

    def all_of_it() -> None:
        transport = recorder.transport
        transport.pauseProducing()
        transport.resumeProducing()
        transport.write(b"x")
        transport.writeSequence([b"x"])
        transport.loseConnection()
        transport.abortConnection()
        transport.unregisterProducer()

    running.do(all_of_it)
    assert recorder.events == ["connectionMade", "connectionLost"]


def test_a_protocol_that_fails_loses_its_connection_and_no_other(running: Running) -> None:
    def fail(_: Recorder) -> None:
        raise ZeroDivisionError("a bug")

    failing, other = Recorder(dataReceived=fail), Recorder()
    with running.accept(failing) as client, running.accept(other) as second:
        client.sendall(b"x")
        assert failing.ended is ZeroDivisionError
        second.sendall(b"y")
        other.wait_for(b"y")


def test_much_comes_in_pieces_of_bounded_size(running: Running) -> None:
    sizes = [0]
    recorder = Recorder(dataReceived=lambda r: sizes.append(len(r.octets)))
    with running.accept(recorder) as client:
        client.sendall(bytes(10_000_000))
        wait_until(lambda: len(recorder.octets) == 10_000_000, "all of it")
    assert max(after - before for before, after in pairwise(sizes)) <= READ_OCTETS


def _turns(running: Running) -> None:
    """Let the reactor turn more than once: what was readable has been read, if it was to be."""
    for _ in range(3):
        running.do(lambda: None)
