"""Effects: the only way out of the dialogue.

Contract: a shell performs them in the order given and does nothing of its own accord.  After `Close`
there are no more.
"""

from __future__ import annotations

from attrs import frozen

from .grammar import Command, Fault
from .verdict import Verdict


@frozen
class ToClient:
    """Send these octets to the client."""

    octets: bytes


@frozen
class ToBackend:
    """Send these octets to the backend."""

    octets: bytes


@frozen
class StartTls:
    """Begin TLS with the client, as the server, and say `Dialogue.tls_established` when it stands.

    Octets that were sent before are in clear, all that come from now on are not.
    """


@frozen
class Wait:
    """Call `Dialogue.delay_over` in this many seconds."""

    seconds: float


@frozen
class Close:
    """Close both sides once what was sent has left."""

    abort_backend: bool
    """Reset the backend's connection instead: it holds part of a message that must not become one."""
    linger: bool
    """The client may still be sending: read and drop that for a while, so that the last reply is not
    lost to a reset."""


@frozen
class Judged:
    """For the log: a command was decided on, and it is one that a site wants to know of."""

    command: Command
    verdict: Verdict


@frozen
class Refused:
    """For the log: client octets that are outside the grammar or out of turn; nothing was forwarded."""

    what: str
    octets: bytes
    """The line, or the beginning of it."""
    closed: bool
    fault: Fault | None = None


@frozen
class Normalized:
    """For the log: a bare LF was forwarded as CRLF; the first of a session's lines, or of a message."""

    where: str


@frozen
class OverBudget:
    """For the log: the session has used up a budget; `verb` is empty for lines that have none."""

    verb: bytes
    count: int


@frozen
class Authenticated:
    """For the log: the backend decided on an AUTH."""

    mechanism: str
    """Empty if it is none that is known."""
    accepted: bool


@frozen
class Uninspected:
    """For the log: client and backend are about to encrypt what they say, so that no rule holds any more."""


@frozen
class BackendFault:
    """For the log: the backend broke the protocol or went away."""

    what: str
    octets: bytes


Note = Judged | Refused | Normalized | OverBudget | Authenticated | Uninspected | BackendFault
Effect = ToClient | ToBackend | StartTls | Wait | Close | Note
