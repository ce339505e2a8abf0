"""Whose turn it is in a session, and the ways in which the guard itself speaks, waits and ends it.

Contract: `Turns` is the part of a dialogue that knows no grammar and no reply of the backend.  Every
answer of the guard's own, every wait and every end of a session is one of its methods, so that each
costs, logs and closes the same wherever it comes from.  dialogue.py has the theory.
"""

from __future__ import annotations

from . import answers
from .answers import Closing
from .budgets import Account
from .effects import BackendFault, Close, Effect, Judged, OverBudget, Refused, ToClient, Wait
from .grammar import Command, Fault, Malformed, looks_like_auth
from .intake import Intake
from .knowledge import Knowledge
from .phases import AWAITED, MUTE, Awaited, Phase
from .replies import Reply
from .terms import Terms
from .verdict import Facts, Verdict

Pending = tuple[Command, Verdict] | Command | Malformed | Reply
"""What waits: a command that was decided on, a line that was not, an answer."""


class Turns:
    """The state of a session that its answers and its end depend on."""

    __slots__ = (
        "_account", "_chunk_refusal", "_client_finished", "_closing", "_intake", "_known", "_noted", "_only_quit",
        "_out", "_outstanding", "_pending", "_terms", "_waited", "awaited", "awaited_serial", "cut_short", "leaving",
        "phase", "slowed",
    )  # fmt: skip

    def __init__(self, closing: Closing, terms: Terms, facts: Facts | None = None) -> None:
        self._closing = closing
        self._terms = terms
        self._intake = Intake(terms)
        self._known = Knowledge(terms.profile.seven_bit, facts)
        self._account = None if terms.budgets is None else Account(terms.budgets)
        self._out: list[Effect] = []
        self._outstanding = b""  # the verb that the backend owes a reply to
        self._pending: Pending | None = None  # while DELAYED
        self._waited = 0.0  # seconds that the command in hand has waited already, since the client is `slowed`
        self._noted = False  # something that limits may count was reported
        self.slowed = 0.0
        """Seconds that each command waits; the shell sets it."""
        self.leaving = False
        """The client may no longer be here: no further command is read."""
        self._chunk_refusal: Reply | None = None  # what a BDAT is answered with, if not forwarded
        self._only_quit = False  # the backend's banner was a refusal
        self._client_finished = False
        self.cut_short = ""
        """Why the session ended where nothing else in the log says it."""
        self.phase = Phase.BANNER
        self.awaited = Awaited.BANNER
        self.awaited_serial = 0
        """Changes whenever the time-out begins anew."""

    @property
    def over(self) -> bool:
        """True once `Close` was said."""
        return self.phase is Phase.OVER

    @property
    def _inside_message(self) -> bool:
        """The backend has a part of a message, or of a chunk, and waits for the rest."""
        return self.phase is Phase.CONTENT or (self.phase is Phase.CHUNK and not self._chunk_refusal)

    def _answer(self, reply: Reply, verb: bytes) -> None:
        """Send a reply of our own to a command that goes no further; it may cost the client time."""
        # Who was refused an AUTH may go on with the exchange all the same.
        self._known.password_may_come |= verb == b"AUTH"
        if self._account is None:
            self._say(reply)
            return
        cost = self._account.charge(verb)
        if self._account.attack:
            self._out.append(OverBudget(verb, self._account.attack))
        if cost is None:
            self._hang_up(self._closing.too_many, "too many bad commands")
        elif cost > self._waited:
            self._delay(cost - self._waited, reply)
        else:
            self._say(reply)

    def _say(self, reply: Reply) -> None:
        self._out.append(ToClient(reply.octets))
        self._await(Phase.REFUSED if self._only_quit else Phase.COMMAND)

    def _delay(self, seconds: float, pending: Pending) -> None:
        if self._client_finished:
            self._close()  # it sends no more, so there is nothing to slow down: do not keep it
            return
        self._pending = pending
        self._await(Phase.DELAYED)
        self._out.append(Wait(seconds))

    def _refuse(self, malformed: Malformed) -> None:
        fault = malformed.fault
        if not fault.ends_session:
            self._note(Refused(fault.value, malformed.line, False, fault))
            self._known.password_may_come |= looks_like_auth(malformed.line)
            self._answer(answers.SYNTAX, b"")
        elif fault is Fault.OTHER_PROTOCOL:
            self._note(Refused(fault.value, malformed.line, True, fault))
            self._hang_up(answers.NOT_SMTP)
        else:
            where = answers.in_line(fault, malformed.octet, self._intake.lines)
            self._note(Refused(where, malformed.line, True, fault))
            self._hang_up(answers.bad_line(fault, malformed.octet, self._intake.lines))

    def _note(self, event: Judged | Refused) -> None:
        """Report a line of the client's, unless it may be a password."""
        if self._known.password_may_come:
            closed = isinstance(event, Refused) and event.closed
            event = Refused("line behind a refused AUTH", b"", closed)
        self._out.append(event)
        self._noted = True

    def _backend_fault(self, what: str, octets: bytes) -> None:
        self._out.append(BackendFault(what, octets))
        self._hang_up(self._closing.backend_fault)

    def _hang_up(self, reply: Reply, why: str = "") -> None:
        self.cut_short = why
        if self.phase not in MUTE:
            self._out.append(ToClient(reply.octets))
        self._close(linger=self.phase not in MUTE)

    def _close(self, *, linger: bool = False) -> None:
        # A backend that is in DATA, or about to be, must see no orderly end of what it was sent; what is
        # in a tunnel nobody knows.
        abort = self._inside_message or self._outstanding == b"DATA" or self.phase is Phase.TUNNEL
        self._out.append(Close(abort_backend=abort, linger=linger))
        self.phase = Phase.OVER
        self.awaited = Awaited.NOTHING
        self.awaited_serial += 1
        self._intake.drop()

    def _await(self, phase: Phase, awaited: Awaited | None = None) -> None:
        self.phase = phase
        self.awaited = awaited or AWAITED[phase]
        self.awaited_serial += 1

    def _effects(self) -> list[Effect]:
        out, self._out = self._out, []
        return out
