"""aiosmtpd 1.4.6.

Contract: as in server.py.  A command ends at LF and is stripped of CR and LF; one of more than 512
octets is drained and answered.  Content is read up to CRLF, in lines of 1,001 octets at most, and ends
at a line of dot and CRLF.
"""

from __future__ import annotations

import re
from typing import Final

from .session import BASIC, Mode, Session

_LIMIT: Final = 512
_BODY_LIMIT: Final = 1001
_END: Final = re.compile(rb"(?:\A|(?<=\r\n))\.\r\n")


class Aiosmtpd(Session):
    """With SMTPUTF8 and an authenticator."""

    name = "aiosmtpd-1.4.6"
    banner = b"220 mx.test Python SMTP 1.4.6"
    keywords = (b"SIZE 33554432", b"8BITMIME", b"SMTPUTF8", b"AUTH LOGIN PLAIN", b"STARTTLS", b"HELP")
    verbs = {**BASIC, b"AUTH": "auth", b"STARTTLS": "starttls", b"EXPN": "refuse"}
    needs_hello = True

    def __init__(self) -> None:
        super().__init__()
        self.draining = False

    def read_command(self) -> bytes | None:
        line = self.fgets(_LIMIT)
        if line is None:
            return None
        if not line.endswith(b"\n"):
            self.draining = True
            return b""
        if self.draining:
            self.draining = False
            return self.complain(b"500 5.5.2", b"command line too long")
        line = line.rstrip(b"\r\n")
        verb, argument = self.words(line)
        if not verb.isascii():
            return self.complain(b"500 5.5.2", b"strict ASCII mode")
        return self.run(line, verb, argument)

    def words(self, line: bytes) -> tuple[bytes, bytes]:
        verb, _, argument = line.partition(b" ")
        return verb.upper(), argument.strip()

    def data(self, argument: bytes) -> bytes:
        return self.say(b"501 5.5.4", b"Syntax: DATA") if argument else super().data(argument)

    def read_content(self) -> bytes | None:
        return self.content_until(_END)

    def content(self, end: int, rest: int) -> bytes:
        """Refuse a message with a line that is too long."""
        if end > _BODY_LIMIT and any(len(line) + 2 > _BODY_LIMIT for line in self.input[:end].split(b"\r\n")):
            self.take(rest)
            self.mark = 0
            self.mode = Mode.COMMAND
            self.reset()
            return b"500 5.5.2 Line too long (see RFC5321 4.5.3.1.6)\r\n"
        return super().content(end, rest)
