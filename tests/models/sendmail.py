"""Sendmail, from the BSD 4.2 one to 8.17.

Contract: as in server.py.  What all have in common is fgets(): a line ends at LF, and what does not fit
in the buffer is the next line.  srvrsmtp.c breaks the verb off at isspace(), in front of it and behind
it; a NUL ends the C string; at the end of the connection a partial line is executed.

Before 8.8 or so content is read line by line into a buffer, in which eight-bit octets lost their high
bit; later a state machine reads octets.  8.17 here has the patches of late 2023 and SASL; 8.12 and
8.15 are built without SASL, so that the test for too long commands is not in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Final

from .server import CANARY
from .session import BASIC, Mode, Session

_WORDS: Final = re.compile(rb"\s*(\S*)\s*(.*)", re.DOTALL)
_SEVEN_BITS: Final = bytes(octet & 0x7F for octet in range(256))
_EITHER_END: Final = re.compile(rb"(?<![^\n])\.\r?\n")
_C_DOT: Final = re.compile(rb"\.(?:\r?\n|\x00)")
_STRICT_END: Final = re.compile(rb"(?P<end>(?:\A|(?<=\r\n))\.\r\n)|(?<!\r)\n|\r[^\n]")
_CR_OR_LF: Final = re.compile(rb"[\r\n]")
_NOT_SMTP: Final = frozenset((b"GET", b"POST", b"CONNECT", b"USER"))
_OLD: Final = {
    **BASIC,
    b"EXPN": "expn",
    b"VERB": "verbose",
    b"ONEX": "disclose",
    b"SEND": "mail",
    b"SOML": "mail",
    b"SAML": "mail",
    b"DEBUG": "debug",
    b"SHOWQ": "showq",
    b"WIZ": "disclose",
    b"KILL": "disclose",
}
_ESMTP: Final = {
    **BASIC,
    b"EXPN": "expn",
    b"VERB": "verbose",
    b"ONEX": "disclose",
    b"XUSR": "disclose",
    b"ETRN": "etrn",
    b"SEND": "refuse",
    b"SOML": "refuse",
    b"SAML": "refuse",
    b"TURN": "refuse",
}


class Sendmail(Session):
    """What all of them do."""

    profile = "sendmail"
    line_buffer: ClassVar[int] = 2047
    """MAXLINE - 1: fgets() keeps one octet for the NUL."""

    def __init__(self) -> None:
        super().__init__()
        self.verbosely = False

    def read_command(self) -> bytes | None:
        line = self.fgets(self.line_buffer)
        return None if line is None else self.command(line)

    def command(self, line: bytes) -> bytes:
        """Run a line that still has its end."""
        if line.endswith(b"\n"):
            line = line[: -2 if line.endswith(b"\r\n") else -1]
        return self.run(line, *self.words(line))

    def words(self, line: bytes) -> tuple[bytes, bytes]:
        found = _WORDS.match(line.partition(b"\0")[0])
        assert found is not None
        return found[1].upper(), found[2].rstrip()

    def finish(self) -> None:
        """Execute the partial line, which fgets() hands out at the end of the file."""
        if self.input and not self.closed and self.mode is Mode.COMMAND:
            self.command(self.take(len(self.input)))
        super().finish()

    def cancels(self, line: bytes) -> bool:
        return line.partition(b"\0")[0] == b"*"

    def vrfy(self, argument: bytes) -> bytes:
        if not argument:
            return self.say(b"501 5.5.2", b"argument required")
        if len(argument.split()) > 1:
            return self.say(b"553 5.1.3", b"user address required")
        return self.say(b"250 2.1.5", b"<root@mx.test> " + CANARY)

    def expn(self, argument: bytes) -> bytes:
        if not argument:
            return self.say(b"501 5.5.2", b"argument required")
        return self.say(b"250-2.1.5", b"<a@mx.test> " + CANARY) + b"250 2.1.5 <b@mx.test>\r\n"

    def etrn(self, argument: bytes) -> bytes:
        if argument.startswith(b"#"):
            return self.say(b"459 4.5.4", b"queue unknown")
        return self.say(b"250 2.0.0", b"queuing started " + CANARY)

    def verbose(self, argument: bytes) -> bytes:
        self.verbosely = True
        return self.say(b"250 2.0.0", b"verbose mode " + CANARY)

    def content(self, end: int, rest: int) -> bytes:
        """In verbose mode the delivery is told in front of the reply, under a code of its own."""
        reply = super().content(end, rest)
        return b"050 <root>... Connecting to local %b\r\n%b" % (CANARY, reply) if self.verbosely else reply


class LineSendmail(Sendmail):
    """Collects content line by line (collect.c before the state machine)."""

    profile = "sendmail-legacy"
    body_buffer: ClassVar[int]
    """Octets of content that one fgets() takes; the tail of a longer line is a line of its own."""

    def read_content(self) -> bytes | None:
        """End at a buffer that holds a dot and the end of the C string: a NUL, or the end of the line."""
        masked = self.input[self.mark :].translate(_SEVEN_BITS)
        start = 0
        while True:
            stop = masked.find(b"\n", start, start + self.body_buffer) + 1
            if not stop:
                if len(masked) - start < self.body_buffer:
                    break
                stop = start + self.body_buffer
            if _C_DOT.match(masked, start, stop):
                return self.content(self.mark + start, self.mark + stop)
            start = stop
        self.mark += start
        return None


class Sendmail4(LineSendmail):
    """4.x, 1983."""

    name = "sendmail-4.x"
    banner = b"220 mx.test Sendmail 4.12/4.7 ready"
    line_buffer = 255
    body_buffer = 2499
    verbs: ClassVar[Mapping[bytes, str]] = {verb: name for verb, name in _OLD.items() if verb != b"EHLO"}

    def debug(self, argument: bytes) -> bytes:
        return self.say(b"200", b"Debug set " + CANARY)

    def showq(self, argument: bytes) -> bytes:
        """Print the queue; it has no reply code."""
        return b"\t\tMail Queue (1 request) %b\r\n" % CANARY


class Sendmail5(Sendmail4):
    """5.6x, 1988."""

    name = "sendmail-5.6x"
    banner = b"220 mx.test Sendmail 5.61/1.34 ready"
    line_buffer = 1023


class Sendmail86(LineSendmail):
    """8.6, 1993 to 1995."""

    name = "sendmail-8.6"
    banner = b"220 mx.test ESMTP Sendmail 8.6.12/8.6.12 ready"
    keywords = (b"EXPN", b"SIZE", b"HELP")
    body_buffer = 2047
    verbs = {verb: name for verb, name in _OLD.items() if verb not in (b"DEBUG", b"SHOWQ", b"WIZ", b"KILL")}


class StateSendmail(Sendmail):
    """Collects content octet by octet: a bare LF ends a line, one CR in front of LF belongs to it."""

    keywords: ClassVar[tuple[bytes, ...]] = (
        b"ENHANCEDSTATUSCODES", b"PIPELINING", b"EXPN", b"VERB", b"8BITMIME", b"SIZE", b"DSN", b"ETRN", b"HELP",
    )  # fmt: skip
    verbs = _ESMTP

    def read_content(self) -> bytes | None:
        return self.content_until(_EITHER_END)


class Sendmail812(StateSendmail):
    """8.12, built without SASL."""

    name = "sendmail-8.12"
    banner = b"220 mx.test ESMTP Sendmail 8.12.11/8.12.11"


class Sendmail815(StateSendmail):
    """8.15, built without SASL."""

    name = "sendmail-8.15"
    banner = b"220 mx.test ESMTP Sendmail 8.15.2/8.15.2"

    def dispatch(self, verb: bytes, argument: bytes) -> bytes:
        if self.serial == 1 and verb in _NOT_SMTP:
            return self.hang_up(self.say(b"421 4.7.0", b"rejecting open proxy"))
        return super().dispatch(verb, argument)


class Sendmail817(Sendmail815):
    """8.17 with the patches of late 2023, SASL and TLS."""

    name = "sendmail-8.17"
    banner = b"220 mx.test ESMTP Sendmail 8.17.1.9/8.17.1.9"
    keywords = (*StateSendmail.keywords[:-1], b"AUTH PLAIN LOGIN", b"STARTTLS", b"HELP")
    verbs = {**_ESMTP, b"AUTH": "auth", b"STARTTLS": "starttls"}
    line_buffer = 12287

    def __init__(self) -> None:
        super().__init__()
        self.out_of_step = False

    def command(self, line: bytes) -> bytes:
        if len(line) > 2048:
            return self.hang_up(self.complain(b"421 4.7.0", b"command too long"))
        return super().command(line)

    def dispatch(self, verb: bytes, argument: bytes) -> bytes:
        if self.out_of_step and verb != b"QUIT":
            return self.say(b"454 4.3.0", b"please try again later")
        return super().dispatch(verb, argument)

    def read_sasl(self) -> bytes | None:
        line = self.fgets(self.line_buffer)
        if line is None:
            return None
        if len(line) > 2048:
            return self.hang_up(b"421 4.7.0 command too long\r\n")
        return self.sasl(line.rstrip(b"\r\n"))

    def helo(self, argument: bytes) -> bytes:
        return self._out_of_step() or super().helo(argument)

    def ehlo(self, argument: bytes) -> bytes:
        return self._out_of_step() or super().ehlo(argument)

    def _out_of_step(self) -> bytes:
        """Refuse everything from a client that does not wait for the reply to its greeting."""
        if not self.input:
            return b""
        self.out_of_step = True
        return self.say(b"554 5.5.0", b"SMTP protocol error")

    def data(self, argument: bytes) -> bytes:
        reply = super().data(argument)
        if reply.startswith(b"354") and self.input:
            return self.hang_up(self.say(b"554 5.5.0", b"SMTP protocol error"))
        return reply

    def read_content(self) -> bytes | None:
        """Hang up at a bare CR or LF."""
        found = self.search_content(_STRICT_END, _CR_OR_LF)
        if found is None:
            return None
        if found["end"] is None:
            return self.hang_up(b"421 4.5.0 bare CR or LF not allowed\r\n")
        return self.content(found.start(), found.end())
