"""What is decided about a command, and who decides.

Contract: the dialogue asks a `Judge` about every well-formed command and carries the `Verdict` out.
The policy package has the only judge that serves clients; the core knows just this interface.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol, final

from .grammar import Command
from .replies import Reply
from .values import Value

_NO_NAMES: Final[frozenset[str]] = frozenset()


class Action(Enum):
    """What becomes of a command."""

    FORWARD = "forward"
    REPLY = "reply"
    """The guard answers; the backend never hears of it."""
    CLOSE = "close"
    """The guard answers 421 and both sides are closed."""
    STARTTLS = "starttls"
    """The guard answers 220, and TLS begins between the client and itself."""


@dataclass(frozen=True)
class Verdict:
    """One decision."""

    action: Action
    reply: Reply | None = None
    """Set for REPLY and STARTTLS; for CLOSE where it is not the usual one."""
    delay: float = 0.0
    """Seconds that this session waits before the verdict is carried out."""
    rule: str = ""
    """FILE:LINE and rule set of the rule that decided; empty if none did."""
    would: Verdict | None = None
    """What would have been decided if nothing were in shadow; None if the same would have come of it."""

    @property
    def outcome(self) -> str:
        """In a word what becomes of the command: `forwarded`, `delayed`, `closed` or a reply code."""
        if self.action is Action.CLOSE:
            return "closed"
        if self.reply is not None:
            return str(self.reply.code)
        return "delayed" if self.delay else "forwarded"


FORWARD: Final = Verdict(Action.FORWARD)
"""What no rule speaks of."""


def beside(actual: Verdict, would: Verdict) -> Verdict:
    """Return what happens with what would have happened; without, if that comes to the same."""
    if would.action is actual.action and would.delay == actual.delay and would.reply == actual.reply:
        return actual if actual.would is None else Verdict(actual.action, actual.reply, actual.delay, actual.rule)
    return Verdict(actual.action, actual.reply, actual.delay, actual.rule, would)


@final
class Facts(Value):
    """What the dialogue knows of the session when a command comes."""

    __slots__ = ("auth_failed", "authenticated", "esmtp", "greeted", "tls", "tls_names")

    def __init__(
        self,
        greeted: bool = False,
        esmtp: bool = False,
        tls: bool = False,
        tls_names: frozenset[str] = _NO_NAMES,
        authenticated: bool = False,
        auth_failed: bool = False,
    ) -> None:
        self.greeted: Final = greeted
        """The backend accepted a HELO or EHLO."""
        self.esmtp: Final = esmtp
        """The last greeting accepted was an EHLO."""
        self.tls: Final = tls
        """The client's connection is encrypted, and the guard is the other end."""
        self.tls_names: Final = tls_names
        """The names in the client's certificate, lower case, if it was verified."""
        self.authenticated: Final = authenticated
        """The backend answered an AUTH with 235, and the mechanism was not ANONYMOUS."""
        self.auth_failed: Final = auth_failed
        """It answered one with 535."""

    def parts(self) -> tuple[object, ...]:
        return self.greeted, self.esmtp, self.tls, self.tls_names, self.authenticated, self.auth_failed

    def greeting(self, esmtp: bool) -> Facts:
        """Return what is known behind a greeting that was accepted."""
        return Facts(True, esmtp, self.tls, self.tls_names, self.authenticated, self.auth_failed)

    def authentication(self, accepted: bool) -> Facts:
        """Return what is known behind a 235 (accepted) or a 535."""
        return Facts(
            self.greeted,
            self.esmtp,
            self.tls,
            self.tls_names,
            self.authenticated or accepted,
            self.auth_failed or not accepted,
        )


NOTHING_KNOWN: Final = Facts()
"""At the beginning of a session in clear."""


class Judge(Protocol):
    """Decides for one client."""

    @property
    def forwards(self) -> frozenset[bytes]:
        """Verbs (upper case) that are forwarded whatever their argument and the facts, so that nobody need ask."""

    def judge(self, command: Command, facts: Facts) -> Verdict:
        """Decide about a well-formed command."""

    def may_forward(self, verb: bytes, facts: Facts) -> bool:
        """Say whether any argument would let `verb` (upper case) through, now or once authenticated."""
