"""Back-pressure: a producer that is told when its consumer's peer does not read, and when it does again."""

from __future__ import annotations

import select
from typing import Any, Final

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

from smtpguard.transport.connection import FULL_OCTETS
from tests.rig.wait import wait_until

from .recorder import Recorder
from .running import Running

PIECE: Final = bytes(32768)
SMALL_BUFFER: Final = 4096
QUIET_SECONDS: Final = 0.3
"""If nothing can be sent for so long, both directions are full."""


class Producing(Recorder):
    """Writes pieces until it is paused, `most` at most."""

    def __init__(self, most: int, streaming: bool = True) -> None:
        super().__init__()
        self.left = most
        self.paused = False
        self._streaming = streaming

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.registerProducer(self, self._streaming)
        if self._streaming:
            self._produce()

    def _produce(self) -> None:
        while self.left and not self.paused:
            self.left -= 1
            self.transport.write(PIECE)

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self.paused = True

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self.paused = False
        if self._streaming:
            self._produce()
        elif self.left:
            self.left -= 1
            self.transport.write(PIECE)
        else:
            self.transport.unregisterProducer()
            self.transport.loseConnection()


def test_a_producer_is_paused_while_the_peer_does_not_read_and_resumed_when_it_does(running: Running) -> None:
    producer = Producing(1000)
    with running.accept(producer, SMALL_BUFFER) as client:
        producer.wait("pauseProducing")
        running.do(lambda: None)
        held = (1000 - producer.left) * len(PIECE)
        assert 0 < held < 1000 * len(PIECE)  # the kernel's buffers, and the transport's
        left = 1000 * len(PIECE)
        while left:
            left -= len(client.recv(1 << 20))
        assert producer.left == 0
    assert producer.events.count("resumeProducing") in (
        producer.events.count("pauseProducing"),
        producer.events.count("pauseProducing") - 1,
    )


def test_nothing_is_held_beyond_the_bound_and_one_piece(running: Running) -> None:
    """What is not in the kernel is in the transport, which says how much that is on libuv."""
    producer = Producing(1000)
    with running.accept(producer, SMALL_BUFFER):
        producer.wait("pauseProducing")
        if running.kind == "libuv":
            unsent = running.do(lambda: producer.transport._libuv.get_write_buffer_size())
            assert FULL_OCTETS < unsent <= FULL_OCTETS + len(PIECE)


def test_closing_waits_for_a_producer_that_is_paused(running: Running) -> None:
    producer = Producing(100)
    with running.accept(producer, SMALL_BUFFER) as client:
        producer.wait("pauseProducing")
        running.do(lambda: producer.transport.loseConnection())
        left = 100 * len(PIECE)
        while left:
            piece = client.recv(1 << 20)
            assert piece, f"closed {left} octets too early"
            left -= len(piece)
        assert client.recv(1) == b""
    assert producer.ended is ConnectionDone


def test_who_unregisters_lets_a_close_happen(running: Running) -> None:
    producer = Producing(1000)
    with running.accept(producer, SMALL_BUFFER) as client:
        producer.wait("pauseProducing")

        def give_up() -> None:
            producer.transport.loseConnection()
            producer.transport.unregisterProducer()

        running.do(give_up)
        while client.recv(1 << 20):
            pass
    assert producer.ended is ConnectionDone
    assert "stopProducing" not in producer.events


def test_a_producer_that_is_not_paused_does_not_hold_a_close_up(running: Running) -> None:
    recorder = Recorder(connectionMade=lambda r: r.transport.registerProducer(r, True))
    with running.accept(recorder) as client:
        running.do(lambda: recorder.transport.loseConnection())
        assert client.recv(1) == b""
    assert recorder.ended is ConnectionDone
    assert recorder.events == ["connectionMade", "stopProducing", "connectionLost"]


def test_there_is_one_producer_at_a_time(running: Running) -> None:
    recorder = Recorder(connectionMade=lambda r: r.transport.registerProducer(r, True))
    with running.accept(recorder):
        with pytest.raises(RuntimeError):
            running.do(lambda: recorder.transport.registerProducer(recorder, True))
        assert recorder.transport.producer is recorder
        running.do(lambda: recorder.transport.unregisterProducer())
        assert recorder.transport.producer is None
        running.do(lambda: recorder.transport.registerProducer(recorder, True))


def test_a_producer_that_comes_too_late_is_stopped(running: Running) -> None:
    recorder = Recorder()
    running.accept(recorder).close()
    recorder.wait("connectionLost")
    running.do(lambda: recorder.transport.registerProducer(recorder, True))
    assert recorder.events[-1] == "stopProducing"


def test_a_producer_that_waits_to_be_asked_is_asked_until_it_has_no_more(running: Running) -> None:
    @implementer(IPullProducer)
    class Asked(Producing):
        pass

    producer: Any = Asked(100, streaming=False)
    with running.accept(producer, SMALL_BUFFER) as client:
        got = 0
        while piece := client.recv(1 << 20):
            got += len(piece)
        assert got == 100 * len(PIECE)
    assert producer.ended is ConnectionDone


def test_closing_waits_for_a_producer_that_waits_to_be_asked(running: Running) -> None:
    producer = Producing(100, streaming=False)
    with running.accept(producer, SMALL_BUFFER) as client:
        running.do(lambda: producer.transport.loseConnection())
        got = 0
        while piece := client.recv(1 << 20):
            got += len(piece)
        assert got == 100 * len(PIECE)
    assert producer.ended is ConnectionDone


def test_two_connections_hold_each_other_back(running: Running) -> None:
    """What a relay does: each is the other's producer, and what comes goes out again."""
    seen: list[int] = []
    sink = Recorder()
    source = Recorder(dataReceived=lambda r: _pass_on(r, sink, seen))
    with running.accept(source) as client, running.accept(sink, SMALL_BUFFER) as reader:
        running.do(lambda: sink.transport.registerProducer(source.transport, True))
        sent = 0
        while select.select([], [client], [], QUIET_SECONDS)[1]:
            sent += client.send(PIECE)
        assert sent < 64 << 20
        got = 0
        while got < sent:
            got += len(reader.recv(1 << 20))
        wait_until(lambda: sum(seen) == sent, "all of it", detail=lambda: f"{sum(seen)} of {sent}")


def _pass_on(source: Recorder, sink: Recorder, seen: list[int]) -> None:
    octets = bytes(source.octets)
    source.octets.clear()
    seen.append(len(octets))
    sink.transport.write(octets)
