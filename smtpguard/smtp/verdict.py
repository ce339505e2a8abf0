"""What is decided about a command, and who decides.

Contract: the dialogue asks a `Judge` about every well-formed command and carries the `Verdict` out.
The policy package has the only judge that serves clients; the core knows just this interface.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from attrs import frozen

from .grammar import Command
from .replies import Reply


class Action(Enum):
    """What becomes of a command."""

    FORWARD = "forward"
    REPLY = "reply"
    """The guard answers; the backend never hears of it."""
    CLOSE = "close"
    """The guard answers 421 and both sides are closed."""
    STARTTLS = "starttls"
    """The guard answers 220, and TLS begins between the client and itself."""


@frozen
class Verdict:
    """One decision."""

    action: Action
    reply: Reply | None = None
    """Set for REPLY and STARTTLS; for CLOSE where it is not the usual one."""
    delay: float = 0.0
    """Seconds that this session waits before the verdict is carried out."""
    rule: str = ""
    """FILE:LINE and rule set of the rule that decided; empty if none did."""


@frozen
class Facts:
    """What the dialogue knows of the session when a command comes."""

    greeted: bool = False
    """The backend accepted a HELO or EHLO."""
    esmtp: bool = False
    """The last greeting accepted was an EHLO."""
    tls: bool = False
    """The client's connection is encrypted, and the guard is the other end."""
    tls_names: frozenset[str] = frozenset()
    """The names in the client's certificate, lower case, if it was verified."""
    authenticated: bool = False
    """The backend answered an AUTH with 235."""
    auth_failed: bool = False
    """It answered one with 535."""


class Judge(Protocol):
    """Decides for one client."""

    def judge(self, command: Command, facts: Facts) -> Verdict:
        """Decide about a well-formed command."""

    def may_forward(self, verb: bytes, facts: Facts) -> bool:
        """Say whether any argument would let `verb` (upper case) through, now or once authenticated."""
