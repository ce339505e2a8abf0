"""Asking the backend whether it would relay for outsiders, as it sees them through the guard.

Contract: `ask` makes one connection, as the guard makes it for a client, and reports; it delivers
nothing and leaves with RSET and QUIT.  An inline proxy makes every client look like the guard's own
host, and a stock sendmail relays for that one: without this question, a guard in front of it is an
open relay.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred

from ..smtp.replies import BackendReply
from .backend_side import BackendUser
from .conversation import Conversation, converse

ASK_SECONDS: Final = 60.0
"""For the whole conversation; sendmail may look names up before it answers."""


class Relaying(Enum):
    """What the backend does with mail from outside to outside."""

    REFUSES = "refuses"
    RELAYS = "relays"
    UNKNOWN = "unknown"


@frozen
class Answer:
    """What was found, and in the backend's words."""

    relaying: Relaying
    said: str
    source: str = ""
    """The address that the backend saw."""
    away: bool = False
    """True if there was no connection at all."""
    greeted: bool = False
    """True if there was a 220 banner."""


def ask(reactor: Any, connect: Callable[[BackendUser], Deferred[Any]], host: str, recipient: str) -> Deferred[Answer]:
    """Ask; the result is an Answer in every case, and the conversation is over when it comes."""
    asking = _Asking(host, recipient)
    late = f"no answer within {ASK_SECONDS:.0f} seconds"
    return converse(reactor, connect, asking, ASK_SECONDS, late).addCallback(asking.answer)


# sendmail: 550 5.7.1 Relaying denied.  Postfix: 554 5.7.1 Relay access denied.  Exim: 550 relay not permitted.
# qmail: 553 not in my list of allowed rcpthosts (#5.7.1).  OpenSMTPD: 550 Invalid recipient.
_NO: Final = re.compile(r"\brelay|rcpthosts|\binvalid recipient", re.IGNORECASE)
# A stock Postfix puts off what it will never take (defer_unauth_destination): 454 4.7.1 <...>: Relay access denied.
_NOT_NOW: Final = re.compile(r"\b4\.7\.1\b.*\brelay access denied", re.IGNORECASE)
# About who asks and not about what is asked: no name for the address, a list that it is on, a HELO that is not liked,
# an access map that rejects it (sendmail: 550 5.7.1 Access denied).
_THE_CLIENT: Final = re.compile(
    r"\b5\.7\.(?:[2-9]|[1-9][0-9]+)\b|\bclient\b|\bhelo\b|\bblock|\blist(?:ed)?\b|\breputation\b|\bhostname\b|\bdns"
    r"|\baccess denied\b",
    re.IGNORECASE,
)
_OTHER_REASON: Final = re.compile(r"\b5\.[1-6]\.\d")


def _means_no(code: int, said: str, rcpt: bool) -> bool:
    """True if a refusal is about relaying.

    A 5yz may also mean that the recipient's domain takes no mail (5.1.x), that HELO was not liked (504,
    5.5.x), or that the address that asks has no name or is on a list (5.7.25, `blocked`); the same
    server may relay for everybody who asks better.
    """
    if code == 530:
        return True
    if not rcpt:
        return False
    if code == 454:
        return _NOT_NOW.search(said) is not None
    if code < 500:
        return False
    if _NO.search(said) is not None:
        return True
    about_else = _THE_CLIENT.search(said) is not None or _OTHER_REASON.search(said) is not None
    return code in (550, 551, 553, 554) and not about_else


class _Asking(Conversation):
    def __init__(self, host: str, recipient: str) -> None:
        super().__init__([f"HELO {host}", "MAIL FROM:<>", f"RCPT TO:<{recipient}>", "RSET", "QUIT"])
        self._recipient = recipient
        self._greeted = False
        self._found: tuple[Relaying, str] | None = None

    def replied(self, reply: BackendReply) -> str:
        if surplus := self.surplus():  # then it is not known which of them is the answer
            return surplus
        self._greeted |= reply.code == 220
        said = reply.octets.decode("ascii", "backslashreplace").strip()
        if self._found is None and (reply.code >= 400 or self.asked.startswith("RCPT")):
            self._found = self._judge(reply.code, said), said
            self.commands = ["RSET", "QUIT"] if self.asked.startswith("RCPT") else ["QUIT"]
        return ""

    def _judge(self, code: int, said: str) -> Relaying:
        if code < 300:
            return Relaying.RELAYS
        rcpt = self.asked.startswith("RCPT")
        # The recipient may be quoted, and its name must not decide.
        if (rcpt or self.asked.startswith("MAIL")) and _means_no(code, said.replace(self._recipient, ""), rcpt):
            return Relaying.REFUSES
        return Relaying.UNKNOWN

    def answer(self, why: str) -> Answer:
        """Return what was found before the end; `why` if that is nothing."""
        relaying, said = self._found or (Relaying.UNKNOWN, why)
        return Answer(relaying, said, self.source, not self.reached, self._greeted)
