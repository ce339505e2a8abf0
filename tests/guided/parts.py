"""The parts of the core that are put together from several: the only place here that knows how."""

from __future__ import annotations

from smtpguard.smtp.answers import Closing
from smtpguard.smtp.dialogue import Dialogue
from smtpguard.smtp.intake import Intake
from smtpguard.smtp.profiles import Profile
from smtpguard.smtp.terms import Terms
from smtpguard.smtp.verdict import Judge


def profile(line: int = 2000) -> Profile:
    """Return a profile without peculiarities; `line` bounds lines of every kind."""
    return Profile("guided", "these tests", line=line, auth=line, response=line)


def lines(bound: int) -> Intake:
    """Return a reader of lines of at most `bound` octets."""
    return Intake(Terms(profile=profile(bound)))


def dialogue(judge: Judge, terms: Terms | None = None) -> Dialogue:
    """Return a session."""
    return Dialogue(judge, Closing("guard.test"), terms or Terms(profile=profile()))
