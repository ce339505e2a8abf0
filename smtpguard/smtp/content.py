"""Message content on its way through: where it ends, and what must not be in it.

Contract: `Content.feed` returns the octets that may go to the backend now, and once the end of data
has come, what the client sent behind it.  End of data is CRLF.CRLF and nothing else (RFC 5321
4.1.1.4).  Bare CR, bare LF and NUL raise `ContentFault`, since servers disagree on whether they end
a line, and so on whether a dot behind them ends the message.  So does an octet above 0x7f where the
backend was told that the message is 7-bit, since some servers then drop the eighth bit and see
another octet; and a line over `line`, where the backend takes the rest for the next line.  The piece
in which the fault stands is never forwarded.

With `normalize`, and only then, a bare LF goes on as CRLF.  It still ends nothing: a dot behind it is
stuffed, and so is a dot that fills a line whose end is a bare LF.

What could yet become an end of data is held back, so that the backend never holds `CRLF .` from a
client that then goes away: a server that reads it at end of file may take it for the end.
"""

from __future__ import annotations

import re
from typing import Final

from .grammar import Fault
from .survey import BARE_CR, BARE_LF, DOT, EIGHT_BIT, FLAGS, NUL, survey

_END: Final = b"\r\n.\r\n"
_HELD: Final = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")
"""What the end of a piece could be the beginning of an end of data with, longest first."""
_HELD_NORMALIZING: Final = (b"\r\n.\n", *_HELD[:3], b"\n", b"\r")
"""Likewise, and what a dot that comes next, or the line end behind a dot, would change."""
_FAULTS: Final = {
    Fault.BARE_CR: re.compile(rb"\r(?!\n)"),
    Fault.BARE_LF: re.compile(rb"(?<!\r)\n"),
    Fault.NUL: re.compile(rb"\0"),
    Fault.EIGHT_BIT: re.compile(rb"[\x80-\xff]"),
}
# A bare LF with a dot behind it, or a dot between CRLF and a bare LF.
_TO_MEND: Final = re.compile(rb"(?<!\r)\n(\.?)|(?<=\r\n)\.(?=\n)")


class ContentFault(Exception):
    """An octet in the content that servers read differently."""

    def __init__(self, fault: Fault, position: int, line: int) -> None:
        super().__init__(fault.value)
        self.fault = fault
        self.position = position
        """Counted from the first octet of the message, 0-based."""
        self.line = line
        """The line of the message, counted from 1."""


class Content:
    """The content of one message (RFC 5321 3.3: from the 354 to the end of data).

    `line` is the longest line that may pass, its end included, or None.
    """

    __slots__ = ("_held", "_holds", "_line", "_lines", "_never", "_normalize", "_passed", "_seven_bit", "_skip",
                 "_width", "bare", "ended")  # fmt: skip

    def __init__(self, *, seven_bit: bool, line: int | None = None, normalize: bool = False) -> None:
        self._seven_bit = seven_bit
        self._line = line
        self._normalize = normalize
        self._never = BARE_CR | NUL | (0 if normalize else BARE_LF) | (EIGHT_BIT if seven_bit else 0)
        self._holds = _HELD_NORMALIZING if normalize else _HELD
        # The line end of the DATA command counts as the first one: a message may be empty.  It is
        # put in front of the first octets and not passed on.
        self._held = b"\r\n"
        self._skip = 2
        self._passed = 0  # octets of the client's, behind the first line end
        self._lines = 0  # line ends of the client's, the first one included
        self._width = 0  # octets passed behind the last of them
        self.bare: tuple[int, int] | None = None
        """Position and line of the first bare LF that was replaced."""
        self.ended = False

    def feed(self, octets: bytes) -> tuple[bytes, bytes]:
        """Return (octets to forward, octets behind the end of data); raises ContentFault."""
        if self._skip and len(self._held) == self._skip and octets and not octets.startswith(b"."):
            # The line end in front of the message changes nothing then, and need not be put there.
            self._held = b""
            self._skip = 0
            self._lines = 1
        if self._held:
            octets = self._held + octets
        seen = survey(octets)
        end = octets.find(_END) if seen & DOT else -1
        rest = b""
        if end >= 0:
            end += len(_END)
            if end < len(octets):
                rest = octets[end:]
                octets = octets[:end]
                seen = survey(octets)
            self.ended = True
            self._held = b""
        self._check(octets, seen)
        newlines = seen >> FLAGS
        if not self.ended:
            keep = self._to_hold(octets)
            self._held = keep
            if keep:
                octets = octets[: -len(keep)]
                newlines -= keep.count(b"\n")
        if not octets:
            return b"", rest
        ready = self._mend(octets) if self._normalize else octets
        skip, self._skip = self._skip, 0
        self._passed += len(octets) - skip
        self._lines += newlines
        if self._line is not None:
            last = ready.rfind(b"\n")
            self._width = len(ready) - last - 1 if last >= 0 else self._width + len(ready)
        return ready[skip:], rest

    def _to_hold(self, octets: bytes) -> bytes:
        """Return the end of `octets` that may be the beginning of an end of data."""
        if not octets.endswith((b"\r", b"\n", b".")):
            return b""
        for held in self._holds:
            if octets.endswith(held):
                return held
        return b""

    def _check(self, octets: bytes, seen: int) -> None:
        """Raise ContentFault if there is one in `octets`, which were surveyed."""
        if seen & self._never or (self._line is not None and self._too_wide(octets) is not None):
            raise self._first_fault(octets)

    def _first_fault(self, octets: bytes) -> ContentFault:
        """Return the fault that stands first, which is the same however the octets were cut."""
        # The CR of a line end that is not there yet is in no pattern's way: `octets` ends with it.
        found = [
            (match.start(), fault)
            for fault, pattern in _FAULTS.items()
            if (match := pattern.search(octets, 0, len(octets) - octets.endswith(b"\r"))) is not None
            and (fault is not Fault.BARE_LF or not self._normalize)
            and (fault is not Fault.EIGHT_BIT or self._seven_bit)
        ]
        wide = None if self._line is None else self._too_wide(octets)
        if wide is not None:
            found.append((wide, Fault.TOO_LONG))
        at, fault = min(found, key=lambda pair: pair[0])
        return self._fault(fault, at, octets)

    def _too_wide(self, octets: bytes) -> int | None:
        """Return where the first line goes over its bound, None if none does."""
        assert self._line is not None
        widest = self._line - 2
        start = -self._width
        bare = False  # the line before ended in a bare LF
        for piece in octets.split(b"\n"):
            end = max(start, 0) + len(piece)
            start -= bare and piece.startswith(b".")  # it will get a dot in front
            if end - start - piece.endswith(b"\r") > widest:
                return start + widest
            start = end + 1
            bare = self._normalize and not piece.endswith(b"\r")
        return None

    def _mend(self, octets: bytes) -> bytes:
        def mend(match: re.Match[bytes]) -> bytes:
            dot = match.group(1)
            if dot is None:
                return b".."
            if self.bare is None and match.start() >= self._skip:
                fault = self._fault(Fault.BARE_LF, match.start(), octets)
                self.bare = fault.position, fault.line
            return b"\r\n.." if dot else b"\r\n"

        return _TO_MEND.sub(mend, octets)

    def _fault(self, fault: Fault, at: int, octets: bytes) -> ContentFault:
        """Return the fault that stands at `at` in `octets`."""
        line = self._lines + octets.count(b"\n", 0, max(at, 0))
        return ContentFault(fault, self._passed - self._skip + at, line)
