"""Lengths: what is refused before it could fill memory or be split by a server."""

from __future__ import annotations

from time import process_time

import pytest

from smtpguard.smtp.bounds import Bounds
from smtpguard.smtp.effects import BackendFault, Refused
from smtpguard.smtp.grammar import Fault

from .table import Split, Table, each_octet, policy, whole

OPEN = policy("rulesets: {}")


def greeted(bounds: Bounds | None = None) -> Table:
    table = Table(OPEN, bounds=bounds or Bounds())
    table.backend(b"220 mx\r\n")
    table.take_client()
    return table


@pytest.mark.parametrize("split", [whole, each_octet])
@pytest.mark.parametrize("line", [b"NOOP ", b"AUTH PLAIN ", b"RCPT TO:"])
def test_a_line_of_2000_octets_passes_and_one_of_2001_does_not(line: bytes, split: Split) -> None:
    """Line ends count."""
    for length, passes in ((2000, True), (2001, False)):
        table = greeted()
        for segment in split(line + b"A" * (length - 2 - len(line)) + b"\r\n"):
            table.client(segment)
        assert (table.closed is None) is passes
        assert bool(table.to_backend) is passes


def test_a_line_too_long_is_refused_before_its_end_has_come() -> None:
    """Nobody waits for a line end that need not come."""
    table = greeted()
    table.client(b"NOOP " + b"A" * 1994)
    assert table.closed is None
    table.client(b"A")
    assert table.take_client().startswith(b"500 5.5.2 ")
    assert table.closed is not None
    assert isinstance(table.notes[0], Refused)
    assert table.notes[0].fault is Fault.TOO_LONG


def test_a_response_of_an_authentication_has_the_same_bound() -> None:
    """SASL lines are split by servers too."""
    table = greeted()
    table.client(b"AUTH PLAIN\r\n")
    table.backend(b"334 \r\n")
    table.take_backend()
    table.client(b"A" * 1999 + b"\r\n")
    assert table.closed is not None
    assert not table.to_backend


def test_the_client_is_not_read_while_the_queue_is_full() -> None:
    """`hungry` says so, and says when there is room again."""
    table = greeted(Bounds(queue=100))
    for _ in range(20):
        table.client(b"NOOP\r\n")
    assert not table.dialogue.hungry
    for _ in range(20):
        table.backend(b"250 ok\r\n")
    assert table.dialogue.hungry
    assert table.take_backend() == b"NOOP\r\n" * 20


@pytest.mark.parametrize(
    ("reply", "passes"),
    [
        (b"250 " + b"a" * 12321 + b"\r\n", True),
        (b"250 " + b"a" * 16378 + b"\r\n", True),
        (b"250 " + b"a" * 16379 + b"\r\n", False),
        (b"250 " + b"a" * 70000, False),
        (b"250-x\r\n" * 100000 + b"250 x\r\n", True),
        (b"250-x\r\n" * 160000, False),
    ],
)
def test_replies_are_bounded(reply: bytes, passes: bool) -> None:
    """A line of 16 KiB and a reply of 1 MiB pass."""
    table = greeted()
    table.client(b"EXPN all\r\n")
    table.backend(reply)
    if passes:
        assert table.take_client() == reply
        assert table.closed is None
    else:
        assert table.take_client().startswith(b"421 ")
        assert isinstance(table.notes[-1], BackendFault)


def test_counts_name_only_verbs_of_the_table() -> None:
    """A client cannot fill memory, or the log, with verbs of its own."""
    table = greeted()
    for number in range(300):
        table.client(b"X%d\r\n" % number)
        table.backend(b"500 no\r\n")
    table.client(b"NOOP\r\n")
    table.backend(b"250 ok\r\n")
    assert table.dialogue.tally.by_verb == {b"UNKNOWN": [0, 300], b"NOOP": [1, 1]}


def test_a_session_of_refused_commands_ends() -> None:
    """Whatever they are refused for; 0 stands for no bound."""
    for bound, ends in ((10, True), (0, False)):
        table = Table(policy("rulesets: {check_vrfy: [{action: reply}]}"), bounds=Bounds(refused=bound))
        table.backend(b"220 mx\r\n")
        table.take_client()
        table.client(b"VRFY x\r\n" * 5 + b" x\r\n" * 5)
        assert table.closed is None
        assert table.take_client().count(b"\r\n") == 10
        table.client(b"DATA x\r\n")
        assert (table.closed is not None) is ends
        assert table.take_client().startswith(b"421 4.7.0 " if ends else b"501 ")


def test_a_long_reply_that_comes_octet_by_octet_is_not_copied_each_time() -> None:
    """Time grows with the reply, not with its square: four times the octets, less than eight times the work."""

    def seconds(octets: int) -> float:
        reply = b"250-" + b"x" * 70 + b"\r\n"
        reply = reply * (octets // len(reply)) + b"250 end\r\n"
        best = 9.0
        for _ in range(3):
            table = greeted()
            table.client(b"EXPN all\r\n")
            began = process_time()
            for segment in each_octet(reply):
                table.backend(segment)
            best = min(best, process_time() - began)
            assert table.take_client() == reply
        return best

    assert seconds(80_000) < 8 * seconds(20_000)
