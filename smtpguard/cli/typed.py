"""What a person types of a session, or pipes into `smtpguard explain -`: octets, piece by piece.

Contract: `pieces` yields what the client says next and what the server is to answer, as far as that is known.  Three
forms: lines alone, each of which gets a CRLF; transcripts (smtpguard.recordings.transcripts), known by their first
line; and with `escapes`, lines in which \\r \\n \\t \\0 \\xNN \\\\ stand for octets, and \\c at the end for no CRLF.
Raises `Unsaid` for what cannot be read.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

from attrs import frozen

from ..policy.supposed import Obliging

LINE_OCTETS: Final = 1024 * 1024
"""Of one line; the guard refuses far shorter ones."""
TRANSCRIPT_OCTETS: Final = 64 * 1024 * 1024
"""Of a transcript, which is read as a whole; as many as a recorded session may have."""
_REMARKS: Final = (b"=== ", b"*** ")
"""What swaks writes in front of a dialogue."""
_ESCAPE: Final = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.?)", re.DOTALL)
_OCTETS: Final = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


class Unsaid(Exception):
    """The text says what cannot be read, and where."""


@frozen
class Piece:
    """What is said next."""

    octets: bytes
    reply: bytes = b""
    """What the server answers if it gets it; empty to suppose what suits a client."""
    awaits: bytes = b""
    """The code without which the client would not say it (`354`, `334`)."""


@frozen
class Session:
    """All that is said."""

    pieces: Iterator[Piece]
    banner: bytes = b""
    remarks: tuple[str, ...] = ()
    """What is to be told of how it was read."""


def read(file: BinaryIO, escapes: bool) -> Session:
    """Read a pipe or a file, whose form its first line shows."""
    first = file.readline(LINE_OCTETS)
    if escapes:
        return Session(_lines(file, first, escaped))
    seen = first
    while first and (first.startswith(_REMARKS) or not first.strip()):
        first = file.readline(LINE_OCTETS)
        seen += first
    from ..recordings import exchanges  # here, since a line alone needs no transcripts
    from ..recordings.recorded import Run
    from ..recordings.transcripts import is_transcript, transcribed

    if not is_transcript(first):
        return Session(_lines(file, seen, ended))
    octets = seen + file.read(TRANSCRIPT_OCTETS)
    if file.read(1):
        raise Unsaid(f"a transcript of more than {TRANSCRIPT_OCTETS} octets: smtpguard replay takes it")
    sessions = list(transcribed(io.BytesIO(octets), None))
    recorded = sessions[0]
    spoken = next((bytes(run.octets[:3]) for run in recorded.runs if not run.from_client), b"")
    if recorded.runs[0].from_client and spoken != b"220":  # written down without the banner
        recorded.runs.insert(0, Run(False, bytearray(Obliging().banner())))
    dialogue = exchanges.read(recorded)
    awaits = {exchanges.What.CONTENT: b"354", exchanges.What.RESPONSE: b"334"}
    more = f"the first of {len(sessions)} sessions; smtpguard replay takes all"
    return Session(
        (Piece(one.octets, one.reply or b"", awaits.get(one.what, b"")) for one in dialogue.exchanges),
        dialogue.banner or b"",
        (*recorded.told, *([more] if len(sessions) > 1 else [])),
    )


def _lines(file: BinaryIO, first: bytes, octets_of: Callable[[bytes, int], bytes]) -> Iterator[Piece]:
    number = 0
    pending = io.BytesIO(first)
    while line := pending.readline() or file.readline(LINE_OCTETS):
        number += 1
        yield Piece(octets_of(line.removesuffix(b"\n").removesuffix(b"\r"), number))


def prompted(escapes: bool) -> Iterator[Piece]:
    """Yield what is typed at a terminal."""
    import readline  # noqa: F401 - which makes `input` remember lines and let them be edited

    octets_of = escaped if escapes else ended
    number = 0
    while True:
        try:
            line = input("> ")
        except (EOFError, KeyboardInterrupt):
            sys.stdout.write("\n")
            return
        number += 1
        try:
            octets = octets_of(os.fsencode(line), number)
        except Unsaid as error:
            sys.stdout.write(f"{error}\n")
            continue
        yield Piece(octets)


def ended(line: bytes, number: int) -> bytes:
    """Return a line as a client says it."""
    return line + b"\r\n"


def escaped(line: bytes, number: int) -> bytes:
    """Return the octets that a line with escapes stands for."""
    # A backslash in front of `\\c` makes it an escaped one and a letter.
    open_end = line.endswith(b"\\c") and (len(line[:-1]) - len(line[:-1].rstrip(b"\\"))) % 2 == 1
    if open_end:
        line = line[:-2]

    def octets_of(match: re.Match[bytes]) -> bytes:
        name = match[1]
        if name[:1] == b"x" and len(name) == 3:
            return bytes([int(name[1:], 16)])
        if name not in _OCTETS:
            raise Unsaid(
                f"line {number}, column {match.start() + 1}: no escape: write \\r \\n \\t \\0 \\xNN or \\\\, "
                "and \\c at the end of a line for no CRLF"
            )
        return _OCTETS[name]

    return _ESCAPE.sub(octets_of, line) + (b"" if open_end else b"\r\n")
