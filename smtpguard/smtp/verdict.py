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


@frozen
class Verdict:
    """One decision."""

    action: Action
    reply: Reply | None = None
    """Set for REPLY and CLOSE."""
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
    authenticated: bool = False
    """The backend answered an AUTH with 235."""


class Judge(Protocol):
    """Decides for one client."""

    def judge(self, command: Command, facts: Facts) -> Verdict:
        """Decide about a well-formed command."""

    def may_forward(self, verb: bytes, facts: Facts) -> bool:
        """Say whether any argument would let `verb` (upper case) through, now or once authenticated."""
