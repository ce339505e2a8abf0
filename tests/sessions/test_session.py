"""What a session does with its transports: flow control, time-outs, ends."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ConnectBindError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from smtpguard.backends.backend import Unshowable
from smtpguard.backends.transparent import NoPortLeft
from smtpguard.sessions.session import LINES_A_TURN
from smtpguard.smtp.bounds import Bounds

from .stage import Stage

NOTICED = (0, 0.5)
"""How much later than its time a time-out may come here: the next look at the clock."""


def test_a_client_that_does_not_read_stops_backend_and_client_from_being_read() -> None:
    """Else local answers, or an endless reply, would fill memory."""
    stage = Stage()
    stage.client_wire.fill()
    assert (stage.client_wire.read_from, stage.backend_wire.read_from) == (False, False)
    stage.client_wire.drain()
    assert (stage.client_wire.read_from, stage.backend_wire.read_from) == (True, True)


def test_a_backend_that_does_not_read_stops_the_client_from_being_read() -> None:
    """Message content is not kept."""
    stage = Stage()
    stage.backend_wire.fill()
    assert (stage.client_wire.read_from, stage.backend_wire.read_from) == (False, True)
    stage.backend_wire.drain()
    assert stage.client_wire.read_from


def test_reasons_not_to_read_add_up() -> None:
    """The client is read again when the last of them is gone."""
    stage = Stage(bounds=Bounds(queue=100))
    stage.send("NOOP\r\n" * 30 + "NOOP")
    assert not stage.client_wire.read_from
    stage.backend_wire.fill()
    for _ in range(31):
        stage.say("250 ok")
    assert not stage.client_wire.read_from
    stage.backend_wire.drain()
    assert stage.client_wire.read_from


def test_a_client_that_takes_no_replies_gets_no_further_ones_to_what_it_has_sent() -> None:
    """A burst is answered turn by turn: else all replies to it would be held for who reads none."""
    stage = Stage()
    stage.client.dataReceived(b"VRFY george\r\n" * 3 * LINES_A_TURN)
    assert stage.client_wire.take().count(b"252 ") == LINES_A_TURN
    stage.client_wire.fill()
    stage.clock.advance(0)  # the next turn was due by then
    assert stage.client_wire.take().count(b"252 ") == LINES_A_TURN
    stage.client_wire.drain()
    stage.clock.advance(0)
    assert stage.client_wire.take().count(b"252 ") == LINES_A_TURN


def test_a_full_queue_before_the_banner_stops_the_client_from_being_read() -> None:
    """Input is held from the first octet on, and bounded from the first octet on."""
    stage = Stage(connect=False, bounds=Bounds(queue=100))
    stage.send("NOOP " + "x" * 100)
    assert not stage.client_wire.read_from
    stage.greet()
    assert stage.client_wire.read_from
    assert stage.backend_wire.take().startswith(b"NOOP ")


@pytest.mark.parametrize(
    ("said", "seconds", "reply"),
    [
        ([], 300.0, b"421 4.4.2 guard.test Time-out waiting for input"),
        (["C NOOP"], 300.0, b"421 4.4.2 guard.test Time-out waiting for the mail server"),
        (["C DATA"], 120.0, b"421 4.4.2 guard.test Time-out waiting for the mail server"),
        (["C DATA", "B 354 go"], 180.0, b"421 4.4.2 guard.test Time-out waiting for input"),
        (["C DATA", "B 354 go", "C ."], 600.0, b"421 4.4.2 guard.test Time-out waiting for the mail server"),
        (["C BDAT 9"], 600.0, b"421 4.4.2 guard.test Time-out waiting for input"),
    ],
)
def test_each_wait_has_its_time_out(said: list[str], seconds: float, reply: bytes) -> None:
    """RFC 5321 4.5.3.2."""
    stage = Stage()
    for line in said:
        stage.send(line[2:]) if line[0] == "C" else stage.say(line[2:])
    stage.client_wire.clear()
    assert stage.until(lambda: bool(stage.client_wire.value()), 1000) - seconds in NOTICED
    assert stage.client_wire.take().startswith(reply)


def test_half_a_command_does_not_begin_the_time_anew() -> None:
    """Octet by octet, a client could stay for ever."""
    stage = Stage()
    for _ in range(3):
        stage.clock.advance(99)
        stage.client.dataReceived(b"N")
    assert stage.client_wire.value() == b""
    stage.clock.advance(4)
    assert stage.client_wire.value().startswith(b"421 4.4.2 ")


def test_every_piece_of_content_begins_the_time_anew() -> None:
    """A slow line is slow for hours."""
    stage = Stage()
    stage.send("DATA")
    stage.say("354 go")
    stage.client_wire.clear()
    for _ in range(10):
        stage.clock.advance(179)
        stage.send("x")
    assert stage.client_wire.value() == b""
    assert stage.timers == 1


def test_a_backend_that_never_greets_times_out() -> None:
    """The client is told, and the attempt is given up."""
    stage = Stage(connect=False)
    assert stage.until(lambda: bool(stage.client_wire.value()), 400) - 300 in NOTICED
    assert stage.cancelled == [True]


def test_a_delay_holds_one_session_and_no_time_out_runs() -> None:
    """`delay` of a rule."""
    stage = Stage(policy_text="rulesets: {check_vrfy: [{action: reply, delay: 2.5}]}")
    stage.send("VRFY x")
    stage.clock.advance(2.4)
    assert stage.client_wire.value() == b""
    stage.clock.advance(0.2)
    assert stage.client_wire.take().startswith(b"252 ")
    assert stage.until(lambda: bool(stage.client_wire.value()), 400) - 300 in NOTICED


def test_a_delay_that_a_client_does_not_wait_for_is_forgotten() -> None:
    """No timer outlives its session."""
    stage = Stage(policy_text="rulesets: {check_vrfy: [{action: reply, delay: 200}]}")
    stage.send("VRFY x")
    stage.lose("client")
    stage.lose("backend")
    assert stage.timers == 0
    assert stage.ends == 1


def test_a_refusal_that_closes_leaves_time_to_read_it() -> None:
    """Closing with input unread would reset the connection, and the reply with it."""
    stage = Stage()
    stage.client.dataReceived(b"NOOP\nVRFY x\r\n")
    assert stage.client_wire.take().startswith(b"500 ")
    assert stage.client_wire.write_closed
    assert not stage.client_wire.disconnecting
    assert stage.backend_wire.disconnecting
    stage.client.dataReceived(b"more\r\n")
    assert stage.client_wire.value() == b""
    stage.clock.advance(2.3)
    assert stage.client_wire.aborted


def test_a_client_gone_in_content_resets_the_backend() -> None:
    """An orderly end could be taken for the end of the message."""
    stage = Stage()
    stage.send("DATA")
    stage.say("354 go")
    stage.send("half a message")
    stage.lose("client")
    assert stage.backend_wire.aborted
    assert stage.ends == 1
    assert stage.timers == 0


def test_a_client_gone_after_the_end_of_data_does_not_reset_the_backend() -> None:
    """The message is whole; it is the backend's."""
    stage = Stage()
    stage.send("DATA")
    stage.say("354 go")
    stage.send(".")
    stage.lose("client")
    assert not stage.backend_wire.aborted
    assert stage.backend_wire.disconnecting


def test_a_quit_ends_both_sides_in_order() -> None:
    """No reset, no lingering."""
    stage = Stage()
    stage.send("QUIT")
    stage.say("221 bye")
    assert stage.client_wire.take() == b"221 bye\r\n"
    assert stage.client_wire.disconnecting
    assert not stage.client_wire.aborted
    stage.lose("backend")
    stage.lose("client")
    assert stage.timers == 0
    assert "quit=1 commands=1" in stage.log.getvalue()


def test_a_backend_that_refuses_the_connection() -> None:
    """421 to the client, the reason in the log."""
    stage = Stage(connect=False)
    stage.connecting.errback(Failure(Refused()))
    assert stage.client_wire.take() == b"421 4.3.2 guard.test Mail server not available, try again later\r\n"
    assert "cannot connect" in stage.log.getvalue()


@pytest.mark.parametrize(
    ("error", "times"),
    [(Refused("no"), 1), (Unshowable("no address"), 0), (ConnectBindError(99, "no"), 0), (NoPortLeft("all in use"), 0)],
)
def test_a_client_that_nothing_can_be_connected_for_says_nothing_of_the_backend(error: Exception, times: int) -> None:
    """Else it would have the backend asked again, and everybody turned away meanwhile, as often as it liked."""
    stage = Stage(connect=False)
    stage.connecting.errback(Failure(error))
    assert stage.client_wire.take().startswith(b"421 4.3.2 ")
    assert stage.away == times


def test_a_client_gone_while_connecting_cancels_the_attempt_without_a_word() -> None:
    """It is no fault of the backend's."""
    stage = Stage(connect=False)
    stage.lose("client")
    assert stage.cancelled == [True]
    assert "cannot connect" not in stage.log.getvalue()


@pytest.mark.interpreted
def test_a_fault_of_our_own_closes_and_says_421(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fails open, and the traceback is for us alone."""
    seen: list[Any] = []
    observer: Any = seen.append
    globalLogPublisher.addObserver(observer)
    stage = Stage()
    stage.send("DATA")

    def broken(_octets: bytes) -> Any:
        raise KeyError("secret")

    monkeypatch.setattr(type(stage.dialogue), "from_client", lambda self, octets: broken(octets))
    stage.send("x")
    globalLogPublisher.removeObserver(observer)
    assert stage.client_wire.take() == b"421 4.3.0 guard.test Internal error, try again later\r\n"
    assert stage.backend_wire.aborted
    assert [event["log_failure"].type for event in seen if "log_failure" in event] == [KeyError]


@pytest.mark.interpreted
def test_a_fault_of_our_own_resets_the_backend_whatever_it_was_doing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was forwarded may be half a message."""
    stage = Stage()
    monkeypatch.setattr(type(stage.dialogue), "timed_out", lambda self: 1 / 0)
    observer: Any = [].append
    globalLogPublisher.addObserver(observer)
    stage.clock.advance(301)
    globalLogPublisher.removeObserver(observer)
    assert stage.backend_wire.aborted


def test_a_session_whose_end_fails_leaves_no_connection_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are reset when the time of what was awaited is over."""
    stage = Stage()

    def broken(_octets: bytes) -> None:
        raise OSError("no")

    monkeypatch.setattr(stage.client_wire, "write", broken)
    with pytest.raises(OSError, match="no"):
        stage.client.dataReceived(b"\n")
    stage.clock.advance(301)
    assert (stage.client_wire.aborted, stage.backend_wire.aborted) == (True, True)


def test_a_backend_that_no_longer_reads_is_not_waited_for() -> None:
    """An orderly end needs its buffer empty; a connection must not outlive its session for long."""
    stage = Stage()
    stage.send("QUIT")
    stage.say("221 bye")
    assert stage.backend_wire.disconnecting
    assert not stage.backend_wire.aborted
    stage.clock.advance(2.3)
    assert stage.backend_wire.aborted


def test_a_client_that_does_not_read_its_last_reply_is_not_waited_for_for_ever() -> None:
    """The reply to QUIT may wait as long as a command."""
    stage = Stage()
    stage.send("QUIT")
    stage.say("221 bye")
    stage.lose("backend")
    assert stage.until(lambda: stage.client_wire.aborted, 400) - 300 in NOTICED


def test_a_session_that_ends_while_its_client_is_not_read_reads_it_again() -> None:
    """Else the end of the client's input would never be seen."""
    stage = Stage()
    stage.backend_wire.fill()
    assert not stage.client_wire.read_from
    stage.lose("backend")
    assert stage.client_wire.take().startswith(b"421 4.4.2 ")
    assert stage.client_wire.read_from


def test_a_client_that_closes_too_ends_the_lingering() -> None:
    """It has what it is going to read."""
    stage = Stage()
    stage.client.dataReceived(b"\n")
    assert not stage.client_wire.disconnecting
    stage.client.readConnectionLost()
    assert stage.client_wire.disconnecting
