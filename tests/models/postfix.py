"""Postfix: 2.8, 3.7, and one from 3.9 on that holds the client to the standard.

Contract: as in server.py.  smtp_get() ends a line at LF and drops every CR in front of it; a line of
more than line_length_limit octets is cut, and its tail dropped since 2.9.  smtpd_token breaks words at
isspace().  A dot is an end of data wherever it stands alone on a line; 3.9 wants CRLF on both sides
(smtpd_forbid_bare_newline = normalize) and nothing behind a command whose reply has to be awaited
(smtpd_forbid_unauth_pipelining).
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from .chunking import WITH_BDAT, Chunking
from .server import CANARY

_LIMIT: Final = 2048
_WORDS: Final = re.compile(rb"\s*(\S*)\s*(.*)", re.DOTALL)
_HEADER: Final = re.compile(rb"[!-9;-~]+:")
_END: Final = re.compile(rb"(?<![^\n])\.\r*\n")
_STRICT_END: Final = re.compile(rb"(?:\A|(?<=\r\n))\.\r\n")
_SIZE: Final = re.compile(rb"([0-9]{1,18})(?:\s+(LAST))?", re.IGNORECASE)
_FORBIDDEN: Final = frozenset((b"CONNECT", b"GET", b"POST"))
_BEFORE_CHUNKING: Final = {
    **{verb: name for verb, name in WITH_BDAT.items() if verb not in (b"BDAT", b"HELP")},
    b"AUTH": "auth",
    b"STARTTLS": "starttls",
    b"ETRN": "etrn",
    b"XCLIENT": "xclient",
    b"XFORWARD": "disclose",
}


class Postfix(Chunking):
    """3.7, which takes every client for one of $mynetworks, and the guard for a host that may use XCLIENT."""

    name = "postfix-3.7"
    profile = "postfix"
    banner = b"220 mx.test ESMTP Postfix"
    keywords: ClassVar[tuple[bytes, ...]] = (
        b"PIPELINING", b"SIZE 10240000", b"ETRN", b"STARTTLS", b"AUTH PLAIN LOGIN", b"ENHANCEDSTATUSCODES",
        b"8BITMIME", b"DSN", b"SMTPUTF8", b"CHUNKING",
    )  # fmt: skip
    verbs = {**_BEFORE_CHUNKING, b"BDAT": "bdat"}
    drops_tail: ClassVar[bool] = True
    sasl_limit: ClassVar[int] = 12288
    """smtpd_sasl_response_limit."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = b""
        """The head of a line whose tail is being dropped."""

    def line(self, limit: int = _LIMIT) -> bytes | None:
        """Take a line as smtp_get() hands it out: without LF and any CR in front of it."""
        if not self.cut:
            line = self.fgets(limit)
            if line is None:
                return None
            if line.endswith(b"\n"):
                return line[:-1].rstrip(b"\r")
            if not self.drops_tail:
                return line
            self.cut = line
        return self.rest_of_cut()

    def rest_of_cut(self) -> bytes | None:
        """Drop what comes up to the LF, and return the head."""
        end = self.input.find(b"\n") + 1
        self.take(end or len(self.input))
        if not end:
            return None
        line, self.cut = self.cut, b""
        return line

    def read_command(self) -> bytes | None:
        line = self.line()
        if line is None:
            return None
        if not line.isascii():
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return self.complain(b"500 5.5.2", b"bad UTF-8 syntax")
        return self.run(line, *self.words(line))

    def words(self, line: bytes) -> tuple[bytes, bytes]:
        found = _WORDS.match(line.partition(b"\0")[0])
        assert found is not None
        return found[1].upper(), found[2].rstrip()

    def read_sasl(self) -> bytes | None:
        line = self.line(self.sasl_limit)
        return None if line is None else self.sasl(line)

    def read_content(self) -> bytes | None:
        return self.content_until(_END)

    def unknown(self) -> bytes:
        """Turn a web browser away, by its verb or by something that looks like a header."""
        if self.verb in _FORBIDDEN or _HEADER.match(self.verb):
            return self.hang_up(self.say(b"221 2.7.0", b"Error: I can break rules, too"))
        return self.say(b"502 5.5.2", b"command not recognized")

    def data(self, argument: bytes) -> bytes:
        return self.say(b"501 5.5.4", b"Syntax: DATA") if argument else super().data(argument)

    def etrn(self, argument: bytes) -> bytes:
        return self.say(b"250 2.0.0", b"queuing started " + CANARY)

    def xclient(self, argument: bytes) -> bytes:
        """Believe the attributes, and begin anew."""
        self.reset()
        self.hello = b""
        return self.say(b"220 2.0.0", CANARY)

    def bdat(self, argument: bytes) -> bytes:
        """Take a chunk at any time; of one that has no place the octets are dropped (skip_bdat)."""
        found = _SIZE.fullmatch(argument)
        if found is None:
            return self.hang_up(self.say(b"521 5.5.4", b"Syntax: BDAT count [LAST]"))
        size = int(found[1])
        if self.sender is None:
            return self.swallow(size, self.say(b"503 5.5.1", b"need MAIL"))
        if not self.recipients:
            return self.swallow(size, self.say(b"554 5.5.1", b"no valid recipients"))
        if self.no_data:
            return self.swallow(size, self.say(b"451 4.3.0", b"no data now"))
        if not size and found[2] is None:
            return self.say(b"551 5.7.1", b"zero length chunk")
        return self.chunk(size, last=found[2] is not None)


class Postfix28(Postfix):
    """2.8: the tail of a cut line is the next command, and there is no BDAT."""

    name = "postfix-2.8"
    profile = "default"  # profile `postfix` is for 3.4 and later
    keywords = tuple(word for word in Postfix.keywords if word not in (b"CHUNKING", b"SMTPUTF8"))
    verbs = _BEFORE_CHUNKING
    drops_tail = False
    sasl_limit = _LIMIT

    def read_command(self) -> bytes | None:
        line = self.line()
        return None if line is None else self.run(line, *self.words(line))


_ALONE: Final = frozenset((b"HELO", b"EHLO", b"DATA", b"AUTH", b"STARTTLS"))


class Postfix39(Postfix):
    """3.9, for a client that is not in $mynetworks."""

    name = "postfix-3.9"

    def dispatch(self, verb: bytes, argument: bytes) -> bytes:
        if self.input and (verb in _ALONE or self.hello != b"EHLO"):
            return self.hang_up(self.say(b"554 5.5.0", b"SMTP protocol synchronization"))
        return super().dispatch(verb, argument)

    def read_content(self) -> bytes | None:
        return self.content_until(_STRICT_END)
