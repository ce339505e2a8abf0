"""One session on the wire: two Twisted protocols, one dialogue between them.

Contract: `ClientSide` (client.py) and `BackendSide` (backend_side.py) hand every event to the `Session`,
which asks the dialogue and performs the effects; nothing else writes to either transport while it lasts.
Flow control runs both ways: a peer that does not read stops the other side, and itself, from being
read; so what a session holds is bounded by the transports' buffers and `limits.queue`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, final

from twisted.logger import Logger
from twisted.python.failure import Failure

from ..backends.backend import Attempt, Client
from ..backends.blame import is_about_one_client, not_connected
from ..journal.journal import SessionJournal
from ..net.deadlines import NEVER, Deadlines
from ..smtp.dialogue import Dialogue
from ..smtp.effects import BackendFault, BeginTls, Close, Effect, Note, ToBackend, ToClient, Wait
from ..smtp.phases import Awaited
from ..tls.engine import TlsEngine
from .client import names_of, verified_names
from .pace import Pace
from .surroundings import Backend, Secureable, Surroundings

_log: Final = Logger()


LINES_A_TURN: Final = 200
"""That are read of one client before others have their turn: some milliseconds, and as many replies to hold."""

# Reasons not to read the client, as bits.
_QUEUE: Final = 1
"""`limits.queue` is used up."""
_BACKEND_FULL: Final = 2
"""The backend does not take what the client sends."""
_CLIENT_FULL: Final = 4
"""It does not take its replies."""


@final
class _Throttle:
    """Is told by one transport that it is full, and says so to the session (an IPushProducer)."""

    __slots__ = ("_client", "_session")

    def __init__(self, session: Session, client: bool) -> None:
        self._session = session
        self._client = client

    def pauseProducing(self) -> None:
        self._session.full(self._client, True)

    def resumeProducing(self) -> None:
        self._session.full(self._client, False)

    def stopProducing(self) -> None:
        """The transport is gone; its protocol's connectionLost says the same."""


@final
class Session:
    """Performs the effects of one dialogue."""

    __slots__ = (
        "_backend", "_began", "_client", "_client_gone", "_closed", "_connecting", "_deadlines", "_delay", "_dialogue",
        "_due", "_journal", "_not_reading", "_octets", "_pace", "_rests", "_seconds_for", "_serial", "_shared",
        "deadline",
    )  # fmt: skip

    def __init__(self, dialogue: Dialogue, journal: SessionJournal, shared: Surroundings, side: Secureable) -> None:
        self._dialogue = dialogue
        self._journal = journal
        self._shared = shared
        self._client = side
        self._seconds_for: dict[Awaited, float] = shared.seconds_for
        self._deadlines: Deadlines = shared.deadlines
        self._began: float = self._deadlines.now()
        self._backend: Backend | None = None
        self._connecting: Attempt | None = None
        self._client_gone = False
        self._closed = False
        """`Close` was said; what is waited for is the end of the client's connection."""
        self._not_reading = 0
        self._serial = -1
        self._delay: Any = None
        self._octets = 0  # of the client's
        self._pace: Pace | None = None  # of a message that is on its way, if there is one
        self._due = NEVER  # when what is awaited must be there
        self._rests = False  # there is more of the client's to be read, in another turn
        dialogue.lines_a_turn = LINES_A_TURN
        self.deadline = NEVER
        """See deadlines.py."""

    @property
    def journal(self) -> SessionJournal:
        """Its part of the log, which knows its id and its client."""
        return self._journal

    @property
    def dialogue(self) -> Dialogue:
        """What it is about."""
        return self._dialogue

    @property
    def backend(self) -> str:
        """The endpoint of the backend that serves it; empty if there is none, or not yet."""
        return "" if self._backend is None else self._backend.endpoint

    @property
    def listener(self) -> str:
        """The label of the listener that the client came to."""
        return self._client.label

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        lasted: float = self._deadlines.now() - self._began
        return lasted

    # -- events ------------------------------------------------------------------------------------

    def begin(self, client: Client) -> None:
        """Connect to the backend for `client`, whose input is held until that has spoken."""
        self._client.transport.registerProducer(_Throttle(self, True), True)
        self._deadlines.add(self)
        self._arm()
        self._connecting = self._shared.connect(self, client, self._not_connected)

    def backend_tried(self, others: bool) -> None:
        """One is tried.  If there are others its time is limited by trial.py, else that for the banner begins here."""
        if others:
            self.deadline = self._due = NEVER
        else:
            self._arm()

    def backend_connected(self, backend: Backend) -> None:
        self._connecting = None
        self._backend = backend
        backend.transport.registerProducer(_Throttle(self, False), True)

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        if not self._dialogue.over:  # else it was given up
            self._write_down(BackendFault(not_connected(failure), b""))
            if not is_about_one_client(failure):
                self._shared.backend_away()
            self._step(self._dialogue.backend_unreachable)

    def backend_refused(self, fault: BackendFault) -> None:
        if not self._dialogue.over:
            self._write_down(fault)
            self._step(self._dialogue.backend_unreachable)

    def client_secured(self, engine: TlsEngine) -> None:
        self._journal.secured(engine.version, engine.cipher, engine.bits, verified_names(engine))
        self._step(lambda: self._dialogue.tls_established(names_of(engine)))

    def client_insecure(self, why: str) -> None:
        if not self._dialogue.over:
            self._journal.insecure(why)
        self._step(self._dialogue.client_lost)

    def client_sent(self, octets: bytes) -> None:
        self._octets += len(octets)
        try:
            effects = self._dialogue.from_client(octets)
        except Exception:  # noqa: BLE001
            effects = self._failed()
        self._perform(effects)

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
        try:
            effects = self._dialogue.from_backend(octets)
        except Exception:  # noqa: BLE001
            effects = self._failed()
        self._perform(effects)

    def backend_lost(self) -> None:
        backend, self._backend = self._backend, None
        if not self._dialogue.over:
            self._step(self._dialogue.backend_lost)
            if self._dialogue.broken_off and backend is not None:
                backend.broke_off()

    def drain(self) -> None:
        """End as soon as no transaction is in progress."""
        self._step(self._dialogue.drain)

    def drain_or_stop(self) -> None:
        """The same, but where nobody can see what is in progress, now."""
        self._step(self._dialogue.stop if self._dialogue.uninspected else self._dialogue.drain)

    def stop(self) -> None:
        """End now."""
        self._step(self._dialogue.stop)

    def send_away(self) -> None:
        """End now, but for a message that is on its way; and nothing more is done for this client."""
        self._step(self._dialogue.send_away)

    def ring(self) -> None:
        """The deadline has passed."""
        if self._closed or self._dialogue.over:
            self.deadline = NEVER
            if self._backend is not None:  # only if closing it has failed
                self._backend.transport.abortConnection()
            self._client.transport.abortConnection()
            return
        now: float = self._deadlines.now()
        pace = self._pace
        if pace is not None and pace.until <= now:
            if pace.is_slow(self._octets, now):
                self._step(lambda: self._dialogue.too_slow(pace.octets, pace.seconds))
                return
            self.deadline = min(self._due, pace.until)
        if self._due <= now:
            full, unread = bool(self._not_reading & _BACKEND_FULL), bool(self._not_reading & _CLIENT_FULL)
            self._step(lambda: self._dialogue.timed_out(full, unread))

    # -- effects -----------------------------------------------------------------------------------

    def _step(self, event: Callable[[], list[Effect]]) -> None:
        try:
            effects = event()
        except Exception:  # noqa: BLE001
            effects = self._failed()
        self._perform(effects)

    def _failed(self) -> list[Effect]:
        # Our bug, never the peers': fail closed, and leave a traceback for us.
        _log.failure("dialogue failed", failure=Failure())
        return self._dialogue.fail()

    def _perform(self, effects: list[Effect]) -> None:
        to_client = to_backend = b""
        secure = False
        close: Close | None = None
        while True:
            for effect in effects:
                # What there is most of comes first.
                if isinstance(effect, ToClient):
                    to_client = to_client + effect.octets if to_client else effect.octets
                elif isinstance(effect, ToBackend):
                    if to_backend:  # a message is not copied to be joined
                        self._to_backend(to_backend)
                    to_backend = effect.octets
                elif isinstance(effect, Close):
                    close = effect
                elif isinstance(effect, BeginTls):
                    secure = True
                elif isinstance(effect, Wait):
                    self._delay = self._shared.clock.callLater(effect.seconds, self._delay_over)
                else:
                    self._write_down(effect)
            if not self._dialogue.unfinished:
                break
            try:  # what follows may depend on what was counted just now
                effects = self._dialogue.go_on()
            except Exception:  # noqa: BLE001
                effects = self._failed()
        if to_client and not self._client_gone:
            self._client.transport.write(to_client)
        if to_backend:
            self._to_backend(to_backend)
        if secure and not self._client_gone:
            self._client.begin_tls()
        if close is not None:
            self._close(close)
        dialogue = self._dialogue
        if not dialogue.over:
            if dialogue.rests:
                self._rest()
            if dialogue.hungry == bool(self._not_reading & _QUEUE):
                self._set(_QUEUE, not dialogue.hungry)
            if self._serial != dialogue.awaited_serial:
                self._arm()

    def _to_backend(self, octets: bytes) -> None:
        if self._backend is not None:
            self._backend.transport.write(octets)

    def _write_down(self, note: Note) -> None:
        self._journal.noted(note)
        self._shared.noted(self, note)

    def _rest(self) -> None:
        """Read on in another turn, so that one client's lines keep nobody waiting; not while it takes no replies."""
        if not self._rests and not self._not_reading & _CLIENT_FULL:
            self._rests = True
            self._shared.clock.callLater(0, self._rested)

    def _rested(self) -> None:
        self._rests = False
        self._step(self._dialogue.go_on)

    def _delay_over(self) -> None:
        self._delay = None
        self._step(self._dialogue.delay_over)

    def _close(self, close: Close) -> None:
        timeouts = self._shared.timeouts
        self._closed = True
        if self._delay is not None:
            self._delay.cancel()
            self._delay = None
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        if self._backend is not None:
            backend, self._backend = self._backend, None
            backend.transport.unregisterProducer()
            if close.abort_backend:
                backend.transport.abortConnection()
            else:
                backend.leave(timeouts.linger)
        if self._client_gone:
            return
        transport = self._client.transport
        transport.unregisterProducer()
        self._pace = None
        if self._not_reading:
            self._not_reading = 0
            transport.resumeProducing()
        if close.linger:
            # A close with input unread sends a reset, and that may overtake the last reply.
            transport.loseWriteConnection()
            self.deadline = self._deadlines.in_seconds(timeouts.linger)
        else:
            transport.loseConnection()
            self.deadline = self._deadlines.in_seconds(timeouts.command)

    def _finish(self) -> None:
        dialogue = self._dialogue
        self._deadlines.discard(self)
        counts, seconds = dialogue.tally.by_verb, self._deadlines.now() - self._began
        self._journal.ended(counts, seconds, dialogue.cut_short)
        self._shared.ended(self, counts, seconds)

    # -- time --------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Begin the time-out of what is awaited now."""
        self._serial = self._dialogue.awaited_serial
        awaited = self._dialogue.awaited
        seconds = self._seconds_for.get(awaited)
        self.deadline = self._due = NEVER if seconds is None else self._deadlines.in_seconds(seconds)
        if awaited is not Awaited.DATA_BLOCK:
            self._pace = None
            return
        pace = self._pace
        if pace is None and self._shared.data_rate:
            rate, over = self._shared.data_rate, self._shared.data_rate_seconds
            pace = self._pace = Pace(rate, over, self._octets, self._deadlines.in_seconds(0.0), bool(self._not_reading))
        if pace is not None and pace.until < self._due:
            self.deadline = pace.until

    # -- flow control ------------------------------------------------------------------------------

    def full(self, client: bool, full: bool) -> None:
        """One side's transport has more to send than it should hold, or no longer."""
        if client:
            self._set(_CLIENT_FULL, full)
            if self._dialogue.rests:
                self._rest()
            if self._backend is not None:
                _read(self._backend.transport, not full)
        else:
            self._set(_BACKEND_FULL, full)

    def _set(self, why: int, on: bool) -> None:
        before = self._not_reading
        self._not_reading = before | why if on else before & ~why
        if bool(before) != bool(self._not_reading) and not self._client_gone:
            if self._pace is not None:
                self._pace.pause(bool(self._not_reading), self._deadlines.now())
            _read(self._client.transport, not self._not_reading)


def _read(transport: Any, on: bool) -> None:
    if on:
        transport.resumeProducing()
    else:
        transport.pauseProducing()
