"""Deeds: what a client did that limits count and incidents tell of.

Contract: values without I/O; `shown` has gone through smtpguard.journal.lines.printable, so that it may stand
wherever text may.  They cross between processes as JSON arrays (`as_row`, `from_row`).
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from attrs import frozen


class Kind(Enum):
    """What was done.  The values are the words of a policy's `limits` (smtpguard.policy.limits)."""

    __hash__ = object.__hash__  # by identity: an Enum's own is made from the name, each time anew

    CONNECTION = "connections"
    """A connection was made."""
    COMMAND = "commands"
    """A command line was sent."""
    PROBE = "probes"
    """VRFY, EXPN, an old hole, or what else a rule refuses."""
    MALFORMED = "malformed"
    """A line outside the grammar, or out of turn."""
    RECIPIENT = "recipients"
    """A RCPT that the backend refused for good (5yz): somebody guesses names."""
    AUTH = "auth"
    """An AUTH that the backend refused."""
    SLOW = "slow"
    """A session that was ended since too little came in too much time."""


@frozen
class Deed:
    """One of them, or several that are alike."""

    kind: Kind
    address: str
    """Peer.text of the client, which has an address (Peer.family is not 0)."""
    when: float
    """Seconds since 1970 (time.time)."""
    session: str = ""
    verb: str = ""
    """Of smtpguard.smtp.verbs.KNOWN_VERBS, or UNKNOWN, or empty where there is none."""
    shown: str = ""
    """The line, or the name that was tried, printable and at most SHOWN_OCTETS long."""
    verdict: str = ""
    """What came of it: a reply code, `closed`, `forwarded`."""
    rule: str = ""
    times: int = 1

    def as_row(self) -> list[Any]:
        """Return what JSON can carry."""
        return [
            self.kind.value, self.address, self.when, self.session, self.verb, self.shown, self.verdict, self.rule,
            self.times,
        ]  # fmt: skip

    @staticmethod
    def from_row(row: list[Any]) -> Deed:
        """Read it back; raises ValueError or TypeError on anything else."""
        kind, *rest = row
        return Deed(Kind(kind), *rest)
