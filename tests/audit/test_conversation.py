"""One conversation: every read is bounded, nothing is an exception, and no message can end."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpguard.audit.conversation import ANSWERS, REPLY_OCTETS, Answer, Conversation

from .scripted import Peer, Script, Scripted

SHORT = 0.2
LONG = 20.0


@contextmanager
def talking(script: Script, timeout: float = LONG, until: float = LONG) -> Iterator[tuple[Conversation, Scripted]]:
    """A conversation with a scripted server."""
    with Scripted(script) as server:
        connected = socket.create_connection(("127.0.0.1", server.port), LONG)
        with Conversation(connected, timeout, monotonic() + until) as conversation:
            yield conversation, server


@contextmanager
def hearing(octets: list[bytes], timeout: float = LONG) -> Iterator[Conversation]:
    """A conversation with a peer that has said this and then closed; the pieces come one by one."""
    ours, theirs = socket.socketpair()
    with theirs, Conversation(ours, timeout, monotonic() + LONG) as conversation:
        for piece in octets:
            theirs.sendall(piece)
        theirs.shutdown(socket.SHUT_WR)
        yield conversation


@pytest.mark.parametrize(
    ("octets", "code", "said"),
    [
        (b"220 mx\r\n", 220, "220 mx"),
        (b"250-a\r\n250 b\r\n", 250, "250-a / 250 b"),
        (b"", 0, "closed the connection"),
        (b"250-a\r\n", 250, "250-a, then closed the connection"),
        (b"what?\r\n", 0, "what?, then closed the connection"),
        (b"250 lf only\n", 250, "250 lf only"),
        (b"050 trying\r\n250 done\r\n", 250, "050 trying / 250 done"),
        (b"queue is empty\r\n250 done\r\n", 250, "queue is empty / 250 done"),
        (b"250-a\r\n550 b\r\n", 550, "250-a / 550 b"),
        (b"250 a\0b\r\n", 250, "250 a\\000b"),
        (b"220 \x1b]0;x\x07\x9b31m\r\n", 220, "220 \\033]0;x\\007\\23331m"),
    ],
)
def test_an_answer_is_what_came_in_words_that_can_be_shown(octets: bytes, code: int, said: str) -> None:
    """Strict where it is, forgiving where the server is not."""
    with hearing([octets]) as conversation:
        answer = conversation.answer()
    assert (answer.code, answer.said) == (code, said)


@given(
    st.lists(
        st.sampled_from(
            [b"250 ok\r\n", b"250-a\r\n250 b\r\n", b"550 no\n", b"050 x\r\n250 y\r\n", b"garbage\r\n502 z\r\n"]
        ),
        max_size=6,
    ),
    st.data(),
)
def test_replies_are_the_same_however_they_are_cut(replies: list[bytes], data: st.DataObject) -> None:
    """Whole, octet by octet, or at random."""
    stream = b"".join(replies)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    places = list(zip([0, *cuts], [*cuts, len(stream)], strict=True))
    for pieces in ([stream], [stream[i : i + 1] for i in range(len(stream))], [stream[a:b] for a, b in places]):
        with hearing(pieces) as conversation:
            answers = conversation.answers()
        assert [one.octets for one in answers[:-1]] == replies
        assert answers[-1] == Answer(closed=True, waited=answers[-1].waited)


@given(st.binary(max_size=300))
def test_whatever_comes_is_an_answer_that_can_be_shown(octets: bytes) -> None:
    """No octets raise, loop, or reach a terminal."""
    with hearing([octets]) as conversation:
        answers = conversation.answers()
    assert len(answers) <= ANSWERS
    assert all(re.fullmatch(r"[\x20-\x7e]+", one.said) for one in answers)
    if len(answers) < ANSWERS:
        assert b"".join(one.octets for one in answers) == octets


def test_silence_ends_at_the_time_out() -> None:
    """And is told from a closed connection, now and later."""
    with talking(lambda peer: peer.rest(), SHORT) as (conversation, _):
        begun = monotonic()
        assert conversation.answer().said == "no answer"
        assert SHORT <= monotonic() - begun < LONG
        assert conversation.say(b"NOOP").said == "no answer"


def test_a_reply_that_drips_has_one_time_out_for_all_of_it() -> None:
    """An octet now and then is no way to keep an audit busy."""

    def script(peer: Peer) -> None:
        while True:
            peer.send(b"250-x\r\n")
            peer.socket.settimeout(0.02)
            try:
                if not peer.socket.recv(1):
                    return
            except TimeoutError:
                continue

    with talking(script, SHORT) as (conversation, _):
        begun = monotonic()
        answer = conversation.answer()
        assert monotonic() - begun < LONG / 2
        assert answer.over
        assert answer.said.endswith(", without end")


@pytest.mark.parametrize("block", [b"250-more\r\n", b"2" * 100, b"\n", b"\0" * 50])
def test_a_reply_without_end_is_cut(block: bytes) -> None:
    """By octets, long before the time-out."""

    def script(peer: Peer) -> None:
        while True:
            peer.send(block * 100)

    with talking(script) as (conversation, _):
        answer = conversation.answer()
        assert answer.over
        assert REPLY_OCTETS < len(answer.octets) < 2 * REPLY_OCTETS


def test_replies_without_end_are_counted() -> None:
    """Where it is not known how many come."""

    def script(peer: Peer) -> None:
        while True:
            peer.send(b"250 ok\r\n")

    with talking(script) as (conversation, _):
        assert len(conversation.answers()) == ANSWERS


def test_the_end_of_all_time_is_kept_whatever_the_time_out() -> None:
    """The bound of the audit wins over that of a read."""
    with talking(lambda peer: peer.rest(), LONG, SHORT) as (conversation, _):
        begun = monotonic()
        assert conversation.say(b"NOOP").said == "no answer"
        assert monotonic() - begun < LONG / 2


@pytest.mark.parametrize(
    "octets",
    [b".", b".\r\n", b"a\r\n.\r\n", b"a\n.\n", b"a\r.", b"a\0.", b"x\r\n.x", b"a\xae", "NOOP \u2024".encode()],
)
def test_octets_that_could_end_a_message_are_never_sent(octets: bytes) -> None:
    """Not as a command either: nobody knows what state the server is in."""
    with talking(lambda peer: peer.rest()) as (conversation, server):
        with pytest.raises(ValueError, match="could end a message"):
            conversation.put(octets)
        conversation.reset()
        assert server.wait(1)[0].received == b""


@given(st.binary(max_size=40))
def test_no_octets_that_are_sent_have_a_dot_where_a_line_begins(octets: bytes) -> None:
    """Whatever is asked for, by whatever line end, in seven bits or eight."""
    ours, theirs = socket.socketpair()
    with theirs:
        conversation = Conversation(ours, LONG, monotonic() + LONG)
        try:
            conversation.put(octets)
        except ValueError:
            assert not octets.isascii() or re.search(rb"(\A|[\r\n\0])\.", octets)
        conversation.reset()
        sent = b""
        while piece := theirs.recv(100):
            sent += piece
    assert sent in (b"", octets)
    assert not re.search(rb"(?:\A|[\r\n\0])\.", bytes(octet & 0x7F for octet in sent))


def test_content_is_only_for_a_server_that_waits_for_it() -> None:
    """So a refused DATA never makes commands of a message."""
    with hearing([b"503 no\r\n"]) as conversation:
        assert conversation.say(b"DATA").code == 503
        with pytest.raises(ValueError, match="does not wait"):
            conversation.content(b"text\r\n")


@pytest.mark.parametrize("go_on", [lambda one: None, lambda one: one.put(b"QUIT\r\n"), lambda one: one.say(b"RSET")])
def test_a_server_that_waits_for_a_message_gets_a_reset(go_on: object) -> None:
    """Whatever is asked for next; no QUIT becomes content."""

    def script(peer: Peer) -> None:
        peer.line()
        peer.send(b"354 go\r\n")
        peer.rest()

    with talking(script) as (conversation, server):
        assert conversation.say(b"DATA").code == 354
        conversation.content(b"Subject: x\r\n\r\ntext\r\n")
        assert callable(go_on)
        go_on(conversation)
        conversation.leave()
        (session,) = server.wait(1)
        assert session.was_reset
        assert b"QUIT" not in session.received
        assert b"RSET" not in session.received


def test_a_conversation_ends_with_rset_and_quit() -> None:
    """So that a transaction is given up, and the server need not guess."""

    def script(peer: Peer) -> None:
        while peer.line() is not None:
            peer.send(b"250 ok\r\n")

    with talking(script) as (conversation, server):
        conversation.say(b"MAIL FROM:<>")
        conversation.leave()
        (session,) = server.wait(1)
        assert session.received == b"MAIL FROM:<>\r\nRSET\r\nQUIT\r\n"
        assert not session.was_reset
