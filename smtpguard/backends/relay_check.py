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
from twisted.internet.defer import Deferred, maybeDeferred

from ..smtp.bounds import Bounds
from ..smtp.effects import BackendFault
from ..smtp.replies import BackendReply, ReplyFault, ReplyReader
from .backend_side import LEAVE_SECONDS, BackendSide, BackendUser
from .blame import not_connected

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
    timer = reactor.callLater(ASK_SECONDS, asking.give_up, f"no answer within {ASK_SECONDS:.0f} seconds")

    def settled(answer: Answer) -> Answer:
        if timer.active():
            timer.cancel()
        connecting.cancel()  # of no effect on a connection that was made
        return answer

    connecting = maybeDeferred(connect, asking)
    connecting.addErrback(lambda failure: asking.give_up(not_connected(failure)))
    return asking.answer.addCallback(settled)


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


class _Asking:
    def __init__(self, host: str, recipient: str) -> None:
        bounds = Bounds()
        self.answer: Deferred[Answer] = Deferred()
        self._recipient = recipient
        self._reader = ReplyReader(bounds.reply_line, bounds.reply)
        self._commands = [f"HELO {host}", "MAIL FROM:<>", f"RCPT TO:<{recipient}>", "RSET", "QUIT"]
        self._asked = "the connection"
        self._source = ""
        self._reached = self._greeted = False
        self._found: tuple[Relaying, str] | None = None
        self._backend: BackendSide | None = None

    def backend_connected(self, backend: BackendSide) -> None:
        if self.answer.called:
            backend.transport.abortConnection()
            return
        self._backend = backend
        self._reached = True
        self._source = getattr(backend.transport.getHost(), "host", "")

    def backend_refused(self, fault: BackendFault) -> None:
        self.give_up(fault.what)

    def backend_sent(self, octets: bytes) -> None:
        self._reader.append(octets)
        try:
            while (reply := self._reader.take()) is not None:
                self._replied(reply)
        except ReplyFault as fault:
            self.give_up(f"{fault.what} to {self._asked}")

    def backend_lost(self) -> None:
        self._backend = None
        self.give_up(f"connection lost after {self._asked}")

    def _replied(self, reply: BackendReply) -> None:
        if self._reader.pending:  # it would be taken for the answer to what is asked next
            self.give_up(f"surplus reply behind that to {self._asked}")
            return
        self._greeted |= reply.code == 220
        said = reply.octets.decode("ascii", "backslashreplace").strip()
        if self._found is None and (reply.code >= 400 or self._asked.startswith("RCPT")):
            self._found = self._judge(reply.code, said), said
            self._commands = ["RSET", "QUIT"] if self._asked.startswith("RCPT") else ["QUIT"]
        if self._commands:
            self._asked = self._commands.pop(0)
            if self._backend is not None:
                self._backend.transport.write(self._asked.encode("ascii") + b"\r\n")
        else:
            self.give_up("")

    def _judge(self, code: int, said: str) -> Relaying:
        if code < 300:
            return Relaying.RELAYS
        rcpt = self._asked.startswith("RCPT")
        # The recipient may be quoted, and its name must not decide.
        if (rcpt or self._asked.startswith("MAIL")) and _means_no(code, said.replace(self._recipient, ""), rcpt):
            return Relaying.REFUSES
        return Relaying.UNKNOWN

    def give_up(self, why: str) -> None:
        """End the conversation, and report what was found before; `why` if that is nothing."""
        if not self.answer.called:
            relaying, said = self._found or (Relaying.UNKNOWN, why)
            if self._backend is not None:
                self._backend.leave(LEAVE_SECONDS)
            self.answer.callback(Answer(relaying, said, self._source, not self._reached, self._greeted))
