"""Budgets: how often one session may be refused before it is slowed, and then closed.

Contract: `Account.charge` is told of every command that the guard itself answers with a refusal, and
says what that costs: seconds to wait, or None once the session is to be closed.  What the backend
answers costs nothing.  The ladder is sendmail's (srvrsmtp.c, `checksmtpattack`): the n-th command of
a kind waits a second and each further one twice as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DOUBLINGS: Final = 8
"""After so many the session is closed (sendmail's MAXSHIFT)."""
LONGEST: Final = 240.0
"""Seconds that one command waits at most (sendmail's MAXTIMEOUT); clients wait 300 for a reply."""


@dataclass(frozen=True)
class Budgets:
    """Commands refused in one session, by kind; 0 is no budget.  Defaults are sendmail 8.17's."""

    bad: int = 25
    """Unknown verbs and lines that are no commands (MAXBADCOMMANDS); the next one closes, without a wait."""
    noop: int = 20
    """NOOP and VERB (MaxNOOPCommands)."""
    helo: int = 3
    """HELO and EHLO (MAXHELOCOMMANDS)."""
    vrfy: int = 6
    """VRFY and EXPN together (MAXVRFYCOMMANDS)."""
    etrn: int = 8
    """ETRN (MAXETRNCOMMANDS)."""
    refused: int = 1000
    """All of these, and MAIL, RCPT, DATA and the like; no ladder: the next one closes."""


SENDMAIL: Final = Budgets()
UNLESS_SAID: Final = Budgets(bad=0, noop=0, helo=0, vrfy=0, etrn=0)
"""Where a policy says nothing: a mail program outside that verifies every recipient gets its answers."""

_KIND: Final = {
    b"VRFY": "vrfy",
    b"EXPN": "vrfy",
    b"ETRN": "etrn",
    b"NOOP": "noop",
    b"VERB": "noop",
    b"HELO": "helo",
    b"EHLO": "helo",
    # A site may refuse these to a mailing of any size; it is not an attack.
    **dict.fromkeys((b"MAIL", b"RCPT", b"DATA", b"RSET", b"QUIT", b"AUTH", b"STARTTLS", b"BDAT"), ""),
}


class Account:
    """What one session has spent."""

    __slots__ = ("_budgets", "_counts", "_refused", "attack")

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._counts: dict[str, int] = {}
        self._refused = 0
        self.attack = 0
        """The count of the last charge if that was the first over its budget, else 0; for the log."""

    def charge(self, verb: bytes) -> float | None:
        """Count one refusal; `verb` in upper case, empty for a line that has none."""
        self.attack = 0
        self._refused += 1
        if 0 < self._budgets.refused < self._refused:
            self.attack = self._refused
            return None
        kind = _KIND.get(verb, "bad")
        budget = getattr(self._budgets, kind) if kind else 0
        if not budget:
            return 0.0
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        over = count - budget
        if kind == "bad":
            self.attack = count if over == 1 else 0
            return 0.0 if over <= 0 else None
        self.attack = count if over == 0 else 0
        if over < 0:
            return 0.0
        return min(2.0**over, LONGEST) if over <= DOUBLINGS else None
