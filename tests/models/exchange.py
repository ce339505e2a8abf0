"""Microsoft Exchange, as far as documents tell.

Contract: as in server.py.  CRLF alone ends a line, a command or the content; other octets are data.
BDAT has the grammar of RFC 3030 and its octets are counted whatever the answer.  Of the verbs
that its servers use among themselves, XEXCH50 is followed by counted octets, and X-EXPS is an AUTH.
"""

from __future__ import annotations

import re
from typing import Final

from .chunking import WITH_BDAT, Chunking
from .server import CANARY

_LIMIT: Final = 12288
_END: Final = re.compile(rb"(?:\A|(?<=\r\n))\.\r\n")
_SIZE: Final = re.compile(rb"([0-9]{1,9})(?: (LAST))?", re.IGNORECASE)
_XEXCH50: Final = re.compile(rb"([0-9]{1,9}) [0-9]+")


class Exchange(Chunking):
    """A hub that takes the guard for one of its kind."""

    name = "exchange"
    profile = "exchange"
    banner = b"220 mx.test Microsoft ESMTP MAIL Service ready"
    keywords = (
        b"SIZE 37748736", b"PIPELINING", b"DSN", b"ENHANCEDSTATUSCODES", b"STARTTLS", b"X-ANONYMOUSTLS",
        b"AUTH PLAIN LOGIN", b"X-EXPS GSSAPI NTLM", b"8BITMIME", b"BINARYMIME", b"CHUNKING", b"SMTPUTF8", b"XEXCH50",
        b"XRDST", b"XSHADOW",
    )  # fmt: skip
    verbs = {
        **WITH_BDAT,
        b"AUTH": "auth",
        b"X-EXPS": "auth",
        b"STARTTLS": "starttls",
        b"X-ANONYMOUSTLS": "starttls",
        b"EXPN": "disclose",
        b"ETRN": "disclose",
        b"XEXCH50": "xexch50",
        b"X-LINK2STATE": "disclose",
        b"XPROXY": "disclose",
        b"XPROXYFROM": "disclose",
        b"XPROXYTO": "disclose",
        b"XSHADOW": "disclose",
        b"TURN": "refuse",
    }
    needs_hello = True

    def line(self) -> bytes | None:
        """Take a line without its CRLF, or what there is of a too long one."""
        end = self.input.find(b"\r\n", max(0, self.searched - 1))
        if end < 0:
            self.searched = len(self.input)
            return self.take(self.searched) if self.searched > _LIMIT + 2 else None
        return self.take(end + 2)[:-2]

    def read_command(self) -> bytes | None:
        line = self.line()
        if line is None:
            return None
        if len(line) > _LIMIT:
            return self.hang_up(self.complain(b"500 5.5.1", b"line too long"))
        return self.run(line, *self.words(line))

    def words(self, line: bytes) -> tuple[bytes, bytes]:
        verb, _, argument = line.partition(b" ")
        return verb.upper(), argument.strip(b" ")

    def read_sasl(self) -> bytes | None:
        line = self.line()
        if line is None:
            return None
        if len(line) > _LIMIT:
            return self.hang_up(b"500 5.5.1 Line too long\r\n")
        return self.sasl(line)

    def read_content(self) -> bytes | None:
        return self.content_until(_END)

    def data(self, argument: bytes) -> bytes:
        return self.say(b"501 5.5.4", b"invalid arguments") if argument else super().data(argument)

    def xexch50(self, argument: bytes) -> bytes:
        """Ask for the octets of which the client told the size."""
        found = _XEXCH50.fullmatch(argument)
        if found is None:
            return self.say(b"501 5.5.4", b"invalid arguments")
        self.swallow(int(found[1]), b"250 2.0.0 XEXCH50 %b\r\n" % CANARY)
        return self.say(b"354", b"send binary data " + CANARY)

    def bdat(self, argument: bytes) -> bytes:
        found = _SIZE.fullmatch(argument)
        if found is None:
            return self.hang_up(self.say(b"501 5.5.4", b"invalid arguments"))
        size = int(found[1])
        if self.sender is None or not self.recipients:
            return self.swallow(size, self.say(b"503 5.5.1", b"need RCPT"))
        if self.no_data:
            return self.swallow(size, self.say(b"451 4.3.0", b"no data now"))
        return self.chunk(size, last=found[2] is not None)
