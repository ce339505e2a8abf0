"""What a rehearsal (rehearsal.py) tells: turns.

Contract: values; `Making` is one that is not complete.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..smtp.effects import Note
from ..smtp.grammar import Command
from ..smtp.verdict import Verdict


class What(Enum):
    """What a client said."""

    COMMAND = "command"
    CONTENT = "content"
    """A message, from behind the 354 to its dot."""
    SASL = "sasl"
    """A response of an AUTH exchange."""
    CHUNK = "chunk"
    """A BDAT with its octets."""
    TUNNEL = "tunnel"
    """Behind a STARTTLS that was passed through: nobody knows."""


@dataclass(frozen=True)
class Turn:
    """One line of the client's, or one message, and what came of it."""

    number: int
    """Counted from 1."""
    line: bytes
    """Without its line end; empty for CONTENT."""
    octets: bytes
    """All of it, as the client sent it."""
    what: What
    verdict: Verdict | None
    """None where no judge was asked: for what is no command, is malformed, or came where only QUIT is taken."""
    forwarded: bytes
    """What went to the backend."""
    replies: bytes
    """What the client was told."""
    own: bool
    """The guard itself answered, at the end if not from the beginning."""
    notes: tuple[Note, ...]
    """For the log and the limits, without CommandsRead: each COMMAND and CHUNK counts as one."""
    closed: bool
    """The session is over with it."""
    delay: float = 0.0
    """Seconds that it waited for, by a rule or a budget."""
    secured: bool = False
    """TLS began behind it."""
    private: bool = False
    """It may be a password, which nobody has asked for: it stands behind an AUTH that was refused."""
    asked: Verdict | None = None
    """What the policy alone said, before what no policy can change; its rule is the one that was reached."""

    @property
    def reply(self) -> str:
        """What the guard told the client by itself, which is a line; nothing if the backend answered."""
        if not self.own:
            return ""
        return self.replies.decode("ascii", "replace").removesuffix("\r\n").rpartition("\r\n")[2]

    @property
    def outcome(self) -> str:
        """What happened, in the words of a policy's tests; of the guard's own reply all."""
        if self.own and self.closed:
            return f"close ({self.reply})"
        return self.reply or ("forward" if self.forwarded else "nothing")

    def meets(self, expected: str) -> bool:
        """Compare with `forward`, `close`, a code of the guard's own reply, or that reply."""
        if expected == "forward":
            return not self.own and bool(self.forwarded)
        if expected == "close":
            return self.own and self.closed
        return bool(self.reply) and expected in (self.reply, self.reply[:3])


class Making:
    """A turn that is not complete."""

    def __init__(self, what: What) -> None:
        self.what = what
        self.begun = False
        self.octets = b""
        self.command: Command | None = None
        self.asked: Verdict | None = None
        self.verdict: Verdict | None = None
        self.chunk = 0
        self.forwarded = bytearray()  # of a message, line by line
        self.replies = b""
        self.own = False
        self.answered = False
        self.notes: list[Note] = []
        self.closed = False
        self.delay = 0.0
        self.secured = False
        self.private = False

    def made(self, number: int) -> Turn:
        line = b"" if self.what is What.CONTENT else self.octets.partition(b"\n")[0].removesuffix(b"\r")
        return Turn(
            number, line, self.octets, self.what, self.verdict, bytes(self.forwarded), self.replies, self.own,
            tuple(self.notes), self.closed, self.delay, self.secured, self.private, self.asked,
        )  # fmt: skip
