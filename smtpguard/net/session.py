"""One session on the wire: two Twisted protocols, one dialogue between them.

Contract: `ClientSide` (client.py) and `BackendSide` (backend_side.py) hand every event to the `Session`,
which asks the dialogue and performs the effects; nothing else writes to either transport while it lasts.
Flow control runs both ways: a peer that does not read stops the other side, and itself, from being
read; so what a session holds is bounded by the transports' buffers and `limits.queue`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectBindError
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..config.settings import Timeouts
from ..journal.journal import SessionJournal
from ..smtp.dialogue import Dialogue
from ..smtp.effects import (
    Authenticated,
    BackendFault,
    Close,
    Effect,
    Judged,
    Normalized,
    OverBudget,
    Refused,
    StartTls,
    ToBackend,
    ToClient,
    Uninspected,
    Wait,
)
from ..smtp.phases import Awaited
from ..tls.engine import TlsEngine
from .backend import Unshowable
from .backend_side import BackendSide, BackendUser
from .client import names_of, verified_names
from .transparent import NoPortLeft

Connect = Callable[[BackendUser], Deferred[Any]]


class Secureable(Protocol):
    """The client's side, as far as a session needs it."""

    transport: Any

    def begin_tls(self) -> None:
        """Begin TLS; `Session.client_secured` or `client_insecure` follows."""


# Reasons not to read the client, as bits.
_QUEUE: Final = 1
"""`limits.queue` is used up."""
_BACKEND_FULL: Final = 2
_CLIENT_FULL: Final = 4


@implementer(IPushProducer)
class _Throttle:
    """Is told by one transport that it is full, and says so to the session."""

    def __init__(self, change: Callable[[bool], None]) -> None:
        self._change = change

    def pauseProducing(self) -> None:
        self._change(True)

    def resumeProducing(self) -> None:
        self._change(False)

    def stopProducing(self) -> None:
        """The transport is gone; its protocol's connectionLost says the same."""


class Session:
    """Performs the effects of one dialogue."""

    _log: Final = Logger()

    def __init__(
        self,
        dialogue: Dialogue,
        journal: SessionJournal,
        timeouts: Timeouts,
        clock: IReactorTime,
        client: Secureable,
        ended: Callable[[Session], None],
    ) -> None:
        self._dialogue = dialogue
        self._journal = journal
        self._clock = clock
        self._client = client
        self._ended = ended
        self._timeouts = timeouts
        self._seconds: dict[Awaited, float] = {
            Awaited.BANNER: timeouts.banner,
            Awaited.COMMAND: timeouts.command,
            Awaited.REPLY: timeouts.reply,
            Awaited.DATA_REPLY: timeouts.data_reply,
            Awaited.DATA_BLOCK: timeouts.data_block,
            Awaited.DATA_END: timeouts.data_end,
            Awaited.CHUNK: timeouts.message,
            Awaited.TLS: timeouts.handshake,
            Awaited.TUNNEL: timeouts.command,
        }
        self.backend_away: Callable[[bool], None] = lambda _gone: None
        """Told that no connection to the backend could be made (True), or that it broke (False)."""
        self._began = clock.seconds()
        self._backend: BackendSide | None = None
        self._connecting: Deferred[Any] | None = None
        self._client_gone = False
        self._not_reading = 0
        self._serial = -1
        self._deadline = 0.0
        self._timer: IDelayedCall | None = None
        self._delay: IDelayedCall | None = None

    # -- events ------------------------------------------------------------------------------------

    def begin(self, connect: Connect) -> None:
        """Connect to the backend; the client's input is held until it has spoken."""
        self._client.transport.registerProducer(_Throttle(self._client_full), True)
        self._arm()
        self._connecting = connect(self)
        self._connecting.addErrback(self._not_connected)

    def backend_connected(self, backend: BackendSide) -> None:
        self._connecting = None
        self._backend = backend
        backend.transport.registerProducer(_Throttle(self._backend_full), True)

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        if not self._dialogue.over:  # else it was given up
            self._journal.backend_fault(BackendFault(f"cannot connect: {failure.getErrorMessage()}", b""))
            if not failure.check(Unshowable, ConnectBindError, NoPortLeft):  # these are about this one client
                self.backend_away(True)
            self._step(self._dialogue.backend_unreachable)

    def backend_refused(self, fault: BackendFault) -> None:
        if not self._dialogue.over:
            self._journal.backend_fault(fault)
            self._step(self._dialogue.backend_unreachable)

    def client_secured(self, engine: TlsEngine) -> None:
        self._journal.secured(engine.version, engine.cipher, engine.bits, verified_names(engine))
        self._step(self._dialogue.tls_established, names_of(engine))

    def client_insecure(self, why: str) -> None:
        if not self._dialogue.over:
            self._journal.insecure(why)
        self._step(self._dialogue.client_lost)

    def client_sent(self, octets: bytes) -> None:
        self._step(self._dialogue.from_client, octets)

    def client_finished(self) -> None:
        if self._dialogue.over:
            self._client.transport.loseConnection()  # it has read what there was, or does not want to
        else:
            self._step(self._dialogue.client_finished)

    def client_lost(self) -> None:
        self._client_gone = True
        self._step(self._dialogue.client_lost)
        self._finish()

    def backend_sent(self, octets: bytes) -> None:
        self._step(self._dialogue.from_backend, octets)

    def backend_lost(self) -> None:
        self._backend = None
        if not self._dialogue.over:
            self._step(self._dialogue.backend_lost)
            if self._dialogue.broken_off:
                self.backend_away(False)

    def drain(self) -> None:
        """End as soon as no transaction is in progress."""
        self._step(self._dialogue.drain)

    def drain_or_stop(self) -> None:
        """The same, but where nobody can see what is in progress, now."""
        self._step(self._dialogue.stop if self._dialogue.uninspected else self._dialogue.drain)

    def stop(self) -> None:
        """End now."""
        self._step(self._dialogue.stop)

    # -- effects -----------------------------------------------------------------------------------

    def _step(self, event: Callable[..., list[Effect]], *arguments: Any) -> None:
        try:
            effects = event(*arguments)
        except Exception:  # noqa: BLE001
            # Our bug, never the peers': fail closed, and leave a traceback for us.
            self._log.failure("dialogue failed", failure=Failure())
            effects = self._dialogue.fail()
        self._perform(effects)
        if not self._dialogue.over:
            self._set(_QUEUE, not self._dialogue.hungry)
            self._arm()

    def _perform(self, effects: list[Effect]) -> None:
        to_client: list[bytes] = []
        to_backend: list[bytes] = []
        secure = False
        close: Close | None = None
        for effect in effects:
            match effect:
                case ToClient(octets):
                    to_client.append(octets)
                case ToBackend(octets):
                    to_backend.append(octets)
                case Judged():
                    self._journal.judged(effect)
                case Refused():
                    self._journal.refused(effect)
                case Normalized():
                    self._journal.normalized(effect)
                case OverBudget():
                    self._journal.over_budget(effect)
                case Authenticated():
                    self._journal.authenticated(effect)
                case Uninspected():
                    self._journal.uninspected()
                case StartTls():
                    secure = True
                case BackendFault():
                    self._journal.backend_fault(effect)
                case Wait(seconds):
                    self._delay = self._clock.callLater(seconds, self._delay_over)
                case Close():
                    close = effect
        if to_client and not self._client_gone:
            self._client.transport.write(b"".join(to_client))
        if to_backend and self._backend is not None:
            self._backend.transport.writeSequence(to_backend)
        if secure and not self._client_gone:
            self._client.begin_tls()
        if close is not None:
            self._close(close)

    def _delay_over(self) -> None:
        self._delay = None
        self._step(self._dialogue.delay_over)

    def _close(self, close: Close) -> None:
        for timer in (self._timer, self._delay):
            if timer is not None and timer.active():
                timer.cancel()
        self._timer = self._delay = None
        if self._connecting is not None:
            self._connecting.cancel()
        if self._backend is not None:
            backend, self._backend = self._backend, None
            backend.transport.unregisterProducer()
            if close.abort_backend:
                backend.transport.abortConnection()
            else:
                backend.leave(self._timeouts.linger)
        if self._client_gone:
            return
        transport = self._client.transport
        transport.unregisterProducer()
        self._not_reading = 0
        transport.resumeProducing()
        if close.linger:
            # A close with input unread sends a reset, and that may overtake the last reply.
            transport.loseWriteConnection()
            self._timer = self._clock.callLater(self._timeouts.linger, transport.abortConnection)
        else:
            transport.loseConnection()
            self._timer = self._clock.callLater(self._timeouts.command, transport.abortConnection)

    def _finish(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        dialogue = self._dialogue
        self._journal.ended(dialogue.tally.by_verb, self._clock.seconds() - self._began, dialogue.cut_short)
        self._ended(self)

    # -- time --------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Begin the time-out of what is awaited now.

        There is one timer a session, and it is moved only when it would ring too late: when it rings
        early, it is set to the rest.
        """
        if self._serial == self._dialogue.awaited_serial:
            return
        self._serial = self._dialogue.awaited_serial
        seconds = self._seconds.get(self._dialogue.awaited)
        if seconds is None:
            self._deadline = float("inf")
            return
        self._deadline = self._clock.seconds() + seconds
        if self._timer is None:
            self._timer = self._clock.callLater(seconds, self._ring)
        elif self._timer.getTime() > self._deadline:
            self._timer.reset(seconds)

    def _ring(self) -> None:
        self._timer = None
        left = self._deadline - self._clock.seconds()
        if left == float("inf"):
            return  # armed again when something is awaited
        if left > 0:
            self._timer = self._clock.callLater(left, self._ring)
        else:
            self._step(self._dialogue.timed_out)

    # -- flow control ------------------------------------------------------------------------------

    def _client_full(self, full: bool) -> None:
        self._set(_CLIENT_FULL, full)
        if self._backend is not None:
            _read(self._backend.transport, not full)

    def _backend_full(self, full: bool) -> None:
        self._set(_BACKEND_FULL, full)

    def _set(self, why: int, on: bool) -> None:
        before = self._not_reading
        self._not_reading = before | why if on else before & ~why
        if bool(before) != bool(self._not_reading) and not self._client_gone:
            _read(self._client.transport, not self._not_reading)


def _read(transport: Any, on: bool) -> None:
    if on:
        transport.resumeProducing()
    else:
        transport.pauseProducing()
