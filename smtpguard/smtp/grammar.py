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
from enum import Enum
from typing import Final

from attrs import frozen

VERB_OCTETS: Final = 64
"""Longest verb accepted.  The longest in use has 14 letters; sendmail 5.x copied the verb unchecked
into a buffer of 100 octets."""

# verb at column 0, then CRLF, or one SP and anything printable.  Octets >= 0x80 pass here and are
# judged by the dialogue, which knows whether SMTPUTF8 (RFC 6531 3.1) is in force.
_COMMAND: Final = re.compile(rb"([A-Za-z0-9-]{1,%d})(?: ([\x20-\x7e\x80-\xff]*))?\r\n" % VERB_OCTETS)

# The blank look-alikes that RFC 5321 does not know: a server either skips them or refuses the line,
# so the line is refused, but its end is beyond doubt and the session goes on.
_BLANK_OUT_OF_PLACE: Final = re.compile(rb"[ \t]|[A-Za-z0-9-]+ ?[\x20-\x7e]*[\t\x0b\x0c]")

# Octets that servers drop, cut at, or take as a line end.  CR counts unless it could yet be the
# first half of a CRLF.
_NEVER: Final = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]|\r(?!\n|\Z)")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")

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

    @property
    def ends_session(self) -> bool:
        """True if guard and backend could disagree about where this line ends or what it says."""
        return self not in _HARMLESS


_HARMLESS: Final = frozenset({Fault.BLANK, Fault.EMPTY, Fault.SHAPE})


@frozen
class Command:
    """A well-formed command line."""

    line: bytes
    """The octets as received, CRLF included."""
    verb: bytes
    """In upper case; ASCII letters only are folded."""
    argument: bytes | None
    """What follows the one space; None if there is no space."""


@frozen
class Malformed:
    """A line that is not forwarded, whatever the policy says."""

    line: bytes
    fault: Fault


def parse(line: bytes) -> Command | Malformed:
    """Read one line that ends in LF.

    Octets >= 0x80 in the argument are let through to the caller, who must refuse them unless the
    command is a MAIL or RCPT under SMTPUTF8.
    """
    match = _COMMAND.fullmatch(line)
    if match is not None:
        verb, argument = match.groups()
        return Command(line, verb.upper(), argument)
    return Malformed(line, _fault(line))


def _fault(line: bytes) -> Fault:
    if not line.endswith(b"\r\n") or b"\n" in line[:-2]:
        return Fault.BARE_LF
    body = line[:-2]
    if b"\0" in body:
        return Fault.NUL
    if b"\r" in body:
        return Fault.BARE_CR
    if not body.isascii():
        return Fault.EIGHT_BIT
    if _NEVER.search(body):
        return Fault.CONTROL
    if _BLANK_OUT_OF_PLACE.match(body):
        return Fault.BLANK
    if _CONTROL.search(body):
        return Fault.CONTROL
    return Fault.SHAPE if body else Fault.EMPTY


def fault_of_partial(octets: bytes | bytearray, searched: int) -> Fault | None:
    """Look for a fault that no further octet can mend in a line that has no LF yet.

    A client that waits for an answer to `NOOP<CR>` or to a TLS ClientHello gets one now and not
    when the command time-out ends.  `searched` octets were looked at before.
    """
    if not searched and _BINARY_START.match(octets):
        return Fault.CONTROL if octets[0] < 0x80 else Fault.EIGHT_BIT
    match = _NEVER.search(octets, max(searched - 1, 0))
    if match is None:
        return None
    octet = match.group()
    if octet == b"\0":
        return Fault.NUL
    return Fault.BARE_CR if octet == b"\r" else Fault.CONTROL


# RFC 4954 4: BASE64 or "*" to cancel.  RFC 4648 4 alphabet.
_SASL: Final = re.compile(rb"(?:[A-Za-z0-9+/]*={0,2}|\*)\r\n")


def parse_sasl(line: bytes) -> Malformed | None:
    """Check a line of a SASL exchange (RFC 4954 4); None if it may be forwarded.

    A server ends the exchange at a line that is not base64, and reads the next one as a command;
    which lines it takes for base64 differs, so only the strict form passes.
    """
    if _SASL.fullmatch(line) is not None:
        return None
    fault = _fault(line)
    return Malformed(line, fault if fault.ends_session else Fault.NOT_BASE64)


# RFC 3030 2: "BDAT" SP chunk-size [ SP "LAST" ].  Nine digits are the most that no server's integer
# wraps at.
_CHUNK: Final = re.compile(rb"([0-9]{1,9})(?: LAST)?", re.IGNORECASE)


def chunk_size(argument: bytes | None) -> int | None:
    """Return the octets that a BDAT announces, or None if its form is not the strict one."""
    match = _CHUNK.fullmatch(argument or b"")
    return None if match is None else int(match.group(1))


def parameters(argument: bytes | None) -> frozenset[bytes]:
    """Return the words behind the address of a MAIL or RCPT, in upper case.

    An address may hold quoted blanks, so a word of it can appear here; every use of this set is one
    where a word too many only makes the guard stricter or is confirmed by the backend.
    """
    return frozenset((argument or b"").upper().split(b" ")[1:])
