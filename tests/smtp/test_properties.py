"""What holds for every stream of octets, not only for those that somebody thought of.

Hypothesis makes streams of fragments that are awkward for parsers; each stream goes through the
dialogue whole, octet by octet and split anywhere.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpguard.smtp.content import Content, ContentFault
from smtpguard.smtp.grammar import Command, Malformed, parse
from smtpguard.smtp.replies import ReplyFault, ReplyReader

from .backends import Lenient, verbs_of
from .table import INSIDE, Split, Table, each_octet, whole
from .test_streams import REFUSED, replies_in

FRAGMENTS = st.sampled_from(
    [
        b"VRFY", b"EXPN", b"DEBUG", b"NOOP", b"DATA", b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>", b"EHLO x", b"HELO x",
        b"RSET", b"QUIT", b"AUTH PLAIN", b"AUTH PLAIN eA==", b"STARTTLS", b"BDAT 5", b"BDAT 7 LAST", b"BDAT 0x5",
        b" BODY=7BIT", b" BODY=8BITMIME", b" SMTPUTF8", b" root", b" list", b" ", b"  ", b"\t", b"\x0b", b"\x0c",
        b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n", b"\0", b".", b"..", b"\r\n.\r\n", b"\n.\n",
        b"\r\n.\n", b".\r\n", b"\x8d\x8a\xae\x8d\x8a", b"\xc3\xa9", b"\x85", b"\x7f", b"\x1c", b"x" * 1990, b"=",
        b"XCLIENT ADDR=1.2.3.4", b"GET / HTTP/1.0", b"Host: x", b"vrfy", b"eXpN", b"\xff\xf4", b"*",
    ]
)  # fmt: skip
STREAMS = st.lists(FRAGMENTS | st.binary(max_size=4), max_size=30).map(b"".join)
REPLIES = st.sampled_from(
    [b"250 ok\r\n"] * 6
    + [b"354 go\r\n", b"334 eA==\r\n", b"235 in\r\n", b"500 no\r\n", b"250-a\r\n250 SMTPUTF8\r\n", b"451 later\r\n"]
)


def split_at(cuts: list[int]) -> Split:
    """Return a Split into segments of these lengths, again and again."""

    def split(octets: bytes) -> list[bytes]:
        segments, at, turn = [], 0, 0
        while at < len(octets):
            length = cuts[turn % len(cuts)]
            segments.append(octets[at : at + length])
            at, turn = at + length, turn + 1
        return segments

    return split


SPLITS = st.just(whole) | st.just(each_octet) | st.lists(st.integers(1, 40), min_size=1, max_size=5).map(split_at)


class Play:
    """A client's stream against a backend that answers at once, as told."""

    def __init__(self, source: str, answers: list[bytes]) -> None:
        self.table = Table(source=source)
        self.lenient = Lenient()
        self.lines: list[bytes] = []
        self._answers = [*answers, *[b"250 ok\r\n"] * 400]
        self._sasl = False
        self._in_data = False
        self.table.backend(b"220 mx.test\r\n")

    def client(self, octets: bytes, split: Split) -> None:
        for segment in split(octets):
            self.table.client(segment)
            while forwarded := self.table.take_backend():
                self._backend(forwarded)
                self.table.be_patient()
            self.table.be_patient()

    def _backend(self, octets: bytes) -> None:
        if self._in_data:
            self.lenient.feed(octets)
            if octets.endswith(b"\r\n.\r\n") or octets == b".\r\n" or self.table.dialogue.awaited.value == "data_end":
                self._in_data = False
                self.table.backend(b"250 queued\r\n")
            return
        self.lines.append(octets)
        sasl, self._sasl = self._sasl, False
        if not sasl:
            self.lenient.feed(octets)
        answer = self._answers.pop(0)
        if b"BODY=7BIT" in octets.upper():
            self.lenient.seven_bit = True
        elif octets[:4].upper() == b"MAIL" and answer.startswith(b"2"):
            self.lenient.seven_bit = False
        self.table.backend(answer)
        if self.table.closed is None:
            self._sasl = answer.startswith(b"334")
            if answer.startswith(b"354"):
                self._in_data = True
                self.lenient.go_ahead()


@settings(max_examples=600)
@given(stream=STREAMS, answers=st.lists(REPLIES, max_size=12), split=SPLITS)
def test_no_server_however_lax_executes_a_refused_verb(stream: bytes, answers: list[bytes], split: Split) -> None:
    """The promise of the program, for an outsider."""
    outsider(stream, answers, split)


@pytest.mark.long
@settings(max_examples=50_000)
@given(stream=STREAMS, answers=st.lists(REPLIES, max_size=12), split=SPLITS)
def test_nor_after_many_more_streams(stream: bytes, answers: list[bytes], split: Split) -> None:
    """The same for some minutes; `make test-long`."""
    outsider(stream, answers, split)


def outsider(stream: bytes, answers: list[bytes], split: Split) -> None:
    """Send a stream as an outsider, and look at what the laxest server made of what got through."""
    play = Play("203.0.113.9", answers)
    play.client(stream, split)
    play.table.client_finished()
    play.lenient.finish()
    assert not REFUSED & set(play.lenient.executed)
    replies_in(play.table.take_client())


@settings(max_examples=300)
@given(stream=STREAMS, answers=st.lists(REPLIES, max_size=12))
def test_insiders_get_no_further_with_what_cannot_be_read_one_way(stream: bytes, answers: list[bytes]) -> None:
    """Whoever the client is, every line forwarded is one command, the same to every server."""
    play = Play(INSIDE, answers)
    play.client(stream, whole)
    for line in play.lines:
        assert re.fullmatch(rb"[^\r\n\0\t\x0b\x0c]+\r\n", line)
        assert len(line) <= 2000
    assert all(line.upper() in stream.upper() for line in play.lines)


@settings(max_examples=400)
@given(stream=STREAMS, answers=st.lists(REPLIES, max_size=12), split=SPLITS)
def test_how_a_stream_is_cut_into_segments_changes_nothing(stream: bytes, answers: list[bytes], split: Split) -> None:
    """The client sends all before the backend answers at all; then only the octets can count."""
    seen = []
    for how in (whole, split):
        table = Table()
        for segment in how(stream):
            table.client(segment)
        for answer in [b"220 mx\r\n", *answers, *[b"250 ok\r\n"] * 40]:
            if table.closed is None and table.dialogue.phase.value in ("banner", "reply"):
                table.backend(answer)
        seen.append((table.take_client(), table.closed))
    assert seen[0] == seen[1]


CONTENT = st.lists(
    st.sampled_from(
        [b"x", b".", b"..", b"\r\n", b"\r\n", b"\r\n.", b"\r\n.\r\n", b"\r", b"\n", b"\0", b"\x8a", b"abc"]
    ),
    max_size=20,
).map(b"".join)


@settings(max_examples=500)
@given(octets=CONTENT, split=SPLITS, seven_bit=st.booleans())
def test_content_is_passed_up_to_its_end_or_not_at_all(octets: bytes, split: Split, seven_bit: bool) -> None:
    """Against the plainest reading of RFC 5321 4.1.1.4, whatever the segments."""
    end = (b"\r\n" + octets).find(b"\r\n.\r\n")
    message, rest = (octets, b"") if end < 0 else (octets[: end + 3], octets[end + 3 :])
    decided = message if end >= 0 else message.removesuffix(b"\r")
    bad = re.search(rb"(?<!\r)\n|\r(?!\n)|\0" + (rb"|[\x80-\xff]" if seven_bit else b""), decided)
    content = Content(seven_bit=seven_bit)
    passed, behind = b"", b""
    try:
        for segment in split(octets):
            if content.ended:
                behind += segment
                continue
            forward, left = content.feed(segment)
            passed, behind = passed + forward, behind + left
    except ContentFault as fault:
        assert bad is not None
        assert message.startswith(passed)
        assert fault.position >= len(passed)
        assert octets[fault.position] in b"\r\n\0" or octets[fault.position] >= 0x80
        return
    assert bad is None
    assert content.ended is (end >= 0)
    assert behind == rest
    if content.ended:
        assert passed == message
    else:
        assert message.startswith(passed)
        assert (b"\r\n" + message)[len(passed) + 2 :] in (b"", b"\r", b"\r\n", b"\r\n.", b"\r\n.\r", b".", b".\r")


@settings(max_examples=400)
@given(line=st.lists(FRAGMENTS | st.binary(max_size=3), max_size=4).map(b"".join))
def test_a_command_is_read_by_every_server_as_it_was_judged(line: bytes) -> None:
    """The verb of a well-formed line is the only one that any server could find in it."""
    parsed = parse(line.replace(b"\n", b"") + b"\r\n")
    if isinstance(parsed, Command) and parsed.line.isascii():
        assert set(verbs_of(parsed.line[:-2])) == {parsed.verb}
    else:
        assert isinstance(parsed, Malformed) or not parsed.line.isascii()


REPLY_STREAMS = st.lists(
    st.sampled_from(
        [b"250 a\r\n", b"250-a\r\n", b"354 b\r\n", b"25", b"0 x", b"\r\n", b"\n", b"421 c\r\n", b"2500 d\r\n", b"\r"]
    ),
    max_size=8,
).map(b"".join)


@settings(max_examples=400)
@given(octets=REPLY_STREAMS, split=SPLITS)
def test_replies_are_cut_the_same_however_they_come(octets: bytes, split: Split) -> None:
    """Whole replies, in order, up to the first that is none."""

    def read(how: Split) -> tuple[list[bytes], bool]:
        reader = ReplyReader(1000, 5000)
        found: list[bytes] = []
        try:
            for segment in how(octets):
                reader.append(segment)
                while (reply := reader.take()) is not None:
                    found.append(reply.octets)
        except ReplyFault:
            return found, True
        return found, False

    assert read(split) == read(whole)
    replies, _ = read(whole)
    assert octets.startswith(b"".join(replies))


def normalized(octets: bytes) -> tuple[bytes, bytes] | None:
    """Return (message as it must go on, octets behind it), read octet by octet; None if it has no end."""
    out = b""
    at = 0
    line_begins = b"\r\n"  # the line end in front of octets[at]
    while at < len(octets):
        end = octets.find(b"\n", at)
        if end < 0:
            return None
        line, line_ends = octets[at:end], b"\n"
        if line.endswith(b"\r"):
            line, line_ends = line[:-1], b"\r\n"
        if line == b"." and line_begins == line_ends == b"\r\n":
            return out + b".\r\n", octets[end + 1 :]
        stuffed = line.startswith(b".") and (line_begins == b"\n" or (line == b"." and line_ends == b"\n"))
        out += b"." * stuffed + line + b"\r\n"
        line_begins = line_ends
        at = end + 1
    return None


LF_CONTENT = st.lists(
    st.sampled_from([b"x", b".", b"..", b"\r\n", b"\n", b"\n", b"\n.\n", b"\r\n.\r\n", b"\r\n.\n", b"\n.\r\n"]),
    max_size=20,
).map(b"".join)


@settings(max_examples=800)
@given(octets=LF_CONTENT, split=SPLITS)
def test_normalized_content_ends_where_crlf_dot_crlf_stands_and_nowhere_else(octets: bytes, split: Split) -> None:
    """Against a reading line by line; and no strict server can find another end in it."""
    content = Content(seven_bit=False, normalize=True)
    passed, behind = b"", b""
    for segment in split(octets):
        if content.ended:
            behind += segment
            continue
        forward, left = content.feed(segment)
        passed, behind = passed + forward, behind + left
    expected = normalized(octets)
    assert content.ended is (expected is not None)
    if expected is not None:
        assert (passed, behind) == expected
    ends = [m.end() for m in re.finditer(rb"\r\n\.\r\n", b"\r\n" + passed)]
    assert ends == ([len(passed) + 2] if expected else [])
    assert re.search(rb"(?<!\r)\n|\r(?!\n)", passed) is None
