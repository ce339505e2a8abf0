"""The terms of a session: what is settled about it before its first octet.

Contract: data, made from settings and policy for each class of clients.  The defaults are the
strictest that suit every backend.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from .bounds import Bounds
from .budgets import Budgets
from .profiles import DEFAULT, Profile
from .replies import Reply


class BareNewline(Enum):
    """What becomes of an LF without its CR (RFC 5321 2.3.8)."""

    REJECT = "reject"
    NORMALIZE = "normalize"
    """It is forwarded as CRLF."""


class EarlyInput(Enum):
    """What becomes of input that comes before the banner, or behind HELO or EHLO before their reply."""

    HOLD = "hold"
    """It waits for its turn."""
    REJECT = "reject"
    """554 and close, as servers do that look for clients which do not listen."""


class StartTls(Enum):
    """What becomes of STARTTLS (RFC 3207)."""

    HIDDEN = "hidden"
    """It is refused, and kept out of the EHLO reply."""
    OFFERED = "offered"
    """TLS ends at the guard, whatever the backend offers."""
    PASSED = "passed"
    """It is forwarded; behind the backend's 220 nothing can be inspected."""


_BOUNDS: Final = Bounds()


@dataclass(frozen=True)
class Terms:
    """What one client may expect."""

    bounds: Bounds = _BOUNDS
    profile: Profile = DEFAULT
    bare_newline: BareNewline = BareNewline.REJECT
    early_input: EarlyInput = EarlyInput.HOLD
    budgets: Budgets | None = None
    """None where refusals cost nothing."""
    chunking: bool = False
    """BDAT is forwarded to a backend that offers CHUNKING (RFC 3030)."""
    starttls: StartTls = StartTls.HIDDEN
    banner: Reply | None = None
    """In place of the backend's 220."""
    verbs: frozenset[bytes] = frozenset()
    """Verbs that the backend knows besides those of its profile, upper case."""

    def known(self, verb: bytes) -> bool:
        """True if the backend is said to know `verb`."""
        return self.profile.knows(verb) or verb in self.verbs
