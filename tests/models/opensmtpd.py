"""OpenSMTPD 6.8 and 7.x, whose reading is the same but for the bound of a line.

Contract: as in server.py.  io_getline() ends a line at LF and smtp_session.c cuts one CR off; a NUL
ends the C string, so that a line of content which begins with a dot and a NUL is the dot.  Input behind
a command, or behind the end of data, is pipelining, which it refuses and closes.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from .session import BASIC, Mode, Session

_END: Final = re.compile(rb"(?<![^\n])\.(?:\r?|\x00[^\n]*)\n")
_TOO_LONG: Final = b"500 5.0.0 line too long\r\n"
_PIPELINING: Final = b"500 5.5.1 pipelining not supported\r\n"
_SPACE: Final = b" \t\n\r\x0b\x0c"


class OpenSMTPD(Session):
    """6.8."""

    name = "opensmtpd-6.8"
    profile = "opensmtpd"
    banner = b"220 mx.test ESMTP OpenSMTPD"
    keywords = (
        b"8BITMIME", b"ENHANCEDSTATUSCODES", b"SIZE 36700160", b"DSN", b"STARTTLS", b"AUTH PLAIN LOGIN", b"HELP",
    )  # fmt: skip
    verbs = {
        **{verb: name for verb, name in BASIC.items() if verb != b"VRFY"},
        b"AUTH": "auth",
        b"STARTTLS": "starttls",
    }
    needs_hello = True
    line_limit: ClassVar[int] = 2048

    def read_command(self) -> bytes | None:
        """Take a line, be it a command or an answer to a challenge."""
        line = self.fgets(self.line_limit)
        if line is None:
            return None
        if not line.endswith(b"\n"):
            return self.hang_up(self.complain(b"500 5.0.0", b"line too long"))
        if self.input:
            return self.hang_up(self.complain(b"500 5.5.1", b"pipelining not supported"))
        line = line[: -2 if line.endswith(b"\r\n") else -1]
        return self.sasl(line.partition(b"\0")[0]) if self.mode is Mode.SASL else self.run(line, *self.words(line))

    def read_sasl(self) -> bytes | None:
        return self.read_command()

    def words(self, line: bytes) -> tuple[bytes, bytes]:
        verb, _, argument = line.partition(b"\0")[0].partition(b" ")
        return verb.upper(), argument.lstrip(_SPACE)

    def data(self, argument: bytes) -> bytes:
        return self.say(b"501 5.5.4", b"no parameters allowed") if argument else super().data(argument)

    def read_content(self) -> bytes | None:
        """Go line by line, since a long line closes as well."""
        while stop := self.input.find(b"\n", max(self.mark, self.searched)) + 1:
            if stop - self.mark > self.line_limit:
                return self.hang_up(_TOO_LONG)
            if found := _END.match(self.input, self.mark, stop):
                return self.hang_up(_PIPELINING) if stop < len(self.input) else self.content(self.mark, found.end())
            self.mark = stop
        self.searched = len(self.input)
        return self.hang_up(_TOO_LONG) if self.searched - self.mark > self.line_limit else None


class OpenSMTPD7(OpenSMTPD):
    """7.x."""

    name = "opensmtpd-7.8"
    line_limit = 65535
