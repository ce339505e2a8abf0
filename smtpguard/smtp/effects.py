"""Effects: the only way out of the dialogue.

Contract: a shell performs them in the order given and does nothing of its own accord.  After `Close`
there are no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, final

from .grammar import Command, Fault
from .values import Value
from .verdict import Verdict


@final
class ToClient(Value):
    """Send these octets to the client."""

    __slots__ = ("octets",)
    __match_args__: ClassVar = ("octets",)

    def __init__(self, octets: bytes) -> None:
        self.octets: Final = octets

    def parts(self) -> tuple[object, ...]:
        return (self.octets,)


@final
class ToBackend(Value):
    """Send these octets to the backend."""

    __slots__ = ("octets",)
    __match_args__: ClassVar = ("octets",)

    def __init__(self, octets: bytes) -> None:
        self.octets: Final = octets

    def parts(self) -> tuple[object, ...]:
        return (self.octets,)


@dataclass(frozen=True)
class BeginTls:
    """Begin TLS with the client, as the server, and say `Dialogue.tls_established` when it stands.

    Octets that were sent before are in clear, all that come from now on are not.
    """


@dataclass(frozen=True)
class Wait:
    """Call `Dialogue.delay_over` in this many seconds."""

    seconds: float


@dataclass(frozen=True)
class Close:
    """Close both sides once what was sent has left."""

    abort_backend: bool
    """Reset the backend's connection instead: it holds part of a message that must not become one."""
    linger: bool
    """The client may still be sending: read and drop that for a while, so that the last reply is not
    lost to a reset."""


@final
class Judged(Value):
    """For the log: a command was decided on, and it is one that a site wants to know of."""

    __slots__ = ("command", "verdict")
    __match_args__: ClassVar = ("command", "verdict")

    def __init__(self, command: Command, verdict: Verdict) -> None:
        self.command: Final = command
        self.verdict: Final = verdict

    def parts(self) -> tuple[object, ...]:
        return self.command, self.verdict


@dataclass(frozen=True)
class Refused:
    """For the log: client octets that are outside the grammar or out of turn; nothing was forwarded."""

    what: str
    octets: bytes
    """The line, or the beginning of it."""
    closed: bool
    fault: Fault | None = None


@dataclass(frozen=True)
class Normalized:
    """For the log: a bare LF was forwarded as CRLF; the first of a session's lines, or of a message."""

    where: str


@dataclass(frozen=True)
class OverBudget:
    """For the log: the session has used up a budget; `verb` is empty for lines that have none."""

    verb: bytes
    count: int


@dataclass(frozen=True)
class Authenticated:
    """For the log: the backend decided on an AUTH."""

    mechanism: str
    """Empty if it is none that is known."""
    accepted: bool


@dataclass(frozen=True)
class RecipientRefused:
    """For limits and incidents: the backend refused a recipient for good, as one that does not exist (5yz)."""

    recipient: bytes
    """As the client wrote it, without the angle brackets."""
    code: int


@dataclass(frozen=True)
class CommandsRead:
    """For limits: so many more commands were read; only where `Dialogue.count_by` asks for it."""

    count: int


@dataclass(frozen=True)
class TooSlow:
    """For limits and incidents: too little of a message came in too much time, and the session ends."""

    octets: int
    seconds: float


@dataclass(frozen=True)
class Uninspected:
    """For the log: client and backend are about to encrypt what they say, so that no rule holds any more."""


@dataclass(frozen=True)
class BackendFault:
    """For the log: the backend broke the protocol or went away."""

    what: str
    octets: bytes


Note = (
    Judged
    | Refused
    | Normalized
    | OverBudget
    | Authenticated
    | RecipientRefused
    | CommandsRead
    | TooSlow
    | Uninspected
    | BackendFault
)
Effect = ToClient | ToBackend | BeginTls | Wait | Close | Note
