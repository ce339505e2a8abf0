"""Haraka 3.1.

Contract: as in server.py.  process_data() cuts at LF; a command of more than 512 octets ends the
session.  The line is decoded before the verb is folded, and a pattern that stops at CR takes it apart.
accumulate_data() takes a line of dot and CRLF for the end of data; at dot and LF it answers 451 and is
back in command mode.
"""

from __future__ import annotations

import re
from typing import Final

from .server import CANARY
from .session import BASIC, Mode, Session

_LIMIT: Final = 512
_WORDS: Final = re.compile(r"([^ ]*)(?: +([^\r\n\u2028\u2029]*))?")
_DOT: Final = re.compile(rb"(?<![^\n])\.\r?\n")


class Haraka(Session):
    """With the plugins for AUTH, STARTTLS and XCLIENT."""

    name = "haraka-3.1"
    banner = b"220 mx.test ESMTP Haraka ready"
    keywords = (b"PIPELINING", b"8BITMIME", b"SMTPUTF8", b"SIZE 0", b"STARTTLS", b"AUTH PLAIN LOGIN")
    verbs = {
        **BASIC,
        b"AUTH": "auth",
        b"STARTTLS": "starttls",
        b"XCLIENT": "xclient",
        b"INTERNALCMD": "disclose",
    }
    needs_hello = True

    def read_command(self) -> bytes | None:
        line = self.fgets(_LIMIT)
        if line is None:
            return None
        if not line.endswith(b"\n"):
            return self.hang_up(self.complain(b"521", b"command line too long"))
        line = line[: -2 if line.endswith(b"\r\n") else -1]
        return self.run(line, *self.words(line))

    def words(self, line: bytes) -> tuple[bytes, bytes]:
        found = _WORDS.fullmatch(line.decode("utf-8", "replace"))
        if found is None:
            return line.upper(), b""
        folded = found[1].lower()
        return (folded.upper() if folded.isascii() else folded).encode(), (found[2] or "").encode()

    def helo(self, argument: bytes) -> bytes:
        return super().helo(argument) if argument.isascii() else self.say(b"501 5.0.0", b"bad host name")

    def ehlo(self, argument: bytes) -> bytes:
        return super().ehlo(argument) if argument.isascii() else self.say(b"501 5.0.0", b"bad host name")

    def xclient(self, argument: bytes) -> bytes:
        self.reset()
        self.hello = b""
        return self.say(b"220 2.0.0", CANARY)

    def read_content(self) -> bytes | None:
        found = self.search_content(_DOT)
        if found is None:
            return None
        if found.group() == b".\r\n":
            return self.content(found.start(), found.end())
        self.take(found.end())
        self.mark = 0
        self.mode = Mode.COMMAND
        self.reset()
        return b"451 Bare linefeed; see http://haraka.github.io/barelf\r\n"
