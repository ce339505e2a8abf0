"""qmail-smtpd of netqmail and notqmail.

Contract: as in server.py.  commands() ends a line at LF, cuts one CR off and breaks at the first SP; a
NUL ends the C string, and a line is as long as the client likes.  blast() wants CRLF, forgives more CR
in front of LF, and breaks off with 451 at any other LF.
"""

from __future__ import annotations

import re
from typing import Final

from .session import BASIC, Session

_END_OR_STRAY: Final = re.compile(rb"(?P<end>(?:\A|(?<=\r\n))\.\r\n)|(?<!\r)\n")


class Qmail(Session):
    """notqmail 1.09."""

    name = "notqmail-1.09"
    profile = "qmail"
    banner = b"220 mx.test ESMTP"
    keywords = (b"PIPELINING", b"8BITMIME")
    verbs = BASIC

    def read_command(self) -> bytes | None:
        line = self.through_lf()
        if line is None:
            return None
        line = line[: -2 if line.endswith(b"\r\n") else -1]
        return self.run(line, *self.words(line))

    def words(self, line: bytes) -> tuple[bytes, bytes]:
        verb, _, argument = line.partition(b"\0")[0].partition(b" ")
        return verb.upper(), argument.lstrip(b" ")

    def unknown(self) -> bytes:
        return self.say(b"502", b"unimplemented (#5.5.1)")

    def helo(self, argument: bytes) -> bytes:
        return super().helo(argument or b"unknown")

    def ehlo(self, argument: bytes) -> bytes:
        return super().ehlo(argument or b"unknown")

    def mail(self, argument: bytes) -> bytes:
        """Begin anew, whatever was before."""
        self.reset()
        return super().mail(argument)

    def vrfy(self, argument: bytes) -> bytes:
        return super().vrfy(argument or b"?")

    def read_content(self) -> bytes | None:
        found = self.search_content(_END_OR_STRAY)
        if found is None:
            return None
        if found["end"] is None:
            return self.hang_up(b"451 See http://pobox.com/~djb/docs/smtplf.html.\r\n")
        return self.content(found.start(), found.end())
