"""The one form of command line that every mail server reads alike, and what is wrong with the rest.

Contract: `parse` takes one complete line, up to and with its LF, and returns either a `Command`,
whose `line` is those very octets, or a `Malformed` that says what is wrong and whether the session
may go on.  Nothing is repaired, trimmed or decoded: the octets that are judged are the octets that
are forwarded.

RFC 5321 4.1.1 has `verb [SP argument] CRLF`.  sendmail accepts far more: any `isspace` in front of
and behind the verb, LF alone as line end, a NUL as end of string.  Other servers accept other
things.  The form below is what is common to all of them; anything else is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final, final

from .values import Value

VERB_OCTETS: Final = 64
"""Longest verb accepted.  The longest in use has 14 letters; sendmail 5.x copied the verb unchecked
into a buffer of 100 octets."""

# verb at column 0, then CRLF, or one SP and anything printable.  Octets >= 0x80 pass here and are
# judged by the dialogue, which knows whether SMTPUTF8 (RFC 6531 3.1) is in force.
_COMMAND: Final = re.compile(rb"([A-Za-z0-9-]{1,%d})(?: ([\x20-\x7e\x80-\xff]*))?\r\n" % VERB_OCTETS)

# The blank look-alikes that RFC 5321 does not know: a server either skips them or refuses the line,
# so the line is refused, but its end is beyond doubt and the session goes on.
_BLANK_OUT_OF_PLACE: Final = re.compile(rb"[ \t]|[A-Za-z0-9-]+ ?[\x20-\x7e]*[\t\x0b\x0c]")

# What a server could take for a BDAT (RFC 3030): octets follow that are no lines.
_BDAT: Final = re.compile(rb"[\t-\r ]*BDAT(?![A-Z0-9-])", re.IGNORECASE)

# Octets that servers drop, cut at, or take as a line end.  CR counts unless it could yet be the
# first half of a CRLF.
_NEVER: Final = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]|\r(?!\n|\Z)")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")

_EIGHT_BIT: Final = re.compile(rb"[\x80-\xff]")

# The first octet of an SSLv2 or TLS record, of a telnet negotiation, or of anything else binary.
_BINARY_START: Final = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f-\xff]")


class Fault(Enum):
    """What is wrong with a line; the value is the text for the log and for `explain`."""

    BARE_LF = "bare linefeed (LF)"
    BARE_CR = "bare carriage return (CR)"
    NUL = "NUL octet"
    CONTROL = "control octet"
    EIGHT_BIT = "octet above 0x7f"
    TOO_LONG = "line too long"
    BLANK = "blank, TAB, VT or FF where a verb or a single space belongs"
    EMPTY = "empty line"
    SHAPE = "not a command line"
    NOT_BASE64 = "authentication response that is not base64"
    UNCOUNTED = "BDAT whose octets cannot be counted"
    OTHER_PROTOCOL = "another protocol"

    @property
    def ends_session(self) -> bool:
        """True if guard and backend could disagree about where this line ends or what it says."""
        return self not in _HARMLESS


_HARMLESS: Final = frozenset({Fault.BLANK, Fault.EMPTY, Fault.SHAPE})


@final
class Command(Value):
    """A well-formed command line."""

    __slots__ = ("argument", "line", "verb")

    def __init__(self, line: bytes, verb: bytes, argument: bytes | None) -> None:
        self.line: Final = line
        """The octets as received, CRLF included."""
        self.verb: Final = verb
        """In upper case; ASCII letters only are folded."""
        self.argument: Final = argument
        """What follows the one space; None if there is no space."""

    def parts(self) -> tuple[object, ...]:
        return self.line, self.verb, self.argument


@dataclass(frozen=True)
class Malformed:
    """A line that is not forwarded, whatever the policy says."""

    line: bytes
    fault: Fault
    octet: int = 0
    """Where in the line the fault stands, counted from 1; 0 if it has no place."""


def parse(line: bytes) -> Command | Malformed:
    """Read one line that ends in LF.

    Octets >= 0x80 in the argument are let through to the caller, who must refuse them unless the
    command is a MAIL or RCPT under SMTPUTF8.
    """
    return well_formed(line) or _malformed(line)


def well_formed(octets: bytes) -> Command | None:
    """Return the command that the octets are; None if they are anything else, be it two lines, or half of one."""
    bare = _BARE_COMMANDS.get(octets)
    if bare is not None:
        return bare
    match = _COMMAND.fullmatch(octets)
    if match is None:
        return None
    verb, argument = match.groups()
    return Command(octets, verb.upper(), argument)


_BARE_COMMANDS: Final = {
    line: Command(line, line[:-2], None) for line in (b"DATA\r\n", b"QUIT\r\n", b"RSET\r\n", b"NOOP\r\n")
}
"""Lines that most sessions send octet for octet, so that nobody has to look at them twice."""


def _malformed(line: bytes) -> Malformed:
    end = line.find(b"\n")
    bare = end != len(line) - 1 or line[end - 1 : end] != b"\r"
    # What may be found before the line is complete comes first, so that how it was cut changes nothing.
    early = malformed_partial(line[:end], 0)
    if early is not None:
        return Malformed(line, *early)
    if bare:
        return Malformed(line, Fault.BARE_LF, end + 1)
    body = line[:-2]
    if not body.isascii():
        return Malformed(line, Fault.EIGHT_BIT, eight_bit_at(body) + 1)
    if _BDAT.match(body):
        return Malformed(line, Fault.UNCOUNTED)
    if _BLANK_OUT_OF_PLACE.match(body):
        return Malformed(line, Fault.BLANK)
    control = _CONTROL.search(body)
    if control is not None:
        return Malformed(line, Fault.CONTROL, control.start() + 1)
    return Malformed(line, Fault.SHAPE if body else Fault.EMPTY)


def eight_bit_at(octets: bytes) -> int:
    """Return where the first octet above 0x7f stands; there must be one."""
    match = _EIGHT_BIT.search(octets)
    assert match is not None
    return match.start()


def malformed_partial(octets: bytes | bytearray, searched: int) -> tuple[Fault, int] | None:
    """Look for a fault that no further octet can mend in a line that has no LF yet; and for its octet.

    A client that waits for an answer to `NOOP<CR>` or to a TLS ClientHello gets one now and not
    when the command time-out ends.  `searched` octets were looked at before.
    """
    if not searched and _BINARY_START.match(octets):
        return (Fault.CONTROL if octets[0] < 0x80 else Fault.EIGHT_BIT), 1
    match = _NEVER.search(octets, max(searched - 1, 0))
    if match is None:
        return None
    octet = match.group()
    if octet == b"\0":
        return Fault.NUL, match.start() + 1
    return (Fault.BARE_CR if octet == b"\r" else Fault.CONTROL), match.start() + 1


_AUTH: Final = re.compile(rb"[\x00-\x20]*AUTH(?![A-Za-z0-9-])", re.IGNORECASE)


def looks_like_auth(line: bytes) -> bool:
    """True if some server could take the line for an AUTH, so that a client may send a password next."""
    return _AUTH.match(line) is not None


# RFC 4954 4: BASE64 or "*" to cancel.  RFC 4648 4 alphabet.
_SASL: Final = re.compile(rb"(?:[A-Za-z0-9+/]*={0,2}|\*)\r\n")


def parse_sasl(line: bytes) -> Malformed | None:
    """Check a line of a SASL exchange (RFC 4954 4); None if it may be forwarded.

    A server ends the exchange at a line that is not base64, and reads the next one as a command;
    which lines it takes for base64 differs, so only the strict form passes.
    """
    if _SASL.fullmatch(line) is not None:
        return None
    malformed = _malformed(line)
    return malformed if malformed.fault.ends_session else Malformed(line, Fault.NOT_BASE64)


# RFC 3030 2: "BDAT" SP chunk-size [ SP "LAST" ].  Nine digits are the most that no server's integer
# wraps at, and a leading zero could mean that the rest is octal.
_CHUNK: Final = re.compile(rb"(0|[1-9][0-9]{0,8})(?: LAST)?", re.IGNORECASE)


def chunk_size(argument: bytes | None) -> int | None:
    """Return the octets that a BDAT announces, or None if its form is not the strict one."""
    match = _CHUNK.fullmatch(argument or b"")
    return None if match is None else int(match.group(1))


def is_last_chunk(argument: bytes | None) -> bool:
    """True if a BDAT of the strict form is the last of its message."""
    return (argument or b"").upper().endswith(b" LAST")


_RECIPIENT: Final = re.compile(rb"TO: *(?:<([^>]*)>?|([^ ]*))", re.IGNORECASE)


def recipient_of(command: Command) -> bytes:
    """Return the address that a RCPT names, or all of its argument if there is none; for logs and counts alone."""
    argument = command.argument or b""
    match = _RECIPIENT.match(argument)
    return argument if match is None else match.group(1) or match.group(2) or b""


def parameters(argument: bytes | None) -> frozenset[bytes]:
    """Return the words behind the address of a MAIL or RCPT, in upper case.

    An address may hold quoted blanks, so a word of it can appear here; every use of this set is one
    where a word too many only makes the guard stricter or is confirmed by the backend.
    """
    return frozenset((argument or b"").upper().split(b" ")[1:])
