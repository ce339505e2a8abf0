"""Replies: the values that the guard sends, and the strict reader of those that the backend sends.

Contract: a `Reply` that exists can be sent: its code is one a client may get, its text is one line of
printable ASCII, and no octet of it ever comes from a client.  `ReplyReader` yields a backend's reply
whole and unchanged or raises `ReplyFault`; it never guesses where a reply ends (RFC 5321 4.2).
"""

from __future__ import annotations

import re
from typing import Final, Self, final

from .values import Value

_TEXT: Final = re.compile(r"([245][0-5][0-9]) ((?:[245]\.[0-9]{1,3}\.[0-9]{1,3} )?[\x20-\x7e]+)")
REPLY_OCTETS: Final = 512
"""RFC 5321 4.5.3.1.5: the longest reply line, CRLF included."""


@final
class Reply(Value):
    """One reply of the guard's own."""

    __slots__ = ("code", "octets", "text")

    def __init__(self, code: int, text: str) -> None:
        line = f"{code} {text}"
        if _TEXT.fullmatch(line) is None:
            raise ValueError(f"not a reply: {line!r}")
        octets = line.encode("ascii") + b"\r\n"
        if len(octets) > REPLY_OCTETS:
            raise ValueError(f"reply line of {len(octets)} octets, at most {REPLY_OCTETS} are allowed")
        self.code: Final = code
        self.text: Final = text
        """What follows the code and the space, the enhanced status code (RFC 3463) included."""
        self.octets: Final = octets

    def parts(self) -> tuple[object, ...]:
        return self.code, self.text

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read `CODE [ENHANCED] text`; raises ValueError with the reason if a client could not take it."""
        code, _, text = line.partition(" ")
        if not re.fullmatch(r"[0-9]{3}", code):
            raise ValueError("a reply begins with a three-digit code and a space, as in 550 5.7.1 Access denied")
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


@final
class BackendReply(Value):
    """A complete reply of the backend."""

    __slots__ = ("code", "octets")

    def __init__(self, code: int, octets: bytes) -> None:
        self.code: Final = code
        self.octets: Final = octets
        """Every line as received."""

    def parts(self) -> tuple[object, ...]:
        return self.code, self.octets


# 3 digits, then SP, "-" or the line end (RFC 5321 4.2).  A CR inside the text is text: splitting there
# is how one reply becomes two.
_REPLY: Final = re.compile(rb"([2-5][0-9][0-9])(?:-[^\n\0]*\r\n\1)*(?: [^\n\0]*)?\r\n")
_LINE: Final = re.compile(rb"([2-5][0-9][0-9])(?:([ -])[^\n\0]*)?\r\n")
_FAULT_OCTETS: Final = 80
"""How much of a faulty reply is kept for the log."""

_REMEMBERED: Final[dict[bytes, BackendReply]] = {}
"""Replies that came before: most are the same for every session, and need not be read again."""
REMEMBERED_REPLIES: Final = 512
"""A server has some dozens that name nobody; when those that do have filled it, it is begun anew."""
REMEMBERED_OCTETS: Final = 512
"""Of one reply that is remembered, at most; so of all of them, 256 KiB."""


class ReplyReader:
    """Cuts the backend's octets into replies."""

    __slots__ = ("_bound_octets", "_code", "_fresh", "_line_octets", "_octets", "_reply_octets", "_searched", "_start")

    def __init__(self, line_octets: int, reply_octets: int) -> None:
        self._line_octets = line_octets
        self._bound_octets = min(line_octets, reply_octets)  # what is within it needs no further look at the bounds
        self._reply_octets = reply_octets
        self._octets = bytearray()
        self._fresh = b""  # came when nothing else was there, and was not looked at yet
        self._start = 0  # of the line being read, behind the complete lines of the same reply
        self._searched = 0
        self._code = b""

    @property
    def pending(self) -> bool:
        """True if something has come that is no complete reply."""
        return bool(self._octets) or bool(self._fresh)

    @property
    def may_be_421(self) -> bool:
        """True if what is pending can still become a 421, the one reply that may come unasked (RFC 5321 3.8)."""
        self._pour()
        return b"421".startswith(bytes(self._octets[:3]))

    @property
    def sample(self) -> bytes:
        """The beginning of what is pending, for the log."""
        self._pour()
        return bytes(self._octets[:_FAULT_OCTETS])

    def append(self, octets: bytes) -> None:
        if not self._octets and not self._fresh:
            self._fresh = octets
        else:
            self._pour()
            self._octets += octets

    def _pour(self) -> None:
        if self._fresh:
            self._octets += self._fresh
            self._fresh = b""

    def _take_whole(self) -> BackendReply | None:
        """Return the reply that has come in one piece with nothing behind it, as nearly all do."""
        fresh = self._fresh
        if len(fresh) > self._bound_octets:
            return None
        reply = _REMEMBERED.get(fresh)
        if reply is None:
            match = _REPLY.fullmatch(fresh)
            if match is None:
                return None
            reply = BackendReply(int(match.group(1)), fresh)
            if len(fresh) <= REMEMBERED_OCTETS:
                if len(_REMEMBERED) >= REMEMBERED_REPLIES:
                    _REMEMBERED.clear()
                _REMEMBERED[fresh] = reply
        self._fresh = b""
        return reply

    def take(self) -> BackendReply | None:
        """Return the next complete reply, None if there is none yet; raises ReplyFault."""
        if self._fresh:
            whole = self._take_whole()
            if whole is not None:
                return whole
            self._pour()
        elif not self._octets:
            return None
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
