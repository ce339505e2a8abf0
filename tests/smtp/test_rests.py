"""A dialogue that reads a few lines at a time, so that one client's keep nobody waiting."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from smtpguard.smtp.effects import Close

from .table import Split, Table, policy, whole
from .test_properties import REPLIES, SPLITS, STREAMS

RULES = "budgets: off\nrulesets: {check_vrfy: [{action: reply}]}"


def play(
    stream: bytes, answers: list[bytes], split: Split, lines: int, late: bool
) -> tuple[bytes, bytes, Close | None]:
    """Return what both sides got; `late`: it goes on only where nothing else happens."""
    table = Table(policy(RULES))
    dialogue = table.dialogue
    dialogue.lines_a_turn = lines

    def go_on() -> None:
        while dialogue.rests and table.closed is None:
            table.perform(dialogue.go_on())

    table.backend(b"220 mx\r\n")
    for segment in split(stream):
        if table.closed is None:
            table.client(segment)
        if not late:
            go_on()
    go_on()
    for answer in [*answers, *[b"250 ok\r\n"] * 60]:
        if table.closed is None and dialogue.phase.value == "reply":
            table.backend(answer)
            go_on()
    return table.take_client(), table.take_backend(), table.closed


@settings(max_examples=300)
@given(STREAMS, st.lists(REPLIES, max_size=12), SPLITS, st.integers(1, 4), st.booleans())
def test_how_many_lines_are_read_at_a_time_changes_nothing(
    stream: bytes, answers: list[bytes], split: Split, lines: int, late: bool
) -> None:
    """Nor does it when the rest is read."""
    expected = play(stream, answers, split, 0, False)
    assert play(stream, answers, split, lines, late) == expected


def test_no_more_is_answered_than_may_be() -> None:
    """And what is left is read at `go_on`, as many again."""
    table = Table(policy(RULES))
    table.dialogue.lines_a_turn = 10
    table.backend(b"220 mx\r\n")
    table.take_client()
    table.client(b"VRFY x\r\n" * 25)
    for count, rests in ((10, True), (10, True), (5, False)):
        assert table.take_client().count(b"252 ") == count
        assert table.dialogue.rests is rests
        table.perform(table.dialogue.go_on())


def test_who_ends_its_side_gets_all_answers() -> None:
    """A half-close behind many lines."""
    table = Table(policy(RULES))
    table.dialogue.lines_a_turn = 10
    table.backend(b"220 mx\r\n")
    table.take_client()
    for segment in whole(b"VRFY x\r\n" * 35):
        table.client(segment)
    table.client_finished()
    while table.dialogue.rests:
        table.perform(table.dialogue.go_on())
    assert table.take_client().count(b"252 ") == 35
    assert table.closed is not None
