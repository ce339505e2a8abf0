"""Exim: 4.91, and 4.96 with the patches of late 2023.

Contract: as in server.py.  smtp_read_command() takes octets up to LF, trims white space at the end and
compares with a list in which `mail from:` and `rcpt to:` are one word each; a NUL spoils the line, and a
line that fills the buffer costs one octet and leaves its tail for the next.  Once 4.96 saw the first
line of a message end in CRLF, no bare LF ends anything in it; if that line ended in LF, LF does.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from .chunking import WITH_BDAT, Chunking
from .server import CANARY

_BUFFER: Final = 16384
_SPACE: Final = b" \t\n\r\x0b\x0c"
_LF_END: Final = re.compile(rb"(?<![^\n])\.\r?\n")
_CRLF_END: Final = re.compile(rb"(?:\A|(?<=\r\n))\.\r\n")
_COMMAND: Final = re.compile(
    rb"(?P<verb>MAIL(?= FROM:)|RCPT(?= TO:)|(?:RSET|HELO|EHLO|AUTH|STARTTLS|DATA|BDAT|QUIT|NOOP|ETRN|EXPN|VRFY|HELP)"
    rb"(?![^ ]))",
    re.IGNORECASE,
)
_ANY: Final[frozenset[bytes]] = frozenset()
_BETWEEN_CHUNKS: Final = frozenset((b"BDAT", b"NOOP", b"RSET", b"QUIT"))
_ONLY_RSET: Final = frozenset((b"RSET", b"QUIT"))
_SIZE: Final = re.compile(rb"\s*([+-]?)([0-9]+)\s*(.*)", re.DOTALL)


class Exim(Chunking):
    """4.96.  It minds input behind DATA, but not behind other commands (smtp_enforce_sync is false)."""

    name = "exim-4.96"
    profile = "exim"
    banner = b"220 mx.test ESMTP Exim 4.96"
    keywords = (
        b"SIZE 52428800", b"8BITMIME", b"ETRN", b"EXPN", b"VRFY", b"PIPELINING", b"AUTH PLAIN LOGIN",
        b"CHUNKING", b"STARTTLS", b"SMTPUTF8", b"HELP",
    )  # fmt: skip
    verbs = {
        **WITH_BDAT,
        b"AUTH": "auth",
        b"STARTTLS": "starttls",
        b"EXPN": "expn",
        b"ETRN": "etrn",
    }
    minds_input_behind_data: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.only = _ANY
        self.strict: bool | None = None
        """The first line of the content ended in CRLF; None before it ended."""

    def bounded(self, most: int) -> tuple[bytes, bool] | None:
        """Take a line without its LF, or its first `most` octets and one that is lost."""
        line = self.fgets(most + 1)
        if line is None:
            return None
        return (line[:-1], True) if line.endswith(b"\n") else (line[:-1], False)

    def read_command(self) -> bytes | None:
        taken = self.bounded(_BUFFER)
        if taken is None:
            return None
        line, whole = taken
        if not whole:
            return self.complain(b"500 5.5.1", b"unrecognized command")
        line = line.rstrip(_SPACE)
        if b"\0" in line:
            return self.complain(b"501 5.5.2", b"NUL characters are not allowed")
        return self.run(line, *self.words(line))

    def words(self, line: bytes) -> tuple[bytes, bytes]:
        found = _COMMAND.match(line)
        if found is None:
            return line.partition(b" ")[0].upper(), b""
        return found["verb"].upper(), line[found.end() :].lstrip(_SPACE)

    def dispatch(self, verb: bytes, argument: bytes) -> bytes:
        """Behind a chunk that was not the last, run few commands; after any other, only RSET."""
        if self.only and verb not in self.only:
            self.only = _ONLY_RSET
            return self.say(b"503 5.5.1", b"only BDAT or RSET accepted now")
        return super().dispatch(verb, argument)

    def read_sasl(self) -> bytes | None:
        """auth_get_data() has a buffer of its own, and leaves the tail as well."""
        taken = self.bounded(_BUFFER - 1)
        return None if taken is None else self.sasl(taken[0].rstrip(b"\r"))

    def read_content(self) -> bytes | None:
        if self.strict is None:
            first = self.input.find(b"\n", self.searched)
            if first < 0:
                self.searched = len(self.input)
                return None
            self.strict = first > 0 and self.input[first - 1] == 0x0D
        return self.content_until(_CRLF_END if self.strict else _LF_END)

    def data(self, argument: bytes) -> bytes:
        if argument:
            return self.say(b"501 5.5.4", b"unexpected argument")
        self.strict = None
        if self.minds_input_behind_data and self.input:
            return self.hang_up(self.say(b"554 5.5.0", b"SMTP synchronization error"))
        return super().data(argument)

    def mail(self, argument: bytes) -> bytes:
        return super().mail(argument) if argument[:5].upper() == b"FROM:" else self.unknown()

    def rcpt(self, argument: bytes) -> bytes:
        return super().rcpt(argument) if argument[:3].upper() == b"TO:" else self.unknown()

    def rset(self, argument: bytes) -> bytes:
        return self.say(b"501 5.5.4", b"unexpected argument") if argument else super().rset(argument)

    def quit(self, argument: bytes) -> bytes:
        return self.say(b"501 5.5.4", b"unexpected argument") if argument else super().quit(argument)

    def vrfy(self, argument: bytes) -> bytes:
        if not argument:
            return self.say(b"501 5.5.2", b"argument required")
        if any(octet in argument for octet in (b'"', b" ", b":")):
            return self.say(b"550 5.1.3", b"bad address")
        return self.say(b"250 2.1.5", b"<root@mx.test> deliverable " + CANARY)

    def expn(self, argument: bytes) -> bytes:
        return self.vrfy(argument)

    def etrn(self, argument: bytes) -> bytes:
        return self.say(b"458 4.5.4", b"refused")

    def bdat(self, argument: bytes) -> bytes:
        """Read the size as sscanf("%u") does: modulo 2^32, with a sign; all but LAST is not the last."""
        if self.hello != b"EHLO":
            return self.say(b"503 5.5.1", b"BDAT used when CHUNKING not advertised")
        found = _SIZE.match(argument)
        if found is None:
            return self.say(b"501 5.5.4", b"missing size")
        # What is beyond strtoul() becomes the greatest that it can hold.
        size = min(int(found[2].lstrip(b"0")[:21] or b"0"), (1 << 64) - 1)
        size = (-size if found[1] == b"-" else size) % (1 << 32)
        last = found[3].upper() == b"LAST"
        if self.sender is None or not self.recipients:
            return self.swallow(size, self.say(b"503 5.5.1", b"valid RCPT command must precede BDAT"))
        if self.no_data:
            return self.swallow(size, self.say(b"451 4.3.0", b"no data now"))
        self.only = _ANY if last else _BETWEEN_CHUNKS
        return self.chunk(size, last=last)

    def reset(self) -> None:
        super().reset()
        self.only = _ANY


class Exim491(Exim):
    """4.91: any LF is the end of a line of content."""

    name = "exim-4.91"
    banner = b"220 mx.test ESMTP Exim 4.91"
    minds_input_behind_data = False

    def read_content(self) -> bytes | None:
        return self.content_until(_LF_END)
