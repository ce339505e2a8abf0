"""Replies: the values that the guard sends, and the strict reader of those that the backend sends.

Contract: a `Reply` that exists can be sent: its code is one a client may get, its text is one line of
printable ASCII, and no octet of it ever comes from a client.  `ReplyReader` yields a backend's reply
whole and unchanged or raises `ReplyFault`; it never guesses where a reply ends (RFC 5321 4.2).
"""

from __future__ import annotations

import re
from typing import Final, Self

from attrs import field, frozen

_TEXT: Final = re.compile(r"([245][0-5][0-9]) ((?:[245]\.[0-9]{1,3}\.[0-9]{1,3} )?[\x20-\x7e]+)")
REPLY_OCTETS: Final = 512
"""RFC 5321 4.5.3.1.5: the longest reply line, CRLF included."""


@frozen
class Reply:
    """One reply of the guard's own."""

    code: int
    text: str
    """What follows the code and the space, the enhanced status code (RFC 3463) included."""
    octets: bytes = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        line = f"{self.code} {self.text}"
        if _TEXT.fullmatch(line) is None:
            raise ValueError(f"not a reply: {line!r}")
        octets = line.encode("ascii") + b"\r\n"
        if len(octets) > REPLY_OCTETS:
            raise ValueError(f"reply line of {len(octets)} octets, at most {REPLY_OCTETS} are allowed")
        object.__setattr__(self, "octets", octets)

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read `CODE [ENHANCED] text`; raises ValueError with the reason if a client could not take it."""
        code, _, text = line.partition(" ")
        if not re.fullmatch(r"[0-9]{3}", code):
            raise ValueError("a reply begins with a three-digit code and a space")
        if code[0] not in "245":
            raise ValueError(f"code {code} would leave the client waiting: only 2yz, 4yz and 5yz end a command")
        if not text:
            raise ValueError("a reply needs a text behind its code")
        if not re.fullmatch(r"[\x20-\x7e]+", text):
            raise ValueError("a reply is one line of printable ASCII")
        enhanced = re.match(r"([0-9])\.[0-9]+\.[0-9]+ ", text)
        if enhanced is not None and enhanced.group(1) != code[0]:
            raise ValueError(f"the enhanced status code of a {code} begins with {code[0]} (RFC 2034 4)")
        return cls(int(code), text)

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


class ReplyFault(Exception):
    """The backend sent what is no reply; `octets` is the piece that shows it, for the log."""

    def __init__(self, what: str, octets: bytes) -> None:
        super().__init__(what)
        self.what = what
        self.octets = octets


@frozen
class BackendReply:
    """A complete reply of the backend."""

    code: int
    octets: bytes
    """Every line as received."""


# 3 digits, then SP, "-" or the line end (RFC 5321 4.2).  A CR inside the text is text: splitting there
# is how one reply becomes two.
_LINE: Final = re.compile(rb"([2-5][0-9][0-9])(?:([ -])[^\n\0]*)?\r\n")
_FAULT_OCTETS: Final = 80
"""How much of a faulty reply is kept for the log."""


class ReplyReader:
    """Cuts the backend's octets into replies."""

    __slots__ = ("_code", "_line_octets", "_octets", "_reply_octets", "_searched", "_start")

    def __init__(self, line_octets: int, reply_octets: int) -> None:
        self._line_octets = line_octets
        self._reply_octets = reply_octets
        self._octets = bytearray()
        self._start = 0  # of the line being read, behind the complete lines of the same reply
        self._searched = 0
        self._code = b""

    @property
    def pending(self) -> bool:
        """True if something has come that is no complete reply."""
        return bool(self._octets)

    @property
    def may_be_421(self) -> bool:
        """True if what is pending can still become a 421, the one reply that may come unasked (RFC 5321 3.8)."""
        return b"421".startswith(bytes(self._octets[:3]))

    @property
    def sample(self) -> bytes:
        """The beginning of what is pending, for the log."""
        return bytes(self._octets[:_FAULT_OCTETS])

    def append(self, octets: bytes) -> None:
        self._octets += octets

    def take(self) -> BackendReply | None:
        """Return the next complete reply, None if there is none yet; raises ReplyFault."""
        while True:
            end = self._octets.find(b"\n", self._searched) + 1
            if not end:
                self._searched = len(self._octets)
                self._bound(len(self._octets))
                return None
            self._bound(end)
            line = bytes(self._octets[self._start : end])
            match = _LINE.fullmatch(line)
            if match is None:
                raise ReplyFault("malformed reply", line[:_FAULT_OCTETS])
            code, more = match.groups()
            if self._start and code != self._code:
                raise ReplyFault("reply whose lines have different codes", line[:_FAULT_OCTETS])
            if more == b"-":
                self._code = code
                self._start = self._searched = end
                continue
            reply = BackendReply(int(code), bytes(self._octets[:end]))
            del self._octets[:end]
            self._start = self._searched = 0
            return reply

    def _bound(self, end: int) -> None:
        if end - self._start > self._line_octets:
            raise ReplyFault("reply line too long", self.sample)
        if end > self._reply_octets:
            raise ReplyFault("reply too long", self.sample)
