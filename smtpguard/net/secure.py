"""A transport in TLS: what a session sees of a connection whose octets go through an engine.

Contract: what is written is enciphered, what comes is handed on as plain text, and nothing is handed on
behind an abort, a close or a fault.  What is written before the handshake is complete is dropped: nobody
is owed anything with whom there is no secret.  Flow control is the raw transport's own, which counts
enciphered octets.  After a fault the alert is sent and the connection is closed in order; it is for the
caller to abort it if the peer does not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..tls.engine import PIECE_OCTETS, Received, TlsEngine, TlsFault


class SecureTransport:
    """Stands between a protocol and its transport."""

    def __init__(
        self,
        raw: Any,
        engine: TlsEngine,
        *,
        on_established: Callable[[], None],
        on_plain: Callable[[bytes], None],
        on_finished: Callable[[], None],
        on_fault: Callable[[TlsFault], None],
    ) -> None:
        self._raw = raw
        self.engine = engine
        self._on_established = on_established
        self._on_plain = on_plain
        self._on_finished = on_finished
        self._on_fault = on_fault
        self._deaf = False
        """Nothing is handed on any more."""
        self._mute = False
        """Nothing is sent any more."""
        # One that was registered before TLS began goes on.
        self._has_producer = getattr(raw, "producer", None) is not None

    # -- from the peer -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Send what begins the handshake, if that is for this end to do."""
        try:
            self._pass(self.engine.start())
        except TlsFault as fault:
            self._fail(fault)

    def received(self, ciphertext: bytes) -> None:
        """Take what came on the raw transport."""
        if self._deaf:
            return
        fault: TlsFault | None = None
        try:
            got = self.engine.receive(ciphertext)
        except TlsFault as found:
            fault, got = found, found.before
            self._give_up(found)
        self._pass(got.to_send)
        self._hand_on(got)
        if fault is not None:
            self._fail(fault)

    def _hand_on(self, got: Received) -> None:
        """Each of these may close or abort this transport."""
        if got.established and not self._deaf:
            self._on_established()
        if got.plain and not self._deaf:
            self._on_plain(got.plain)
        if got.finished and not self._deaf:
            self._on_finished()

    def _give_up(self, fault: TlsFault) -> None:
        """Send the alert, and nothing more: behind it there is no connection that could carry it."""
        self._pass(fault.to_send)
        self._mute = True

    def _fail(self, fault: TlsFault) -> None:
        self._give_up(fault)
        if self._deaf:
            return  # this end has left, and does not mind
        self._deaf = True
        # A producer that is paused would keep Twisted from closing the connection.
        self.unregisterProducer()
        self._raw.loseConnection()
        self._on_fault(fault)

    # -- to the peer -------------------------------------------------------------------------------

    def _pass(self, ciphertext: bytes) -> None:
        if ciphertext and not self._mute:
            self._raw.write(ciphertext)

    def write(self, plain: bytes) -> None:
        self._send(plain)

    def writeSequence(self, sequence: Iterable[bytes]) -> None:
        """Send pieces, small ones together in a record; no more than a record's worth is copied at a time."""
        waiting: list[bytes] = []
        length = 0
        for piece in sequence:
            if length + len(piece) > PIECE_OCTETS:
                self._send(b"".join(waiting))
                waiting, length = [], 0
            waiting.append(piece)
            length += len(piece)
        self._send(waiting[0] if len(waiting) == 1 else b"".join(waiting))

    def _send(self, plain: bytes) -> None:
        if self._mute or not plain or not self.engine.established:
            return
        view = memoryview(plain)
        try:
            for at in range(0, len(view), PIECE_OCTETS):
                self._pass(self.engine.send(view[at : at + PIECE_OCTETS]))
        except TlsFault as fault:
            self._fail(fault)

    def loseConnection(self) -> None:
        """Close when all is sent, behind a close_notify."""
        self._say_goodbye()
        self._deaf = True
        self.unregisterProducer()
        self._raw.loseConnection()

    def loseWriteConnection(self) -> None:
        """Send no more, and go on reading."""
        self._say_goodbye()
        self._raw.loseWriteConnection()

    def abortConnection(self) -> None:
        self._deaf = self._mute = True
        self._raw.abortConnection()

    def _say_goodbye(self) -> None:
        self._pass(self.engine.close())
        self._mute = True

    # -- the raw transport's own -------------------------------------------------------------------

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._has_producer = True
        self._raw.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        if self._has_producer:
            self._has_producer = False
            self._raw.unregisterProducer()

    def pauseProducing(self) -> None:
        self._raw.pauseProducing()

    def resumeProducing(self) -> None:
        self._raw.resumeProducing()

    def getPeer(self) -> Any:
        return self._raw.getPeer()

    def getHost(self) -> Any:
        return self._raw.getHost()

    def setTcpNoDelay(self, enabled: bool) -> None:
        self._raw.setTcpNoDelay(enabled)
