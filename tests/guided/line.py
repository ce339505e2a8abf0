"""Target: the client's lines (smtpguard.smtp.grammar, and what holds and cuts them).

The first octet chooses the bound, the second how the rest is cut.  What must hold: a line passes if
and only if it has the one form; it passes unchanged; a line that leaves the session open has an end
that is beyond doubt; octets are neither lost nor waited for beyond the bound; how they are cut
changes nothing but how early a fault is seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from smtpguard.smtp.grammar import Command, Malformed, parameters, parse, parse_sasl
from tests.smtp.backends import verbs_of

from . import oracle, parts, sources
from .cutting import ways

MAX_LEN: Final = 512
BOUNDS: Final = (2000, 64, 16, 5)
WORDS: Final = (
    b"VRFY", b"MAIL FROM:<a@b>", b"RCPT TO:<", b"DATA", b" BODY=7BIT", b" SMTPUTF8", b"\r\n", b"\r", b"\n", b"\r\r\n",
    b"\0", b"\t", b"\x0b", b"\x0c", b" ", b"\x7f", b"\x80", b"\xc3\xa9", b"=", b"==", b"*", b"-", b"\x16\x03\x01",
)  # fmt: skip


def one(data: bytes) -> None:
    bound = BOUNDS[data[0] % len(BOUNDS)] if data else BOUNDS[0]
    octets = data[2:]
    seen = [_read(segments, bound) for segments in ways(octets, sum(data[1:2]))]
    assert seen[1:] == seen[:-1], f"cut otherwise, read otherwise: {seen}"
    for line in octets.split(b"\n"):
        _judge(line.removesuffix(b"\r") + b"\r\n")
        _judge(line + b"\n")
    _responses(octets, bound)
    parameters(octets)


def _read(segments: Iterable[bytes], bound: int) -> tuple[list[bytes], bool]:
    """Return (lines that leave the session open, whether it then ends)."""
    reader, lines, held = parts.lines(bound), list[bytes](), b""
    for segment in segments:
        reader.append(segment)
        held += segment
        while True:
            assert len(reader) == len(held), "octets were lost"
            parsed = reader.take_command()
            if parsed is None:
                assert b"\n" not in held, "a complete line is not given out"
                assert len(held) < bound, "waits for more than the bound"
                break
            end = held.find(b"\n") + 1
            if isinstance(parsed, Malformed) and parsed.fault.ends_session:
                return lines, True
            assert 0 < end <= bound, "longer than the bound"
            assert parsed.line == held[:end]
            assert not _judge(parsed.line)
            lines.append(parsed.line)
            held = held[end:]
    assert reader.take(3) == held[:3]
    assert reader.take_all() == held[3:]
    return lines, False


def _responses(octets: bytes, bound: int) -> None:
    """Read all as lines of a SASL exchange."""
    reader, passed = parts.lines(bound), b""
    reader.append(octets)
    while isinstance(line := reader.take_response(), bytes):
        assert oracle.is_sasl(line)
        assert len(line) <= bound
        passed += line
    assert octets.startswith(passed)
    if line is None:
        assert b"\n" not in octets[len(passed) :]
    else:
        assert line.fault.ends_session


def _judge(line: bytes) -> bool:
    """Read one line in both ways; True if it ends the session."""
    sasl = parse_sasl(line)
    assert (sasl is None) is oracle.is_sasl(line)
    assert sasl is None or sasl.fault.ends_session
    form = oracle.verb_and_argument(line)
    parsed = parse(line)
    assert parsed.line == line
    if not isinstance(parsed, Command):
        assert form is None, f"refused as {parsed.fault}"
        assert parsed.fault.ends_session or oracle.harmless(line), f"goes on behind {parsed.fault}"
        return parsed.fault.ends_session
    assert form == (parsed.verb, parsed.argument)
    if line.isascii():
        assert set(verbs_of(line[:-2])) == {parsed.verb}
    return False


def seeds() -> Iterator[bytes]:
    for octets in sources.said("C>"):
        yield b"\0\1" + octets
    for number, octets in enumerate(sources.streams()):
        yield bytes([number % 4, number]) + octets[:200]
