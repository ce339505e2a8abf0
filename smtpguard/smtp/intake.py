"""What the client sent and the dialogue has not read yet, and how it becomes lines.

Contract: `Intake` holds the octets, gives out one line at a time, and says what is wrong with it and
where.  It has no opinion about what follows the first line: what a line means depends on replies
that may not have come yet.  Octets are searched once, so input that comes octet by octet costs no
more than input that comes whole.  The only octets that are ever changed are bare line feeds, where
the terms say so.
"""

from __future__ import annotations

from typing import Final

from .grammar import Command, Fault, Malformed, malformed_partial, parse, parse_sasl, well_formed
from .invariants import is_other_protocol
from .terms import BareNewline, Terms

SAMPLE_OCTETS: Final = 256
"""How much of a refused line that is not complete goes to the log."""
_TLS_RECORD: Final = (0x16, 0x80)
"""First octets of a TLS ClientHello (RFC 8446 5.1) and of an SSLv2 one."""


class Intake:
    """Input waiting for its turn."""

    __slots__ = (
        "_auth_bound", "_fresh", "_line_bound", "_normalize", "_octets", "_response_bound", "_searched", "bare",
        "lines",
    )  # fmt: skip

    def __init__(self, terms: Terms) -> None:
        self._octets = bytearray()
        self._fresh = b""  # came when nothing else was there, and was not looked at yet
        self._searched = 0
        self._normalize = terms.bare_newline is BareNewline.NORMALIZE
        self._line_bound = terms.profile.line
        self._auth_bound = max(terms.profile.auth, terms.profile.line)
        self._response_bound = terms.profile.response
        self.lines = 0
        """Lines read so far, those of SASL exchanges too."""
        self.bare = False
        """The last line read ended in a bare LF, which was replaced."""

    def __len__(self) -> int:
        return len(self._fresh) + len(self._octets)

    def append(self, octets: bytes) -> None:
        if not self._octets and not self._fresh:
            self._fresh = octets
        else:
            self._pour()
            self._octets += octets

    def drop(self) -> None:
        """Let go of everything: nothing is read any more, and a session that has ended may wait for the collector."""
        self._octets = bytearray()
        self._fresh = b""
        self._searched = 0

    def _pour(self) -> None:
        """Put what was not looked at into the buffer, where it is searched octet by octet."""
        if self._fresh:
            self._octets += self._fresh
            self._fresh = b""

    def take_command(self) -> Command | Malformed | None:
        """Read the first line; None if it is not complete.

        Of a line that is refused before it is complete, or whose end is in doubt, the octets stay:
        the session ends there.
        """
        if self._fresh:
            # What most clients send, one line and no more, needs no buffer.
            command = well_formed(self._fresh) if len(self._fresh) <= self._line_bound else None
            if command is not None:
                self._fresh = b""
                self.lines += 1
                self.bare = False
                return self._unless_other_protocol(command)
            self._pour()
        elif not self._octets:
            return None
        line = self._take_line(self._line_bound)
        if line is None:
            return None
        return self._unless_other_protocol(line if isinstance(line, Malformed) else parse(line))

    def take_response(self) -> bytes | Malformed | None:
        """Read a line of a SASL exchange; None if it is not complete.

        It may be a password: no octet of it is in what is returned about a fault.
        """
        line = self._take_line(self._response_bound)
        if isinstance(line, bytes):
            line = parse_sasl(line) or line
        return Malformed(b"", line.fault, line.octet) if isinstance(line, Malformed) else line

    def take(self, count: int) -> bytes:
        """Return at most `count` octets from the head, whatever they are."""
        self._pour()
        octets = bytes(self._octets[:count])
        del self._octets[:count]
        self._searched = 0
        return octets

    def take_all(self) -> bytes:
        return self.take(len(self))

    def _take_line(self, bound: int) -> bytes | Malformed | None:
        self._pour()
        end = self._octets.find(b"\n", self._searched) + 1
        if (end or len(self._octets)) > bound - (not end):
            # The bound is enforced before the LF has arrived.
            bound = self._bound(bound, self._octets)
            if (end or len(self._octets)) > bound - (not end):
                early = malformed_partial(self._octets[: bound - 1], self._searched)
                return self._fault(*(early or (Fault.TOO_LONG, bound)))
        if not end:
            fault = malformed_partial(self._octets, self._searched)
            self._searched = len(self._octets)
            return None if fault is None else self._fault(*fault)
        line = self.take(end)
        self.lines += 1
        self.bare = self._normalize and not line.endswith(b"\r\n")
        if self.bare:
            line = line[:-1] + b"\r\n"
            bound = self._bound(bound, line)
            if len(line) > bound:
                return Malformed(line[:SAMPLE_OCTETS], Fault.TOO_LONG, bound)
        return line

    def _bound(self, bound: int, line: bytes | bytearray) -> int:
        """Return the bound of a line: an AUTH may have one of its own."""
        is_auth = bound == self._line_bound and line[:5].upper() == b"AUTH "
        return self._auth_bound if is_auth else bound

    def _fault(self, fault: Fault, octet: int) -> Malformed:
        self.lines += 1
        return Malformed(bytes(self._octets[:SAMPLE_OCTETS]), fault, octet)

    def _unless_other_protocol(self, parsed: Command | Malformed) -> Command | Malformed:
        if self.lines == 1 and self._is_other_protocol(parsed):
            return Malformed(parsed.line, Fault.OTHER_PROTOCOL)
        return parsed

    def _is_other_protocol(self, parsed: Command | Malformed) -> bool:
        if isinstance(parsed, Malformed) and parsed.octet == 1 and parsed.line[0] in _TLS_RECORD:
            return True
        return is_other_protocol(parsed)
