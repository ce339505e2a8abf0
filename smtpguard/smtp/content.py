"""Message content on its way through: where it ends, and what must not be in it.

Contract: `Content.feed` returns the octets that may go to the backend now, and once the end of data
has come, what the client sent behind it.  End of data is CRLF.CRLF and nothing else (RFC 5321
4.1.1.4).  Bare CR, bare LF and NUL raise `ContentFault`, since servers disagree on whether they end
a line, and so on whether a dot behind them ends the message; an octet above 0x7f does the same where
the backend was told that the message is 7-bit, since some servers then drop the eighth bit and see
another octet.  The piece in which the fault stands is never forwarded.

What could yet become an end of data is held back, so that the backend never holds `CRLF .` from a
client that then goes away: a server that reads it at end of file may take it for the end.
"""

from __future__ import annotations

from typing import Final

from .grammar import Fault

_END: Final = b"\r\n.\r\n"


class ContentFault(Exception):
    """An octet in the content that servers read differently; `position` counts from the first octet
    of the message, 0-based."""

    def __init__(self, fault: Fault, position: int) -> None:
        super().__init__(fault.value)
        self.fault = fault
        self.position = position


class Content:
    """The content of one message (RFC 5321 3.3: from the 354 to the end of data)."""

    __slots__ = ("_held", "_passed", "_seven_bit", "_skip", "ended")

    def __init__(self, *, seven_bit: bool) -> None:
        self._seven_bit = seven_bit
        # The line end of the DATA command counts as the first CRLF: a message may be empty.  It is
        # put in front of the first octets and not passed on.
        self._held = b"\r\n"
        self._skip = 2
        self._passed = 0
        self.ended = False

    def feed(self, octets: bytes) -> tuple[bytes, bytes]:
        """Return (octets to forward, octets behind the end of data); raises ContentFault."""
        octets = self._held + octets if self._held else octets
        end = octets.find(_END)
        rest = b""
        if end >= 0:
            end += len(_END)
            rest = octets[end:]
            octets = octets[:end]
            self.ended = True
            self._held = b""
        self._check(octets)
        if not self.ended:
            keep = _undecided(octets)
            if keep:
                self._held = octets[-keep:]
                octets = octets[:-keep]
            else:
                self._held = b""
        if self._skip and octets:
            octets = octets[self._skip :]
            self._skip = 0
        self._passed += len(octets)
        return octets, rest

    def _check(self, octets: bytes) -> None:
        pairs = octets.count(b"\r\n")
        # A CR at the very end is undecided, not bare.
        trailing = octets.endswith(b"\r")
        if octets.count(b"\n") != pairs:
            raise self._fault(Fault.BARE_LF, octets)
        if octets.count(b"\r") - trailing != pairs:
            raise self._fault(Fault.BARE_CR, octets)
        if b"\0" in octets:
            raise self._fault(Fault.NUL, octets)
        if self._seven_bit and not octets.isascii():
            raise self._fault(Fault.EIGHT_BIT, octets)

    def _fault(self, fault: Fault, octets: bytes) -> ContentFault:
        return ContentFault(fault, self._passed - self._skip + _position(fault, octets))


def _position(fault: Fault, octets: bytes) -> int:
    """Return where in `octets` the first `fault` stands; only called when there is one."""
    for at, octet in enumerate(octets):
        match fault:
            case Fault.BARE_LF if octet == 0x0A and octets[at - 1 : at] != b"\r":
                return at
            case Fault.BARE_CR if octet == 0x0D and octets[at + 1 : at + 2] not in (b"\n", b""):
                return at
            case Fault.NUL if octet == 0:
                return at
            case Fault.EIGHT_BIT if octet >= 0x80:
                return at
    raise AssertionError(fault)


def _undecided(octets: bytes) -> int:
    """Return how many octets at the end could be the beginning of an end of data."""
    for count in (4, 3, 2, 1):
        if octets.endswith(_END[:count]):
            return count
    return 0
