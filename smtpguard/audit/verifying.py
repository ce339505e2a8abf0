"""What an answer to VRFY or EXPN gives away, and whether a hidden VRFY was heard.

Contract: pure.  An answer tells if it says of a name that it exists or that it does not (RFC 5321
3.5.3: 250, 251, 550, 551, 553); 252 and a refusal of the command itself tell nothing.
"""

from __future__ import annotations

import re
from typing import Final

from .conversation import Answer
from .findings import Verdict

# A 55x may be about the name or about who asks.  RFC 3463 3.2: 5.1.x speaks of the address.
_ABOUT_NAME: Final = re.compile(
    rb"(?i)user unknown|unknown (?:user|recipient|local)|no such|not found|unrouteable|undeliverable|does not exist"
    rb"|doesn't exist|invalid (?:mailbox|recipient|user)|mailbox unavailable|ambiguous|not a (?:valid|known)"
)


def tells(answer: Answer) -> bool:
    """True if the answer says whether a name exists."""
    if answer.code in (250, 251):
        return True
    if answer.code not in (550, 551, 553):
        return False
    enhanced = answer.enhanced
    if enhanced:
        return enhanced.startswith("5.1.")
    return _ABOUT_NAME.search(answer.text) is not None


def is_verifying(answer: Answer) -> bool:
    """True for an answer that only VRFY or EXPN gets."""
    return answer.code == 252 or tells(answer)


def comparable(answer: Answer, name: str) -> bytes:
    """Return what is left of an answer when the name that was asked for is taken out."""
    return re.sub(re.escape(name.encode("ascii")), b"NAME", answer.octets, flags=re.IGNORECASE)


def hidden(answers: list[Answer], plain: Answer, expected: int) -> tuple[Verdict, str]:
    """Judge a VRFY in a form that is none, by what it got beside the plain form; and say why.

    `expected` replies are due to a server that reads the octets as what stands before the VRFY.
    """
    heard = [one for one in answers[expected:] if is_verifying(one)]
    told = [one for one in heard if tells(one)]
    if not tells(plain) and (told or any(one.code != plain.code for one in heard)):
        return Verdict.HOLE, "the plain form is refused, this one is answered"
    if told:
        return (Verdict.WARNING if expected else Verdict.NOTE), "answered like the plain form"
    if heard:
        return Verdict.NOTE, "read as a VRFY, and refused like the plain form"
    if len(answers) > max(expected, 1):
        return Verdict.NOTE, "more than one reply to one line"
    return Verdict.OK, ""
