"""Target: message content (smtpguard.smtp.content).

The first octet says whether the message is 7-bit, whether bare LF is normalized and stood behind DATA,
how long a line may be, and how the rest is cut.  What must hold: the message ends at the first
CRLF.CRLF and nowhere else; what goes on is a prefix of what came, but for the bare LF, at most four
octets behind it; no octet that servers read differently ever goes on; the fault that stands first is
the one that is named; what could yet become an end of data stays here; how the octets are cut changes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from smtpguard.smtp.content import Content, ContentFault

from . import oracle, sources
from .cutting import ways

MAX_LEN: Final = 384
WORDS: Final = (
    b"\r\n.\r\n", b"\r\n.", b"\r\n", b".\r\n", b"\r", b"\n", b"\n.\n", b"\r\n.\n", b"\r.\r", b"..", b"\0", b"\x8a",
    b"\x8d", b"\xae", b".\r\n.\r\n", b"\r\r\n",
)  # fmt: skip


LINES: Final = (None, 5, 16, 80)
_HALF_AN_END: Final = (b"\r\n.", b"\r\n.\r")
"""How nothing may end that goes on: a server could take it for the end if the client goes away."""


def one(data: bytes) -> None:
    choice = data[0] if data else 0
    seven_bit, normalize = bool(choice & 1), bool(choice & 2)
    line = LINES[choice >> 3 & 3]
    octets = data[1:]
    read = oracle.normalized if normalize else oracle.message
    expected, behind = read(octets)
    came = octets if behind is None else octets[: len(octets) - len(behind)]
    found = [oracle.first_bad(came, seven_bit, complete=behind is not None, bare_lf=normalize)]
    if line is not None:
        found.append(oracle.first_wide(came, line - 2, normalize))
    bad = min((at for at in found if at is not None), default=None)
    good = expected if bad is None else read(octets[:bad])[0]
    for segments in ways(octets, choice):
        content = Content(seven_bit=seven_bit, line=line, normalize=normalize)
        passed, rest, fault = _pass(segments, content)
        assert good.startswith(passed), "what goes on is not what came, or bad"
        assert line is None or all(len(part) <= line - 2 for part in passed.split(b"\r\n"))
        assert (fault and fault.position) == bad, f"{fault}, first bad octet: {bad}"
        if fault is not None:
            continue
        assert content.ended is (behind is not None)
        if content.ended:
            assert (passed, rest) == (expected, behind)
            assert oracle.message(passed) == (passed, b"")
            bare = oracle.first_bad(came, False, complete=True) if normalize else None
            assert (content.bare and content.bare[0]) == bare
        elif normalize:
            assert len(expected) - len(passed) <= 6  # CRLF, dot and LF, of which two become more
            assert not (b"\r\n" + passed).endswith(_HALF_AN_END)
        else:
            assert _holds_back(expected, passed)


def _pass(segments: Iterable[bytes], content: Content) -> tuple[bytes, bytes, ContentFault | None]:
    """Return (what goes on, what is behind the end, the fault)."""
    passed = rest = came = b""
    for segment in segments:
        if content.ended:
            rest += segment
            continue
        came += segment
        try:
            forward, left = content.feed(segment)
        except ContentFault as fault:
            return passed, b"", fault
        passed, rest = passed + forward, rest + left
        assert not rest or content.ended
        assert content.ended or len(came) - len(passed) <= 4
    return passed, rest, None


def _holds_back(message: bytes, passed: bytes) -> bool:
    """True if just what could become an end of data was kept."""
    octets = b"\r\n" + message
    keep = next((n for n in (4, 3, 2, 1) if octets.endswith(oracle.END[:n])), 0)
    return len(passed) == max(len(octets) - keep - 2, 0)


def seeds() -> Iterator[bytes]:
    for number, octets in enumerate([*sources.said("C>"), *sources.streams()]):
        start = octets.upper().find(b"DATA\r\n")
        if start >= 0:
            yield b"\0" + octets[start + 6 :][:300]
            yield b"\1" + octets[start + 6 :][:300]
            yield bytes([2 + number % 32]) + octets[start + 6 :][:300]
    yield b"\0.\r\nNOOP\r\n"
    yield b"\1..\r\n.\r\r\n"
    yield b"\2a\n.\n..\r\n.\n\n.\r\nb\r\n.\r\n.\r\n"
    yield b"\6.\r\n.\nx\r\n.\r\nQUIT\r\n"
    yield b"\x0a...\n..\r\n.\r\n"
    yield b"\x0eaa\r\naaa\r\n"
    yield b"\x0a\n\n"
