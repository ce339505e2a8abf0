"""A conversation of the guard's own with a backend: commands, each said when the one before has its reply.

Contract: `converse` makes one connection, and its result is what went wrong, in every case and in time; empty if all
was said and replied to, or the backend closed behind the last command.  What a reply means, a `Conversation` says.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from ..smtp.bounds import Bounds
from ..smtp.effects import BackendFault
from ..smtp.replies import BackendReply, ReplyFault, ReplyReader
from .backend_side import LEAVE_SECONDS, BackendSide, BackendUser
from .blame import is_ours, not_connected

BANNER: Final = "the connection"
"""What is asked first, and replied to by a banner."""


def converse(
    reactor: Any,
    connect: Callable[[BackendUser], Deferred[Any]],
    conversation: Conversation,
    seconds: float,
    late: str,
) -> Deferred[str]:
    """Have it; `late` is what went wrong if it takes longer."""
    timer = reactor.callLater(seconds, conversation.end, late)

    def settled(why: str) -> str:
        if timer.active():
            timer.cancel()
        connecting.cancel()  # of no effect on a connection that was made
        return why

    connecting = maybeDeferred(connect, conversation)
    connecting.addErrback(conversation.not_connected)
    return conversation.ended.addCallback(settled)


class Conversation(ABC):
    """What is said, and what was heard (a smtpguard.backends.backend_side.BackendUser)."""

    quits_unasked: ClassVar[bool] = True
    """Whether a connection on which nothing was asked is closed in order; it is reset otherwise."""

    def __init__(self, commands: list[str]) -> None:
        bounds = Bounds()
        self.ended: Deferred[str] = Deferred()
        self.commands = commands
        """What is still to be said."""
        self.asked = BANNER
        """What was said last."""
        self.source = ""
        """The address that the backend sees."""
        self.reached = False
        """Whether there was a connection."""
        self.ours = False
        """Whether there was none by this host's fault."""
        self._reader = ReplyReader(bounds.reply_line, bounds.reply)
        self._backend: BackendSide | None = None

    @abstractmethod
    def replied(self, reply: BackendReply) -> str:
        """Take the reply to what was asked; return what is wrong with it, which ends the conversation."""

    def surplus(self) -> str:
        """Return what is wrong if there is more than one reply: it would be taken for that to what is asked next."""
        return f"surplus reply behind that to {self.asked}" if self._reader.pending else ""

    def end(self, why: str) -> None:
        """End it, unless it has ended."""
        if self.ended.called:
            return
        backend, self._backend = self._backend, None
        if backend is not None:
            if not why or self.asked != BANNER or self.quits_unasked:
                backend.leave(LEAVE_SECONDS)
            else:
                backend.transport.abortConnection()
        self.ended.callback(why)

    def not_connected(self, failure: Failure) -> None:
        self.ours = is_ours(failure)
        self.end(not_connected(failure))

    # -- smtpguard.backends.backend_side.BackendUser -------------------------------------------------

    def backend_connected(self, backend: BackendSide) -> None:
        if self.ended.called:
            backend.transport.abortConnection()
            return
        self._backend = backend
        self.reached = True
        self.source = getattr(backend.transport.getHost(), "host", "")

    def backend_refused(self, fault: BackendFault) -> None:
        self.end(fault.what)

    def backend_sent(self, octets: bytes) -> None:
        self._reader.append(octets)
        try:
            while not self.ended.called and (reply := self._reader.take()) is not None:
                self._go_on(self.replied(reply) or self.surplus())
        except ReplyFault as fault:
            self.end(f"{fault.what} to {self.asked}")

    def backend_lost(self) -> None:
        self._backend = None
        # Who was told to QUIT may close without a word.
        self.end(f"connection lost after {self.asked}" if self.commands else "")

    # ------------------------------------------------------------------------------------------------

    def _go_on(self, why: str) -> None:
        if why or not self.commands:
            self.end(why)
            return
        self.asked = self.commands.pop(0)
        if self._backend is not None:
            self._backend.transport.write(self.asked.encode("ascii") + b"\r\n")
