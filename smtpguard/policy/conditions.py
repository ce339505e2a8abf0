"""The conditions of a rule that can change within a session.

Contract: pure.  `holds` says whether a condition is met by a command, `could_hold` what can be said before its argument
is known and before an AUTH that may yet come: an EHLO reply offers what the policy might forward.  What holds for a
whole connection is settled by `Rule.is_for` (rules.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import Final

from ..smtp.grammar import Command
from ..smtp.verdict import Facts


class Match(Enum):
    """Whether something applies to a verb of which only the name is known."""

    NO = 0
    MAYBE = 1
    YES = 2


class Condition:
    """One condition."""

    def holds(self, command: Command, facts: Facts) -> bool:
        """Decide for a command."""
        raise NotImplementedError

    def could_hold(self, facts: Facts) -> Match:
        """Decide as far as `facts` go, none of which is lost again in clear; what nothing can change is YES or NO."""
        raise NotImplementedError


class Greeted(Condition):
    """HELO or EHLO was accepted, or was not."""

    def __init__(self, wanted: bool) -> None:
        self.wanted: Final = wanted

    def holds(self, command: Command, facts: Facts) -> bool:
        return facts.greeted is self.wanted

    def could_hold(self, facts: Facts) -> Match:
        return Match.YES if facts.greeted is self.wanted else Match.NO


class Esmtp(Condition):
    """The greeting was EHLO, or was not."""

    def __init__(self, wanted: bool) -> None:
        self.wanted: Final = wanted

    def holds(self, command: Command, facts: Facts) -> bool:
        return facts.esmtp is self.wanted

    def could_hold(self, facts: Facts) -> Match:
        return Match.YES if facts.esmtp is self.wanted else Match.NO


class Tls(Condition):
    """The client's connection is encrypted, or is not."""

    def __init__(self, wanted: bool) -> None:
        self.wanted: Final = wanted

    def holds(self, command: Command, facts: Facts) -> bool:
        return facts.tls is self.wanted

    def could_hold(self, facts: Facts) -> Match:
        return Match.YES if facts.tls is self.wanted else Match.NO


class TlsName(Condition):
    """A verified name of the client fits a pattern."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern: Final = pattern

    def holds(self, command: Command, facts: Facts) -> bool:
        return any(map(self.pattern.fullmatch, facts.tls_names))

    def could_hold(self, facts: Facts) -> Match:
        return Match.YES if any(map(self.pattern.fullmatch, facts.tls_names)) else Match.NO


class Authenticated(Condition):
    """AUTH has succeeded, or has not."""

    def __init__(self, wanted: bool) -> None:
        self.wanted: Final = wanted

    def holds(self, command: Command, facts: Facts) -> bool:
        return facts.authenticated is self.wanted

    def could_hold(self, facts: Facts) -> Match:
        return _for_good(facts.authenticated, self.wanted)


class AuthFailed(Condition):
    """AUTH has failed in this session, or has not."""

    def __init__(self, wanted: bool) -> None:
        self.wanted: Final = wanted

    def holds(self, command: Command, facts: Facts) -> bool:
        return facts.auth_failed is self.wanted

    def could_hold(self, facts: Facts) -> Match:
        return _for_good(facts.auth_failed, self.wanted)


class Argument(Condition):
    """The command's argument fits a pattern; blanks around it do not count, and none is an empty one."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self.pattern: Final = pattern

    def holds(self, command: Command, facts: Facts) -> bool:
        return self.pattern.fullmatch((command.argument or b"").strip(b" ")) is not None

    def could_hold(self, facts: Facts) -> Match:
        return Match.MAYBE


def _for_good(is_so: bool, wanted: bool) -> Match:
    """What has come about stays; what has not may."""
    if not is_so:
        return Match.MAYBE
    return Match.YES if wanted else Match.NO


def together(conditions: Iterable[Condition], facts: Facts) -> Match:
    """Return what can be said of all of them at once."""
    found = Match.YES
    for condition in conditions:
        match = condition.could_hold(facts)
        if match is Match.NO:
            return Match.NO
        if match is Match.MAYBE:
            found = Match.MAYBE
    return found
