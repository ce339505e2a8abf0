"""A dialogue that is slowed, watched, counted or ended for a limit, without any network."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpguard.smtp.effects import CommandsRead, Judged, Note, RecipientRefused, TooSlow
from smtpguard.smtp.phases import Phase
from tests.smtp.table import Table, policy

LIMITED = b"421 4.7.0 "
LINES = st.lists(
    st.sampled_from(
        [b"VRFY a\r\n", b"EXPN b\r\n", b"NOOP\r\n", b"???\r\n", b"DEBUG\r\n", b"MAIL FROM:<a@b>\r\n", b"RSET\r\n"]
    ),
    max_size=20,
)


def begun() -> Table:
    """A session that has been greeted and has greeted."""
    table = Table()
    table.backend(b"220 mx\r\n")
    table.client(b"EHLO me\r\n")
    table.backend(b"250 mx\r\n")
    table.take_client()
    table.take_backend()
    return table


def go_on(table: Table) -> list[list[Note]]:
    """Say `go_on` as often as it takes; return the notes of each time."""
    told = [table.notes[:]]
    while table.dialogue.unfinished:
        before = len(table.notes)
        table.perform(table.dialogue.go_on())
        told.append(table.notes[before:])
    return told


def play(table: Table, octets: bytes) -> tuple[bytes, bytes]:
    """Let the client send and the backend answer; return what either got."""
    table.client(octets)
    for _ in range(100):
        go_on(table)
        if table.dialogue.phase is not Phase.REPLY:
            break
        table.backend(b"250 ok\r\n")
    go_on(table)
    return bytes(table.to_client), bytes(table.to_backend)


@given(LINES)
@settings(max_examples=200, deadline=None)
def test_a_session_that_is_watched_says_the_same_as_one_that_is_not(lines: list[bytes]) -> None:
    """To both sides, octet for octet, and notes the same in the same order."""
    plain, watched = begun(), begun()
    watched.dialogue.watched = True
    assert play(plain, b"".join(lines)) == play(watched, b"".join(lines))
    assert plain.notes == watched.notes


def test_a_session_that_is_watched_reads_nothing_behind_a_note() -> None:
    """Until it is told to."""
    table = begun()
    table.dialogue.watched = True
    table.client(b"VRFY a\r\nVRFY b\r\nVRFY c\r\n")
    told = go_on(table)
    assert [len([note for note in notes if isinstance(note, Judged)]) for notes in told] == [1, 1, 1, 0]


def test_commands_are_told_in_parts_and_the_rest_is_known() -> None:
    """Every third, here."""
    table = begun()
    table.dialogue.count_by = 3
    assert table.dialogue.uncounted == 1  # the EHLO
    table.client(b"VRFY a\r\n" * 7)
    assert [note.count for note in table.notes if isinstance(note, CommandsRead)] == [3, 3]
    assert table.dialogue.uncounted == 2


def test_each_command_of_a_session_that_is_slowed_waits_once() -> None:
    """A line that is none waits too; what a rule or a budget would have it wait besides is less, not more."""
    table = begun()
    table.dialogue.slowed = 5.0
    table.client(b"VRFY a\r\n???\r\nNOOP\r\n")
    assert table.waits == [5.0]
    assert table.take_client() == b""
    table.perform(table.dialogue.delay_over())
    assert table.take_client().startswith(b"252 ")
    table.perform(table.dialogue.delay_over())
    assert table.take_client().startswith(b"500 ")
    assert table.take_backend() == b""
    table.perform(table.dialogue.delay_over())
    assert table.take_backend() == b"NOOP\r\n"
    assert table.waits == [5.0, 5.0, 5.0]


@pytest.mark.parametrize(
    ("line", "waits"),
    [(b"EXPN a", [5.0, 3.0]), (b"VRFY a", [5.0]), (b"HELP", [5.0]), (b"ETRN a", [5.0, 27.0])],
    ids=["a longer delay", "a shorter one", "none", "a budget"],
)
def test_what_a_rule_or_a_budget_asks_for_is_not_waited_for_twice(line: bytes, waits: list[float]) -> None:
    """Only what is left of it."""
    rules = "budgets: {etrn: 1}\nrulesets:\n" + "".join(
        f"  check_{verb}: [{{action: reply, delay: {delay}}}]\n"
        for verb, delay in (("expn", 8), ("vrfy", 3), ("help", 0), ("etrn", 0))
    )
    table = Table(policy(rules))
    table.backend(b"220 mx\r\n")
    if line.startswith(b"ETRN"):
        for _ in range(5):  # the sixth costs 32 s
            table.client(line + b"\r\n")
            table.be_patient()
        table.waits.clear()
    table.dialogue.slowed = 5.0
    table.client(line + b"\r\n")
    table.be_patient()
    assert table.waits == waits


def test_a_session_that_is_let_off_waits_no_longer() -> None:
    """From the next command on."""
    table = begun()
    table.dialogue.slowed = 5.0
    table.client(b"VRFY a\r\n")
    table.dialogue.slowed = 0.0
    table.perform(table.dialogue.delay_over())
    table.client(b"VRFY a\r\n")
    assert table.waits == [5.0]


PHASES = {
    "banner": (),
    "command": (b"220 mx\r\n",),
    "reply": (b"220 mx\r\n", "EHLO me\r\n"),
    "transaction": (b"220 mx\r\n", "MAIL FROM:<a@b>\r\n", b"250 ok\r\n"),
    "data asked": (b"220 mx\r\n", "DATA\r\n"),
    "sasl": (b"220 mx\r\n", "AUTH LOGIN\r\n", b"334 x\r\n"),
}


@pytest.mark.parametrize("steps", PHASES.values(), ids=PHASES)
def test_who_is_sent_away_is_told_so_at_once(steps: tuple[bytes | str, ...]) -> None:
    """Wherever the session is, but for a message on its way; the backend sees no end of what it was sent."""
    table = Table()
    for step in steps:
        (table.backend if isinstance(step, bytes) else table.client)(step if isinstance(step, bytes) else step.encode())
    table.take_client()
    table.perform(table.dialogue.send_away())
    assert table.take_client().startswith(LIMITED)
    assert table.closed is not None
    assert table.closed.abort_backend == ("DATA\r\n" in steps)
    assert table.dialogue.cut_short == "limit"


def in_message() -> Table:
    """A session amid a message."""
    table = begun()
    for line, reply in ((b"MAIL FROM:<a@b>", b"250"), (b"RCPT TO:<c@d>", b"250"), (b"DATA", b"354")):
        table.client(line + b"\r\n")
        table.backend(reply + b" ok\r\n")
    table.client(b"half\r\n")
    table.take_client()
    return table


def test_a_chunk_that_the_backend_has_gets_its_reply_first() -> None:
    """It may be the last one of a message that is delivered already."""
    table = Table(chunking=True)
    for octets, reply in (
        (b"", b"220 mx"),
        (b"EHLO x\r\n", b"250-mx\r\n250 CHUNKING"),
        (b"MAIL FROM:<a@b>\r\n", b"250 ok"),
        (b"RCPT TO:<c@d>\r\n", b"250 ok"),
        (b"BDAT 4 LAST\r\nhalf", b""),
    ):
        table.client(octets)
        table.backend(reply + b"\r\n" if reply else b"")
    table.take_client()
    table.perform(table.dialogue.send_away())
    assert (table.closed, table.take_client()) == (None, b"")
    table.backend(b"250 2.0.0 taken\r\n")
    taken, _, behind = table.take_client().partition(b"\r\n")
    assert (taken, behind.startswith(LIMITED)) == (b"250 2.0.0 taken", True)


def test_a_message_on_its_way_gets_its_reply_first() -> None:
    """And no command behind it is read."""
    table = in_message()
    table.perform(table.dialogue.send_away())
    assert table.closed is None
    table.client(b"more\r\n.\r\nVRFY a\r\n")
    assert table.take_client() == b""
    table.backend(b"250 2.0.0 taken\r\n")
    first, second, _ = table.take_client().split(b"\r\n")
    assert first == b"250 2.0.0 taken"
    assert second.startswith(LIMITED)
    assert table.closed is not None
    assert not table.closed.abort_backend


def test_a_data_that_was_asked_for_is_not_begun() -> None:
    """The client may have crossed the limit with what it said before: its 354 is a 421."""
    table = begun()
    for line in (b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>"):
        table.client(line + b"\r\n")
        table.backend(b"250 ok\r\n")
    table.client(b"DATA\r\n")
    table.dialogue.leaving = True
    table.take_client()
    table.backend(b"354 go on\r\n")
    assert table.take_client().startswith(LIMITED)
    assert table.closed is not None
    assert table.closed.abort_backend


@pytest.mark.parametrize(
    ("reply", "noted"),
    [("550", True), ("551", True), ("553", True), ("554", True), ("450", False), ("503", False), ("552", False)],
)
def test_a_recipient_that_the_backend_refuses_for_good_is_noted(reply: str, noted: bool) -> None:
    """Not one that it may take later, nor one that came out of turn, nor one too many."""
    table = begun()
    table.client(b"RCPT TO:<Fred@x.test> NOTIFY=NEVER\r\n")
    table.backend(f"{reply} no\r\n".encode())
    assert table.notes == ([RecipientRefused(b"Fred@x.test", int(reply))] if noted else [])


def test_a_session_that_is_too_slow_ends_and_its_message_with_it() -> None:
    """Nothing of it may become a message."""
    table = in_message()
    table.perform(table.dialogue.too_slow(6, 300.0))
    assert table.take_client().startswith(b"421 4.4.2 ")
    assert table.notes == [TooSlow(6, 300.0)]
    assert table.closed is not None
    assert table.closed.abort_backend


def test_a_backend_that_takes_no_more_is_the_one_to_blame() -> None:
    """Not the client, which was not read."""
    table = in_message()
    table.perform(table.dialogue.timed_out(backend_full=True))
    assert b"Time-out waiting for the mail server" in table.take_client()
    other = in_message()
    other.perform(other.dialogue.timed_out())
    assert b"Time-out waiting for input" in other.take_client()
