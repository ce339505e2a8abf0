"""One client's way to a backend, where there are several: one after the other, until one greets.

Contract: a `Trial` is the attempt to connect that a session waits for.  Nothing is sent to the client, and nothing of
the client's to a backend, before a backend has greeted; so whoever cannot be reached, closes, refuses for now (4yz)
or keeps silent is left for the next one, and the client sees one banner.  Each is tried once.  The last one's answer
is passed on, whatever it is, and so is a refusal for good (5yz).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.python.failure import Failure

from ..journal.lines import printable
from ..ledger.words import many
from ..net.deadlines import NEVER, Deadlines
from ..smtp.bounds import Bounds
from ..smtp.effects import BackendFault
from ..smtp.replies import ReplyFault, ReplyReader
from .backend import Attempt, Client, Unshowable
from .backend_side import LEAVE_SECONDS, BackendSide
from .blame import is_ours, not_connected
from .member import Member


class NoneUp(Exception):
    """No backend may be used."""


class Waiting(Protocol):
    """Who waits for one of several: a BackendUser (backend_side.py, whose class is compiled, and cannot be a base)."""

    def backend_tried(self, others: bool) -> None:
        """One is tried from now on; while there are `others` its time is limited here, and else by who waits."""

    def backend_connected(self, backend: BackendSide) -> None: ...

    def backend_sent(self, octets: bytes) -> None: ...

    def backend_refused(self, fault: BackendFault) -> None: ...

    def backend_lost(self) -> None: ...


class Trial:
    """Tries backends for one client (smtpguard.backends.backend.Attempt)."""

    __slots__ = ("_bounds", "_client", "_deadlines", "_failed", "_left", "_limits", "_now", "_seconds", "user")

    def __init__(
        self,
        user: Waiting,
        client: Client,
        failed: Callable[[Failure], None],
        members: list[Member],
        deadlines: Deadlines,
        seconds: float,
        bounds: Bounds,
    ) -> None:
        """`members` are tried in that order; each may take `seconds` to greet while there is another."""
        self.user = user
        self._client = client
        self._failed: Callable[[Failure], None] | None = failed
        self._left = members
        self._deadlines = deadlines
        self._seconds = seconds
        self._bounds = bounds
        self._now: _Try | None = None
        self._limits = False
        """It is limited here, and not by the user, how long the one that is tried may take."""

    def begin(self) -> Attempt | None:
        """Begin; the result may be cancelled, and is None if it is over already."""
        self.go_on(Failure(NoneUp("no mail server is up")))
        return None if self._failed is None else self

    def cancel(self) -> None:
        self._failed = None
        trying, self._now = self._now, None
        if trying is not None:
            trying.give_up()

    @property
    def goes_on(self) -> bool:
        """True if there is another one to be tried."""
        while self._left and not self._left[0].usable:
            self._left = self._left[1:]
        return bool(self._left)

    def go_on(self, why: Failure | BackendFault) -> None:
        """Try the next one; if there is none, `why` is what became of the last."""
        self._now = None
        failed = self._failed
        if failed is None:
            return
        if self.goes_on:
            member, self._left = self._left[0], self._left[1:]
            reader = ReplyReader(self._bounds.reply_line, self._bounds.reply)
            self._now = _Try(self, member, self._deadlines, reader)
            self._limits = self.goes_on
            self.user.backend_tried(self._limits)
            self._now.begin(self._client, self._seconds)
            return
        self._failed = None
        if isinstance(why, Failure):
            failed(why)
        else:
            self.user.backend_refused(why)

    def is_the_last(self) -> None:
        """There were others, and are no more: it may take as long as `timeouts` say."""
        if self._limits:
            self._limits = False
            self.user.backend_tried(False)

    def no_other_will_do(self) -> None:
        """The client is one that no backend can be shown."""
        self._left = []

    def settled(self) -> None:
        """One has greeted."""
        self._now = self._failed = None


class _Try:
    """One backend (smtpguard.backends.backend_side.BackendUser)."""

    __slots__ = ("_attempt", "_deadlines", "_member", "_octets", "_reader", "_seconds", "_side", "_trial", "deadline")

    def __init__(self, trial: Trial, member: Member, deadlines: Deadlines, reader: ReplyReader) -> None:
        self._trial: Trial | None = trial
        self._member = member
        self._deadlines = deadlines
        self._reader = reader
        self._octets = bytearray()
        self._attempt: Attempt | None = None
        self._side: BackendSide | None = None
        self._seconds = 0.0
        self.deadline = NEVER
        """See deadlines.py."""

    def begin(self, client: Client, seconds: float) -> None:
        self._seconds = seconds
        self._deadlines.add(self)
        self.deadline = self._deadlines.in_seconds(seconds)
        self._attempt = self._member.connector.begin(self, client, self._not_connected, stays=False)

    def give_up(self) -> None:
        """The client is gone, or has waited long enough."""
        if self._end() is not None:
            self._let_go()

    def _end(self) -> Trial | None:
        """Hear no more of it; return whose try it was, unless it is over."""
        trial, self._trial = self._trial, None
        self._deadlines.discard(self)
        self.deadline = NEVER
        return trial

    def _let_go(self, *, quits: bool = False, abort: bool = False) -> None:
        attempt, self._attempt = self._attempt, None
        side, self._side = self._side, None
        if attempt is not None:
            attempt.cancel()
        if side is None:
            return
        if abort:
            side.transport.abortConnection()
            return
        if quits:
            side.transport.write(b"QUIT\r\n")
        side.leave(LEAVE_SECONDS)

    # -- what can happen -----------------------------------------------------------------------------

    def ring(self) -> None:
        self.deadline = NEVER
        if self._trial is None:
            return
        if not self._trial.goes_on:
            self._trial.is_the_last()
            return
        why = f"no banner within {many(f'{self._seconds:g}', 'second')}"
        away = self._side is None
        trial = self._end()
        self._let_go(abort=True)
        self._member.failed_session(why, away=away)
        if trial is not None:
            trial.go_on(BackendFault(why, b""))

    def _not_connected(self, failure: Failure) -> None:
        trial = self._end()
        if trial is None:
            return
        self._attempt = None
        if failure.check(Unshowable):
            trial.no_other_will_do()
        elif not is_ours(failure):
            self._member.failed_session(not_connected(failure), away=True)
        trial.go_on(failure)

    def backend_connected(self, backend: BackendSide) -> None:
        if self._trial is None:
            backend.transport.abortConnection()
            return
        self._attempt = None
        self._side = backend

    def backend_refused(self, fault: BackendFault) -> None:
        self._fails(fault)

    def backend_lost(self) -> None:
        self._side = None
        self._fails(BackendFault("connection lost before the banner", bytes(self._octets)))

    def _fails(self, fault: BackendFault) -> None:
        trial = self._end()
        if trial is not None:
            self._side = None  # it is closed
            self._member.failed_session(fault.what)
            trial.go_on(fault)

    def backend_sent(self, octets: bytes) -> None:
        if self._trial is None:
            return
        self._octets += octets
        self._reader.append(octets)
        try:
            reply = self._reader.take()
        except ReplyFault as fault:
            self._judged(f"{fault.what} for a banner", passes=False, quits=False)
            return
        if reply is None:
            return
        code = reply.code
        if code == 220:
            self._member.passed_session()
            self._judged("", passes=True, quits=False)
        elif code >= 500:
            # About this client, or about everybody: a check finds that out.
            self._member.doubt()
            self._judged("", passes=True, quits=False)
        else:
            self._judged(f"banner: {printable(reply.octets.strip())}", passes=False, quits=code != 421)

    def _judged(self, why: str, *, passes: bool, quits: bool) -> None:
        trial = self._end()
        if trial is None:
            return
        if why:
            self._member.failed_session(why)
        served = self._member.serves
        if served and (passes or not trial.goes_on):
            trial.settled()
            side: Any = self._side
            self._side = None
            side.hand_to(trial.user)
            trial.user.backend_sent(bytes(self._octets))
            return
        self._let_go(quits=quits)
        trial.go_on(BackendFault(why or "the relay check has found it wanting meanwhile", b""))
