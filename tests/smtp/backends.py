"""Backends to put behind a dialogue, in memory.

`Scripted` is a server that follows the standard and says what a stream's script wants; it proves that
accepted streams arrive unchanged.  `Lenient` is every server's laxity at once: it takes for a command
whatever any server takes for one, and for an end of data whatever any server takes for one.  If
`Lenient` never sees a refused verb, no server does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

DEFAULT_EHLO = ("PIPELINING", "SIZE", "8BITMIME", "AUTH PLAIN LOGIN CRAM-MD5 EXTERNAL")

REPLIES = {
    b"EHLO": b"",
    b"HELO": b"250 mx.test",
    b"QUIT": b"221 bye",
    b"DATA": b"354 go",
    b"VRFY": b"250 <root@mx.test> CANARY",
    b"EXPN": b"250 <all@mx.test> CANARY",
}


@dataclass
class Scripted:
    """A strict server; `feed` yields what it answers, segment by segment."""

    banner: bytes = b"220 mx.test ESMTP\r\n"
    ehlo: tuple[str, ...] | None = None
    script: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    commands: list[bytes] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    quit: bool = False
    _input: bytes = b""
    _content: bool = False
    _sasl: list[bytes] | None = None
    _mail: bool = False
    _rcpt: bool = False

    @property
    def unfinished(self) -> bytes:
        """What came and is neither a command nor a message."""
        return self._input

    def greet(self) -> Iterator[bytes]:
        yield self.banner if self.banner.endswith(b"\r\n") else self.banner + b"\r\n"

    def feed(self, octets: bytes) -> Iterator[bytes]:
        self._input += octets
        while True:
            if self._content:
                end = (b"\r\n" + self._input).find(b"\r\n.\r\n")
                if end < 0:
                    return
                self.messages.append(self._input[:end])
                self._input = self._input[end + 3 :]
                self._content = self._mail = self._rcpt = False
                yield b"250 queued\r\n"
                continue
            line, newline, rest = self._input.partition(b"\r\n")
            if not newline:
                return
            self._input = rest
            yield from self._line(line)

    def _line(self, line: bytes) -> Iterator[bytes]:
        if self._sasl is not None:
            reply = self._sasl.pop(0)
            if not reply.startswith(b"334"):
                self._sasl = None
            self.commands.append(line)
            yield reply + b"\r\n"
            return
        self.commands.append(line)
        verb = line.split(b" ")[0].upper()
        scripted = self.script.get(verb.decode("latin-1"))
        if scripted is not None:
            yield from self._scripted(verb, scripted)
            return
        yield self._standard(verb, line)

    def _scripted(self, verb: bytes, answers: tuple[bytes, ...]) -> Iterator[bytes]:
        if answers[-1].endswith(b"\r\n"):
            yield from answers
        elif answers != (b"",):
            if answers[0].startswith(b"334") and verb == b"AUTH":
                self._sasl = list(answers[1:])
            yield answers[0] + b"\r\n"
        self._content = verb == b"DATA" and answers[-1].startswith(b"354")

    def _standard(self, verb: bytes, line: bytes) -> bytes:
        if verb == b"EHLO":
            lines = ["mx.test", *(DEFAULT_EHLO if self.ehlo is None else self.ehlo)]
            return b"".join(
                f"250{'-' if i < len(lines) - 1 else ' '}{word}\r\n".encode() for i, word in enumerate(lines)
            )
        reply = REPLIES.get(verb, b"250 ok")
        match verb:
            case b"QUIT":
                self.quit = True
            case b"MAIL":
                self._mail = True
            case b"RCPT":
                self._rcpt = self._mail
                reply = reply if self._mail else b"503 need MAIL"
            case b"RSET":
                self._mail = self._rcpt = False
            case b"DATA" if not self._rcpt:
                reply = b"503 need RCPT"
            case b"DATA":
                self._content = True
            case b"AUTH" if self._mail:
                reply = b"503 not now"
            case b"AUTH" if len(line.split(b" ")) < 3:
                self._sasl = [b"535 no"]
                reply = b"334 PDE+"
            case b"AUTH":
                reply = b"235 ok"
        return reply + b"\r\n"


_SPACE = b" \t\n\r\x0b\x0c"
# Any of: dot alone on a line for servers that end lines at CR, LF or both, cut at NUL, or mask bits.
_LAX_END = re.compile(rb"(?:\A|[\r\n])\.(?:[\r\n]|\x00[^\n]*\n)")


@dataclass
class Lenient:
    """A server that executes whatever could be executed, and believes every end of data."""

    executed: list[bytes] = field(default_factory=list)
    """Verbs, in upper case."""
    in_content: bool = False
    seven_bit: bool = False
    _input: bytes = b""

    def feed(self, octets: bytes) -> None:
        self._input += octets
        if not self.in_content:
            self._commands()
            return
        end = _LAX_END.search(bytes(o & 0x7F for o in self._input) if self.seven_bit else self._input)
        if end is not None:
            self.in_content = False
            self._input = self._input[end.end() :]
            self._commands()

    def go_ahead(self) -> None:
        """The 354 was sent: what follows is content."""
        self.in_content = True

    def finish(self) -> None:
        """The connection ended: a partial line is executed, as some do."""
        if not self.in_content and self._input:
            self._input += b"\n"
            self._commands()

    def _commands(self) -> None:
        *lines, self._input = re.split(rb"[\r\n]+", self._input)
        for line in lines:
            self.executed.extend(verbs_of(line))


def verbs_of(line: bytes) -> Iterator[bytes]:
    """Yield every verb that some server reads at the beginning of a line."""
    for masked in {line, bytes(o & 0x7F for o in line)}:
        for cut in {masked, masked.replace(b"\0", b""), masked.split(b"\0")[0], masked.split(b"\0")[-1]}:
            word = re.match(rb"[A-Za-z0-9-]*", cut.lstrip(_SPACE + b"\0"))
            if word and word.group():
                yield word.group().upper()
