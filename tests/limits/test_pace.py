"""A message that comes too slowly, and one that may: with a clock of the test's own."""

from __future__ import annotations

import pytest

from smtpguard.smtp.effects import Note, TooSlow
from tests.sessions.stage import Stage

RATE, SECONDS = 10.0, 60.0


class Slow(Stage):
    """A session with a minimum data rate, amid a message."""

    def __init__(self) -> None:
        super().__init__()
        self.data_rate, self.data_rate_seconds = RATE, SECONDS
        self.notes: list[Note] = []
        for line, reply in (("MAIL FROM:<a@b>", "250"), ("RCPT TO:<c@d>", "250"), ("DATA", "354")):
            self.send(line)
            self.say(f"{reply} ok")
        self.client_wire.take()

    def noted(self, session: object, note: Note) -> None:
        self.notes.append(note)

    def trickle(self, octets: int, every: float, seconds: float) -> float:
        """Send so many octets every so often; return when the session ended, or `seconds`."""
        passed = 0.0
        while passed < seconds and not self.client_wire.value():
            self.client.dataReceived(b"x" * (octets - 2) + b"\r\n")
            self.clock.advance(every)
            passed += every
        return passed


def test_who_sends_an_octet_now_and_then_does_not_hold_the_session() -> None:
    """After one period it is ended with a 421, it is noted, and the backend has no message."""
    stage = Slow()
    passed = stage.trickle(20, 10.0, 1000.0)
    assert SECONDS <= passed <= SECONDS + 20
    assert stage.client_wire.take().startswith(b"421 4.4.2 ")
    assert [note for note in stage.notes if isinstance(note, TooSlow)] == [TooSlow(140, SECONDS)]
    assert stage.backend_wire.aborted
    stage.lose("client")
    assert "(too slow)" in stage.log.getvalue()


def test_who_is_fast_enough_may_take_as_long_as_it_likes() -> None:
    """Just above the rate, for an hour."""
    stage = Slow()
    assert stage.trickle(110, 10.0, 3600.0) == 3600.0
    assert stage.notes == []


def test_a_pause_within_a_period_is_nothing() -> None:
    """Half a period of silence, then what was missing."""
    stage = Slow()
    for _ in range(5):
        stage.clock.advance(SECONDS / 2)
        stage.client.dataReceived(b"x" * 698 + b"\r\n")
        stage.clock.advance(SECONDS / 2 - 1)
    assert stage.client_wire.value() == b""


def test_a_client_that_is_not_read_is_not_blamed() -> None:
    """The backend is full for ten periods: that time does not count, and the period goes on behind it."""
    stage = Slow()
    stage.client.dataReceived(b"x" * 98 + b"\r\n")
    stage.backend_wire.fill()
    for _ in range(20):
        stage.clock.advance(SECONDS / 8)
    assert stage.client_wire.value() == b""
    stage.backend_wire.drain()
    stage.clock.advance(1.0)
    stage.client.dataReceived(b"x" * 998 + b"\r\n")
    passed = 0.0
    while not stage.client_wire.value() and passed < 1000:
        stage.clock.advance(1.0)
        passed += 1
    # What it then does is counted again.
    assert stage.client_wire.take().startswith(b"421 ")
    assert passed > SECONDS / 2


def test_without_a_rate_there_is_only_the_time_out_of_each_block() -> None:
    """As before."""
    stage = Slow()
    stage.data_rate = 0.0
    stage.send("x\r\n.")
    stage.say("250 taken")
    for line, reply in (("MAIL FROM:<a@b>", "250"), ("RCPT TO:<c@d>", "250"), ("DATA", "354")):
        stage.send(line)
        stage.say(f"{reply} ok")
    stage.client_wire.take()
    assert stage.trickle(10, 100.0, 5000.0) == 5000.0


@pytest.mark.parametrize("octets", [1, 7])
def test_a_command_line_has_one_time_out_however_slowly_it_comes(octets: int) -> None:
    """`timeouts.command` is for the whole line: octets of it do not begin it anew."""
    stage = Stage()
    passed = 0.0
    while not stage.client_wire.value() and passed < 3000:
        stage.client.dataReceived(b"x" * octets)
        stage.clock.advance(10.0)
        passed += 10
    assert stage.timeouts.command <= passed <= stage.timeouts.command + 20
    assert stage.client_wire.take().startswith(b"421 4.4.2 ")


def test_a_new_message_begins_a_new_period() -> None:
    """What was left of the one before says nothing of it."""
    stage = Slow()
    for _ in range(3):
        stage.trickle(20, 10.0, 40.0)
        stage.send(".")
        stage.say("250 taken")
        for line, reply in (("MAIL FROM:<a@b>", "250"), ("RCPT TO:<c@d>", "250"), ("DATA", "354")):
            stage.send(line)
            stage.say(f"{reply} ok")
        assert not stage.client_wire.take().startswith(b"421 ")
    assert stage.notes == []
