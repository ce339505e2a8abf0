"""The part of a connection that does not depend on how octets are read.

Contract: `Session` keeps the input, runs commands, holds the transaction, and says what it answers.
How a line, a verb, the end of data or a chunk is recognised is said by each model, in `read_command`,
`read_content`, `read_sasl` and `words`; each read_* takes octets off the input and returns the reply
(b"" for silence), or returns None when it wants more.

A driver reaches the refusals by words: the sender `refused` gets 553, the recipient `refused` 550 and
`later` 451, the recipient `nodata` makes DATA get 451, and content with the line `X-Refuse: yes` gets
554 at its end.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import ClassVar, Final

from .server import CANARY, Accepted, Executed, Server

MESSAGE_BOUND: Final = 1 << 24
"""Octets of one message; a longer one ends the session."""

SASL_BOUND: Final = 12288
"""Octets of a SASL line (RFC 4954, section 4), where a model says nothing else."""

_PRINTABLE: Final = re.compile(rb"[!-~]{1,32}")
_LF: Final = re.compile(rb"\n")
_FROM: Final = re.compile(rb"\s*FROM\s*:\s*<?([^@>\s]*)", re.IGNORECASE)
_TO: Final = re.compile(rb"\s*TO\s*:\s*<?([^@>\s]*)", re.IGNORECASE)
_REFUSED_CONTENT: Final = re.compile(rb"(?<![^\n])X-Refuse: yes\r?(?![^\n])")


class Mode(Enum):
    """What the next octets are."""

    COMMAND = auto()
    CONTENT = auto()
    CHUNK = auto()
    SASL = auto()


BASIC: Final[Mapping[bytes, str]] = MappingProxyType(
    {
        b"HELO": "helo",
        b"EHLO": "ehlo",
        b"MAIL": "mail",
        b"RCPT": "rcpt",
        b"DATA": "data",
        b"RSET": "rset",
        b"NOOP": "noop",
        b"QUIT": "quit",
        b"VRFY": "vrfy",
        b"HELP": "help",
    }
)
"""What every server knows: verb, and the method that runs it."""


class Session(Server):
    """A server without a reader."""

    banner: ClassVar[bytes] = b"220 mx.test ESMTP"
    keywords: ClassVar[tuple[bytes, ...]] = (b"PIPELINING", b"SIZE 16777216", b"8BITMIME")
    """Of the EHLO reply."""
    verbs: ClassVar[Mapping[bytes, str]] = BASIC
    needs_hello: ClassVar[bool] = False
    """MAIL wants a HELO or EHLO before it."""
    mechanisms: ClassVar[tuple[bytes, ...]] = (b"PLAIN", b"LOGIN")

    def __init__(self) -> None:
        super().__init__()
        self.input = bytearray()
        self.searched = 0
        """So much of the input has been looked through for the end of a line."""
        self.mark = 0
        """No end of data begins before this octet of the input."""
        self.mode = Mode.COMMAND
        self.serial = 0
        self.ends = 0
        self.verb = b""
        self.hello = b""
        """HELO or EHLO, whichever was accepted last."""
        self.sender: bytes | None = None
        self.recipients = 0
        self.no_data = False
        self.authenticated = False
        self.answers_due = 0
        """SASL lines that the client still owes."""
        self.chunks = bytearray()

    # -- the connection ----------------------------------------------------------------------------

    def greet(self) -> bytes:
        return self.banner + b"\r\n"

    def feed(self, octets: bytes) -> list[bytes]:
        if self.closed:
            return []
        self.input += octets
        replies = []
        while (reply := self.step()) is not None:
            if reply:
                replies.append(reply)
            if self.closed:
                self.input.clear()
                break
        return replies

    def finish(self) -> None:
        self.closed = True
        self.input.clear()

    def step(self) -> bytes | None:
        """Take the next command, message, chunk or answer, whatever is due."""
        match self.mode:
            case Mode.COMMAND:
                reply = self.read_command()
            case Mode.CONTENT:
                reply = self.read_content()
            case Mode.CHUNK:
                reply = self.read_chunk()
            case Mode.SASL:
                reply = self.read_sasl()
        if reply is None and len(self.input) > MESSAGE_BOUND:
            return self.hang_up(b"552 5.3.4 message too big\r\n")
        return reply

    @abstractmethod
    def read_command(self) -> bytes | None:
        """Take a command and run it."""

    @abstractmethod
    def read_content(self) -> bytes | None:
        """Take content and its end."""

    def read_chunk(self) -> bytes | None:
        """Take octets of a chunk; only servers that know BDAT come here."""
        raise NotImplementedError

    def read_sasl(self) -> bytes | None:
        """Take an answer to a challenge."""
        line = self.fgets(SASL_BOUND)
        if line is None:
            return None
        if not line.endswith(b"\n"):
            return self.hang_up(b"500 5.5.6 line too long\r\n")
        return self.sasl(line.rstrip(b"\r\n"))

    @abstractmethod
    def words(self, line: bytes) -> tuple[bytes, bytes]:
        """Cut a line into the verb as it is looked up, in upper case, and the argument."""

    # -- octets ------------------------------------------------------------------------------------

    def take(self, count: int) -> bytes:
        """Take `count` octets off the input."""
        octets = bytes(self.input[:count])
        del self.input[:count]
        self.searched = 0
        return octets

    def through_lf(self) -> bytes | None:
        """Take a line of any length, its LF included."""
        end = self.input.find(b"\n", self.searched) + 1
        if end:
            return self.take(end)
        self.searched = len(self.input)
        return None

    def fgets(self, most: int) -> bytes | None:
        """Take a line, its LF included, but no more than `most` octets; the rest stays for the next call."""
        end = self.input.find(b"\n", self.searched, most) + 1
        if not end:
            if len(self.input) < most:
                self.searched = len(self.input)
                return None
            end = most
        return self.take(end)

    def search_content(self, end: re.Pattern[bytes], watched: re.Pattern[bytes] = _LF) -> re.Match[bytes] | None:
        """Look for `end`, every match of which begins at a dot and needs one octet more of `watched`."""
        fresh = max(0, self.searched - 1)
        self.searched = len(self.input)
        if watched.search(self.input, fresh) is None:
            return None
        found = end.search(self.input, self.mark)
        if found is None:
            self.mark = self.input.rfind(b"\n") + 1
        return found

    def content_until(self, end: re.Pattern[bytes]) -> bytes | None:
        """Take the message that ends at `end`."""
        found = self.search_content(end)
        return None if found is None else self.content(found.start(), found.end())

    # -- replies -----------------------------------------------------------------------------------

    def say(self, code: bytes, text: bytes = b"ok") -> bytes:
        """Return a reply of one line to the command being run."""
        return b"%b %b #%d %b\r\n" % (code, self.verb, self.serial, text)

    def hang_up(self, reply: bytes) -> bytes:
        """Close behind `reply`."""
        self.closed = True
        return reply

    # -- commands ----------------------------------------------------------------------------------

    def run(self, line: bytes, verb: bytes, argument: bytes) -> bytes:
        """Look `verb` up and run it."""
        self.serial += 1
        self.executed.append(Executed(verb, line))
        self.verb = verb if _PRINTABLE.fullmatch(verb) else b"?"
        return self.dispatch(verb, argument)

    def dispatch(self, verb: bytes, argument: bytes) -> bytes:
        """Run what was looked up."""
        name = self.verbs.get(verb)
        if name is None:
            return self.unknown()
        reply: bytes = getattr(self, name)(argument)
        return reply

    def unknown(self) -> bytes:
        return self.say(b"500 5.5.1", b"command unrecognized")

    def complain(self, code: bytes, text: bytes) -> bytes:
        """Answer a line in which no verb was looked for."""
        self.serial += 1
        self.verb = b"?"
        return self.say(code, text)

    def refuse(self, argument: bytes) -> bytes:
        """Run a command that is known and not there."""
        return self.say(b"502 5.5.1", b"not implemented")

    def disclose(self, argument: bytes) -> bytes:
        """Run a command that no outsider should have."""
        return self.say(b"250 2.0.0", CANARY)

    def helo(self, argument: bytes) -> bytes:
        if not argument:
            return self.say(b"501 5.0.0", b"domain required")
        self.reset()
        self.hello = b"HELO"
        return self.say(b"250 mx.test")

    def ehlo(self, argument: bytes) -> bytes:
        if not argument:
            return self.say(b"501 5.0.0", b"domain required")
        self.reset()
        self.hello = b"EHLO"
        *words, last = self.offers()
        return self.say(b"250-mx.test") + b"".join(b"250-%b\r\n" % word for word in words) + b"250 %b\r\n" % last

    def offers(self) -> tuple[bytes, ...]:
        """Return the keywords of the EHLO reply; there is at least one."""
        return self.keywords

    def mail(self, argument: bytes) -> bytes:
        if self.needs_hello and not self.hello:
            return self.say(b"503 5.5.1", b"HELO first")
        if self.sender is not None:
            return self.say(b"503 5.5.1", b"sender already specified")
        found = _FROM.match(argument)
        if found is None:
            return self.say(b"501 5.5.2", b"syntax error")
        if found[1].lower() == b"refused":
            return self.say(b"553 5.1.8", b"sender refused")
        self.sender = found[1]
        return self.say(b"250 2.1.0", b"sender ok")

    def rcpt(self, argument: bytes) -> bytes:
        if self.sender is None:
            return self.say(b"503 5.5.1", b"need MAIL")
        found = _TO.match(argument)
        if found is None:
            return self.say(b"501 5.5.2", b"syntax error")
        match found[1].lower():
            case b"refused":
                return self.say(b"550 5.1.1", b"no such user")
            case b"later":
                return self.say(b"451 4.2.0", b"later")
            case b"nodata":
                self.no_data = True
        self.recipients += 1
        return self.say(b"250 2.1.5", b"recipient ok")

    def data(self, argument: bytes) -> bytes:
        if self.sender is None or not self.recipients:
            return self.say(b"503 5.5.1", b"need RCPT")
        if self.no_data:
            return self.say(b"451 4.3.0", b"no data now")
        self.mode = Mode.CONTENT
        self.mark = 0
        return self.say(b"354", b"go")

    def rset(self, argument: bytes) -> bytes:
        self.reset()
        return self.say(b"250 2.0.0")

    def noop(self, argument: bytes) -> bytes:
        return self.say(b"250 2.0.0")

    def quit(self, argument: bytes) -> bytes:
        self.closed = True
        return self.say(b"221 2.0.0", b"bye")

    def vrfy(self, argument: bytes) -> bytes:
        if not argument:
            return self.say(b"501 5.5.2", b"argument required")
        return self.say(b"252 2.1.5", CANARY)

    def help(self, argument: bytes) -> bytes:
        return self.say(b"214-2.0.0") + b"214 2.0.0 version %b\r\n" % CANARY

    def starttls(self, argument: bytes) -> bytes:
        if argument:
            return self.say(b"501 5.5.4", b"no parameters allowed")
        return self.say(b"454 4.7.0", b"TLS not available")

    def reset(self) -> None:
        """Forget the transaction."""
        self.sender = None
        self.recipients = 0
        self.no_data = False
        self.chunks.clear()

    # -- SASL --------------------------------------------------------------------------------------

    def auth(self, argument: bytes) -> bytes:
        mechanism, _, initial = argument.partition(b" ")
        mechanism = mechanism.upper()
        if self.sender is not None or self.authenticated:
            return self.say(b"503 5.5.0", b"not now")
        if not mechanism:
            return self.say(b"501 5.5.2", b"mechanism required")
        if mechanism not in self.mechanisms:
            return self.say(b"504 5.5.4", b"mechanism not available")
        self.answers_due = 2 if mechanism == b"LOGIN" else 1
        if initial := initial.strip(b" "):
            return self.sasl(initial)
        self.mode = Mode.SASL
        return b"334 VXNlcm5hbWU6\r\n" if self.answers_due == 2 else b"334 \r\n"

    def sasl(self, line: bytes) -> bytes:
        """Judge an answer of the client; `line` is without its end."""
        self.mode = Mode.COMMAND
        if self.cancels(line):
            return b"501 5.0.0 AUTH aborted\r\n"
        try:
            answer = b"" if line == b"=" else b64decode(line, validate=True)
        except NotBase64:
            return b"501 5.5.4 cannot decode AUTH parameter\r\n"
        if not answer:
            return b"535 5.7.0 authentication failed\r\n"
        self.answers_due -= 1
        if self.answers_due:
            self.mode = Mode.SASL
            return b"334 UGFzc3dvcmQ6\r\n"
        self.authenticated = True
        return b"235 2.0.0 OK Authenticated\r\n"

    def cancels(self, line: bytes) -> bool:
        """Say whether the client gave up."""
        return line == b"*"

    # -- messages ----------------------------------------------------------------------------------

    def content(self, end: int, rest: int) -> bytes:
        """Take the first `end` octets for a message and let `rest` be what comes behind its terminator."""
        raw = bytes(self.input[:end])
        del self.input[:rest]
        self.searched = self.mark = 0
        self.mode = Mode.COMMAND
        return self.judged(Accepted(raw))

    def judged(self, message: Accepted) -> bytes:
        """Accept or refuse, and forget the transaction."""
        self.reset()
        self.ends += 1
        if b"X-Refuse: yes" in message.raw and _REFUSED_CONTENT.search(message.raw):
            return b"554 5.7.1 MESSAGE #%d refused\r\n" % self.ends
        self.messages.append(message)
        return b"250 2.0.0 MESSAGE #%d accepted\r\n" % self.ends
