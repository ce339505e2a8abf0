"""What is written, and the end of it."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost

from tests.rig.wait import wait_until

from .recorder import HalfCloseable, Recorder
from .running import Running, drain

MUCH = 50_000_000
SMALL_BUFFER = 4096


def test_what_is_written_in_connection_made_is_sent(running: Running) -> None:
    with running.accept(Recorder(connectionMade=lambda r: r.transport.write(b"220 hello"))) as client:
        assert client.recv(100) == b"220 hello"


def test_pieces_leave_in_order(running: Running) -> None:
    recorder = Recorder()
    with running.accept(recorder) as client:

        def say() -> None:
            recorder.transport.write(b"a")
            recorder.transport.writeSequence([b"b", b"", b"c"])
            recorder.transport.writeSequence((b"d",))
            recorder.transport.writeSequence([])
            recorder.transport.write(b"")
            recorder.transport.write(b"e")
            recorder.transport.loseConnection()

        running.do(say)
        assert drain(client) == b"abcde"
    assert recorder.ended is ConnectionDone


def test_text_is_no_octets(running: Running) -> None:
    recorder = Recorder()
    with running.accept(recorder), pytest.raises(TypeError):
        running.do(lambda: recorder.transport.write("text"))


def test_large_pieces_among_small_ones_leave_in_order(running: Running) -> None:
    pieces = [b"1", b"2" * 300_000, b"3", b"4" * 2_000_000, b"5"]
    recorder = Recorder()
    with running.accept(recorder) as client:

        def say() -> None:
            recorder.transport.writeSequence(pieces)
            recorder.transport.write(b"6")
            recorder.transport.loseConnection()

        running.do(say)
        assert drain(client) == b"".join(pieces) + b"6"


def test_closing_waits_for_all_that_was_written(running: Running) -> None:
    recorder = Recorder()
    with running.accept(recorder, SMALL_BUFFER) as client:

        def say() -> None:
            recorder.transport.write(bytes(MUCH))
            recorder.transport.loseConnection()

        running.do(say)
        running.do(lambda: None)
        assert not recorder.lost
        assert len(drain(client)) == MUCH
    assert recorder.ended is ConnectionDone


def test_much_is_sent_while_reading_is_paused(running: Running) -> None:
    recorder = Recorder()
    with running.accept(recorder) as client:

        def say() -> None:
            recorder.transport.pauseProducing()
            recorder.transport.write(bytes(MUCH))

        running.do(say)
        left = MUCH
        while left:
            left -= len(client.recv(1 << 20))
        client.sendall(b"x")
        running.do(lambda: recorder.transport.resumeProducing())
        recorder.wait_for(b"x")


def test_a_reset_while_writing_ends_it(running: Running) -> None:
    recorder = Recorder()
    client = running.accept(recorder, SMALL_BUFFER)
    running.do(lambda: recorder.transport.write(bytes(MUCH)))
    client.close()  # with input unread: a reset
    # epoll may tell Twisted's own of a hang-up before it has tried to send again.
    assert recorder.ended in ((ConnectionLost, ConnectionDone) if running.kind == "stock" else (ConnectionLost,))


def test_the_protocol_may_close_while_it_is_handed_octets(running: Running) -> None:
    def bye(recorder: Recorder) -> None:
        recorder.transport.write(b"bye")
        recorder.transport.loseConnection()
        assert not recorder.lost

    recorder = Recorder(dataReceived=bye)
    with running.accept(recorder) as client:
        client.sendall(b"QUIT")
        assert drain(client) == b"bye"
    assert recorder.ended is ConnectionDone
    assert recorder.events == ["connectionMade", "dataReceived", "connectionLost"]


def test_nothing_arrives_behind_a_close(running: Running) -> None:
    recorder = Recorder()
    with running.accept(recorder, SMALL_BUFFER) as client:

        def bye() -> None:
            recorder.transport.write(bytes(MUCH))
            recorder.transport.loseConnection()
            recorder.transport.resumeProducing()

        running.do(bye)
        client.sendall(b"are you there?")
        with suppress(ConnectionResetError):  # there is input that nobody has read
            drain(client)
    recorder.wait("connectionLost")
    assert not recorder.octets


@pytest.mark.parametrize("octets", [0, 5, MUCH])
def test_half_a_close_sends_what_was_written_and_goes_on_reading(running: Running, octets: int) -> None:
    recorder = HalfCloseable()
    with running.accept(recorder, SMALL_BUFFER) as client:

        def say() -> None:
            recorder.transport.write(bytes(octets))
            recorder.transport.loseWriteConnection()

        running.do(say)
        assert len(drain(client)) == octets
        recorder.wait("writeConnectionLost")
        running.do(lambda: recorder.transport.write(b"too late"))
        client.sendall(b"heard")
        recorder.wait_for(b"heard")
        client.close()
        recorder.wait("readConnectionLost")
        assert not recorder.lost
        running.do(lambda: recorder.transport.loseConnection())
    assert recorder.ended is ConnectionDone
    assert recorder.events.count("writeConnectionLost") == 1


def test_half_a_close_is_nothing_to_a_protocol_that_is_not_told(running: Running) -> None:
    recorder = Recorder()
    with running.accept(recorder) as client:
        running.do(lambda: recorder.transport.loseWriteConnection())
        assert drain(client) == b""
        client.sendall(b"x")
        recorder.wait_for(b"x")
    assert recorder.ended is ConnectionDone


def test_half_a_close_may_be_followed_by_a_whole_one_at_once(running: Running) -> None:
    recorder = HalfCloseable()
    with running.accept(recorder, SMALL_BUFFER) as client:

        def say() -> None:
            recorder.transport.write(bytes(MUCH))
            recorder.transport.loseWriteConnection()
            recorder.transport.loseConnection()

        running.do(say)
        assert len(drain(client)) == MUCH
    assert recorder.ended is ConnectionDone


def test_a_peer_that_never_reads_holds_a_close_up_until_it_is_aborted(running: Running) -> None:
    recorder = Recorder()
    with running.accept(recorder, SMALL_BUFFER) as client:

        def say() -> None:
            recorder.transport.write(bytes(MUCH))
            recorder.transport.loseConnection()

        running.do(say)
        wait_until(lambda: client.recv(1, socket.MSG_PEEK), "something to read")
        assert not recorder.lost
        running.do(lambda: recorder.transport.abortConnection())
        recorder.wait("connectionLost")
