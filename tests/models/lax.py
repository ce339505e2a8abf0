"""A server that stands for no program, with every laxity at choice.

Contract: as in server.py.  `Laxity` says how octets are read; `Lax` reads them so.  Each laxity can be
combined with each other one: what a server does that nobody has looked at is somewhere among them.
`worst` makes one with nearly all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import Final

from attrs import evolve, field, frozen

from .chunking import WITH_BDAT, Chunking
from .server import Accepted
from .session import Mode

_SEVEN_BITS: Final = bytes(octet & 0x7F for octet in range(256))
_SPACE: Final = b" \t\n\r\x0b\x0c"
_CR_OR_LF: Final = re.compile(rb"[\r\n]")
_SEVEN_BIT_BODY: Final = re.compile(rb"(?<!\S)BODY=7BIT(?!\S)", re.IGNORECASE)
_SIZE: Final = re.compile(rb"\s*\+?([0-9]{1,12})\s*(.*)", re.DOTALL)
_STANDARD: Final = re.compile(rb"(?:\A|(?<=\r\n))\.\r\n")
_PIECE_END: Final = re.compile(rb"\.\r?\n")
_OTHERS: Final = (
    b"EXPN ETRN VERB ONEX XUSR DEBUG SHOWQ WIZ KILL SHELL SEND SOML SAML TURN ATRN XCLIENT XFORWARD PROXY XPROXY "
    b"XPROXYFROM XPROXYTO XEXCH50 X-EXPS X-LINK2STATE XSHADOW INTERNALCMD WELLKNOWN CLIENTID BURL"
).split()


class LineEnd(Enum):
    """What ends a command."""

    CRLF = rb"\r\n"
    LF = rb"\n"
    CR_OR_LF = rb"[\r\n]"
    """Either alone; LF behind CR is part of the same end."""


class Nul(Enum):
    """What a NUL in a command is."""

    LITERAL = 1
    END = 2
    """The end of the C string: what is behind it is not seen."""
    NOTHING = 3
    """Dropped."""


class EighthBit(Enum):
    """What becomes of it, in commands and content."""

    KEPT = 1
    DROPPED_ONCE_DECLARED = 2
    """From a MAIL with BODY=7BIT on, whatever its reply, to the next MAIL without."""
    DROPPED = 3


class Tail(Enum):
    """What the rest of a line is that is longer than the bound."""

    NEXT_COMMAND = 1
    DROPPED = 2


class End(Enum):
    """Forms of the end of data, from the dot on; the standard one is always understood."""

    LF_BEFORE = rb"(?<=\n)\.\r\n"
    LF_BEHIND = rb"(?:\A|(?<=\r\n))\.\n"
    LF_BOTH = rb"(?<=\n)\.\n"
    CR_BEFORE = rb"(?<=\r)\.\r\n"
    CR_BEHIND = rb"(?:\A|(?<=\n))\.\r(?=[^\n])"
    CR_BOTH = rb"(?<=\r)\.\r(?=[^\n])"
    CRS_BEHIND = rb"(?:\A|(?<=\n))\.\r\r+\n"
    NUL_BEHIND = rb"(?:\A|(?<=\n))\.\x00[^\r\n]*\r?\n"


def _set_of(forms: Iterable[End]) -> frozenset[End]:
    return frozenset(forms)


@frozen(kw_only=True)
class Laxity:
    """How a server reads; without arguments, as the standard says."""

    line_end: LineEnd = LineEnd.CRLF
    skipped: bytes = b""
    """Octets in front of a verb that do not count."""
    separators: bytes = b" "
    """Octets of which one ends the verb."""
    nul: Nul = Nul.LITERAL
    eighth_bit: EighthBit = EighthBit.KEPT
    line_bound: int | None = None
    """Octets of a command, its end included."""
    tail: Tail = Tail.NEXT_COMMAND
    nul_hides_length: bool = False
    """A line with a NUL has wide_bound instead."""
    sasl_hides_length: bool = False
    """AUTH and SASL lines have wide_bound instead."""
    wide_bound: int = 12288
    """The tail of such a line is the next command (the default is of RFC 4954, section 4)."""
    body_bound: int | None = None
    """Octets of a line of content; its tail is a line of its own."""
    ends: frozenset[End] = field(default=frozenset(), converter=_set_of)
    aborts: frozenset[End] = field(default=frozenset(), converter=_set_of)
    """Forms at which it answers 451 and reads on in command mode."""
    executes_partial: bool = False
    """A line without its end is run when the connection ends."""
    takes_partial: bool = False
    """Content without its end is a message when the connection ends."""
    knows_bdat: bool = True
    """And offers CHUNKING; if not, the octets of a chunk are commands."""
    echoes: bool = False
    """Replies hold the line that they answer, as it was read."""


@lru_cache(maxsize=1024)
def _any_of(forms: frozenset[End]) -> re.Pattern[bytes]:
    return re.compile(b"|".join((_STANDARD.pattern, *(form.value for form in End if form in forms))))


@lru_cache(maxsize=1024)
def _verb(separators: bytes) -> re.Pattern[bytes]:
    octets = re.escape(separators)
    return re.compile(rb"([^%b]*)(.*)" % octets if octets else rb"(.*)()", re.DOTALL)


class Lax(Chunking):
    """A server with the laxities that it is told."""

    name = "lax"
    keywords = (b"PIPELINING", b"SIZE", b"8BITMIME", b"SMTPUTF8", b"AUTH PLAIN LOGIN", b"VRFY")
    verbs = {
        **WITH_BDAT,
        **dict.fromkeys(_OTHERS, "disclose"),
        b"VRFY": "disclose",
        b"AUTH": "auth",
        b"STARTTLS": "starttls",
    }

    def __init__(self, laxity: Laxity | None = None) -> None:
        super().__init__()
        self.laxity = Laxity() if laxity is None else laxity
        self.declared = False
        """The last MAIL had BODY=7BIT."""
        self.dropping = False
        """The tail of a line is being dropped."""
        self.piece = 0
        """Where the line of content begins that body_bound may split."""
        self.half = False
        """A line ended in CR, and an LF behind it is part of that end."""
        self.echo = b""
        self._line_end = re.compile(self.laxity.line_end.value)
        self._ends = _any_of(self.laxity.ends | self.laxity.aborts)

    @property
    def masks(self) -> bool:
        """Whether the eighth bit is dropped now."""
        match self.laxity.eighth_bit:
            case EighthBit.DROPPED_ONCE_DECLARED:
                return self.declared
            case dropped:
                return dropped is EighthBit.DROPPED

    def view(self, start: int) -> bytearray:
        """Return the input from `start` on, as it is read."""
        octets = self.input[start:]
        return octets.translate(_SEVEN_BITS) if self.masks else octets

    def step(self) -> bytes | None:
        """Take the other half of a line's end first."""
        if self.half and self.input:
            self.half = False
            if self.view(0)[:1] == b"\n":
                self.take(1)
        return super().step()

    # -- lines -------------------------------------------------------------------------------------

    def line(self) -> bytes | None:
        """Take a line with its end, or as much of it as there is room for."""
        while self.dropping:
            end = self._line_end.search(self.view(0))
            # A CR may be half of the end that is looked for.
            self.take(end.end() if end else max(0, len(self.input) - 1))
            if end is None:
                return None
            self.dropping = False
        fresh = max(0, self.searched - 1)
        found = self._line_end.search(self.view(fresh))
        end_of_line = fresh + found.end() if found else None
        bound = self.laxity.line_bound
        if bound is not None and (end_of_line or len(self.input)) > bound:
            wide = self.hides(bound)
            if not wide or (end_of_line or len(self.input)) > self.laxity.wide_bound:
                self.dropping = not wide and self.laxity.tail is Tail.DROPPED
                return self.take(self.laxity.wide_bound if wide else bound)
        if end_of_line is None:
            self.searched = len(self.input)
            return None
        line = self.take(end_of_line)
        self.half = self.laxity.line_end is LineEnd.CR_OR_LF and line[-1] & 0x7F == 0x0D
        return line

    def hides(self, bound: int) -> bool:
        """Say whether the line has the wider bound."""
        if self.laxity.nul_hides_length and b"\0" in self.input[:bound]:
            return True
        sasl = self.mode is Mode.SASL or self.input[:5].upper() == b"AUTH "
        return self.laxity.sasl_hides_length and sasl

    def seen(self, line: bytes) -> bytes:
        """Return what the server sees of a line."""
        if self.masks:
            line = line.translate(_SEVEN_BITS)
        line = line[:-2] if line.endswith(b"\r\n") else line.rstrip(b"\r\n") if _CR_OR_LF.match(line[-1:]) else line
        match self.laxity.nul:
            case Nul.END:
                return line.partition(b"\0")[0]
            case Nul.NOTHING:
                return line.replace(b"\0", b"")
            case Nul.LITERAL:
                return line

    def read_command(self) -> bytes | None:
        line = self.line()
        return None if line is None else self.command(line)

    def command(self, line: bytes) -> bytes:
        """Run a line that may have its end."""
        seen = self.seen(line)
        self.echo = b" " + seen if self.laxity.echoes else b""
        return self.run(line.rstrip(b"\r\n"), *self.words(seen))

    def words(self, line: bytes) -> tuple[bytes, bytes]:
        found = _verb(self.laxity.separators).match(line.lstrip(self.laxity.skipped) if self.laxity.skipped else line)
        assert found is not None
        return found[1].upper(), found[2].strip(self.laxity.separators + _SPACE)

    def read_sasl(self) -> bytes | None:
        line = self.line()
        return None if line is None else self.sasl(self.seen(line))

    def say(self, code: bytes, text: bytes = b"ok") -> bytes:
        return super().say(code, text + self.echo)

    # -- commands ----------------------------------------------------------------------------------

    def offers(self) -> tuple[bytes, ...]:
        return (b"CHUNKING", *self.keywords) if self.laxity.knows_bdat else self.keywords

    def mail(self, argument: bytes) -> bytes:
        self.declared = _SEVEN_BIT_BODY.search(argument) is not None
        return super().mail(argument)

    def data(self, argument: bytes) -> bytes:
        self.piece = 0
        return super().data(argument)

    def bdat(self, argument: bytes) -> bytes:
        if not self.laxity.knows_bdat:
            return self.unknown()
        found = _SIZE.match(argument)
        if found is None:
            return self.say(b"501 5.5.4", b"missing size")
        if self.sender is None or not self.recipients or self.no_data:
            return self.swallow(int(found[1]), self.say(b"503 5.5.1", b"need RCPT"))
        return self.chunk(int(found[1]), last=found[2].upper() == b"LAST")

    # -- content -----------------------------------------------------------------------------------

    def read_content(self) -> bytes | None:
        """Look at the lines that are new; `mark` is at the octet before the last LF."""
        fresh = max(0, self.searched - 1)
        self.searched = len(self.input)
        news = _CR_OR_LF.search(self.view(fresh)) is not None
        view, base = self.view(self.mark) if news else bytearray(), self.mark
        # The lookbehinds of `_ends` see the two octets before, and only the first octet of all is \A.
        found = self._ends.search(view, 2 if base else 0)
        split = self.split_line(base + found.start() if found else self.searched, news=news)
        if split is not None:
            return self.content(*split)
        if found is None:
            self.mark = max(0, base + view.rfind(b"\n") - 1) if news else base
            return None
        if self.aborts_at(view, found.start()):
            self.take(base + found.end())
            self.mode = Mode.COMMAND
            self.mark = 0
            self.reset()
            return b"451 4.5.0 line ends are not right\r\n"
        return self.content(base + found.start(), base + found.end())

    def aborts_at(self, view: bytearray, dot: int) -> bool:
        """Say whether the form of the end at `dot` is one that is not accepted."""
        if not self.laxity.aborts or _STANDARD.match(view, dot):
            return False
        return any(re.compile(form.value).match(view, dot) for form in self.laxity.aborts)

    def split_line(self, before: int, *, news: bool) -> tuple[int, int] | None:
        """Look, in front of `before`, for a dot alone on what body_bound makes a line; say where it is and ends."""
        bound = self.laxity.body_bound
        if bound is None or (not news and self.searched - self.piece < bound):
            return None
        view, start = self.view(self.piece), 0
        while True:
            stop = view.find(b"\n", start, start + bound) + 1
            if not stop:
                if len(view) - start < bound:
                    break
                stop = start + bound
            if self.piece + start < before and _PIECE_END.match(view, start, stop):
                return self.piece + start, self.piece + stop
            start = stop
        self.piece += start
        return None

    def finish(self) -> None:
        if not self.closed and self.input:
            if self.mode is Mode.COMMAND and self.laxity.executes_partial and not self.dropping:
                self.command(self.take(len(self.input)))
            elif self.mode is Mode.CONTENT and self.laxity.takes_partial:
                self.judged(Accepted(bytes(self.input)))
        super().finish()


_WORST: Final = Laxity(
    line_end=LineEnd.CR_OR_LF,
    skipped=_SPACE + b"\0",
    separators=_SPACE + b"\0",
    eighth_bit=EighthBit.DROPPED_ONCE_DECLARED,
    line_bound=2047,
    nul_hides_length=True,
    sasl_hides_length=True,
    ends=End,
    executes_partial=True,
    knows_bdat=False,
)


class Worst(Lax):
    """Every laxity at once, but those of the legacy profile, and that of taking half a message."""

    name = "lax-worst"

    def __init__(self) -> None:
        super().__init__(_WORST)


class WorstLegacy(Lax):
    """The same with the bounds of the legacy profile, and the eighth bit always dropped."""

    name = "lax-worst-legacy"
    profile = "sendmail-legacy"

    def __init__(self) -> None:
        super().__init__(evolve(_WORST, eighth_bit=EighthBit.DROPPED, line_bound=255, body_bound=2047))


def worst() -> Lax:
    """Return the laxest server for the default profile."""
    return Worst()
