"""Target: BDAT and the octets behind it (grammar.chunk_size, the CHUNK phase of the dialogue).

The first octet says how the rest is cut, which a client then sends to a backend that never offered
CHUNKING, under a policy that lets NOOP through and nothing else.  What must hold: the octets of a
refused chunk are counted to the last one, none of them is read as a command, sent on or kept; a BDAT
that cannot be counted ends the session.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from smtpguard.smtp.answers import UNKNOWN
from smtpguard.smtp.bounds import Bounds
from smtpguard.smtp.effects import Close, Effect, ToBackend, ToClient
from smtpguard.smtp.grammar import Command, chunk_size, parse
from smtpguard.smtp.invariants import is_other_protocol, must_be_last
from smtpguard.smtp.terms import Terms
from smtpguard.smtp.verdict import Action, Facts, Verdict

from . import oracle, parts, sources
from .cutting import ways

MAX_LEN: Final = 384
WORDS: Final = (
    b"BDAT ", b"BDAT 5\r\n", b"BDAT 10 LAST\r\n", b"bdat 0\r\n", b" LAST", b" last", b"NOOP\r\n", b"NOOP x\r\n",
    b"\r\n", b"999999999", b"0000000012", b"+1", b"0x5", b" 5", b"5 ", b"-1", b"1_0", b"VRFY a\r\n", b"xxxxx",
    b"LAST LAST",
)  # fmt: skip


class OnlyNoop:
    """A judge (smtpguard.smtp.verdict.Judge)."""

    forwards = frozenset({b"NOOP"})

    def judge(self, command: Command, facts: Facts) -> Verdict:
        return Verdict(Action.FORWARD) if command.verb == b"NOOP" else Verdict(Action.REPLY, UNKNOWN)

    def may_forward(self, verb: bytes, facts: Facts) -> bool:
        return verb == b"NOOP"


def one(data: bytes) -> None:
    octets = data[1:]
    for argument in (octets, None, *octets.split(b"\r\n"), *octets.split(b" ", 1)):
        size = chunk_size(argument)
        assert size == oracle.chunk(argument) or (size is None and (argument or b"").startswith(b"0")), argument
    forwarded, answers, ends = _expected(octets)
    for segments in ways(octets, sum(data[:1])):
        client = _Client()
        for segment in segments:
            client.send(segment)
        assert client.lines[: len(forwarded)] == forwarded, f"forwarded {client.lines}, expected {forwarded}"
        if ends is not None:
            assert client.lines == forwarded
            assert client.closed is ends
            assert client.replies == answers + 1 + ends


def _expected(octets: bytes) -> tuple[list[bytes], int, bool | None]:
    """Return (lines forwarded, replies to lines, whether the session ends); None if that is not said here."""
    lines: list[bytes] = []
    answers = at = 0
    while end := octets.find(b"\n", at) + 1:
        line = octets[at:end]
        parsed = parse(line)
        if is_other_protocol(parsed) or end - at > 100:
            return lines, answers, None
        at = end
        if isinstance(parsed, Command):
            if must_be_last(parsed):
                return lines, answers, None
            if not line.isascii():
                return lines, answers, True
            if parsed.verb == b"NOOP":
                lines.append(line)
            if parsed.verb == b"BDAT":
                size = chunk_size(parsed.argument)
                if size is None:
                    return lines, answers, True
                at += size
                answers -= at > len(octets)
        elif parsed.fault.ends_session:
            return lines, answers, True
        answers += 1
    return lines, answers, None if octets[at:] else False  # what is wrong with half a line is another target


class _Client:
    """A client, and a backend that says yes."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.replies = 0
        self.closed = False
        self._dialogue = parts.dialogue(OnlyNoop(), Terms(Bounds(queue=32), parts.profile(100)))
        self._perform(self._dialogue.from_backend(b"220 mx\r\n"))

    def send(self, segment: bytes) -> None:
        self._perform(self._dialogue.from_client(segment))
        assert self._dialogue.hungry or self._dialogue.phase.value != "chunk", "a refused chunk is kept"

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            assert not self.closed
            if isinstance(effect, ToClient):
                found, faulty, rest = oracle.replies(effect.octets)
                assert found
                assert not faulty
                assert not rest
                self.replies += len(found)
            elif isinstance(effect, ToBackend):
                self.lines.append(effect.octets)
                self._perform(self._dialogue.from_backend(b"250 ok\r\n"))
            elif isinstance(effect, Close):
                self.closed = True


def seeds() -> Iterator[bytes]:
    for octets in [*sources.said("C>"), *sources.streams()]:
        if b"BDAT" in octets.upper():
            yield b"\3" + octets[:300]
    yield b"\5BDAT 5\r\nNOOP\rNOOP\r\nbdat 0 last\r\nBDAT 3 LAST\r\nab\nNOOP x\r\n x\r\n"
    yield b"\0BDAT 999999999\r\n" + b"x" * 200
