"""One connection on libuv: Twisted's transport and asyncio's protocol in one object.

Contract: a protocol sees what it sees on Twisted's own reactor: makeConnection, dataReceived,
readConnectionLost and writeConnectionLost if it is an IHalfCloseableProtocol, and connectionLost once,
last, and never from within a call that it makes.  Nothing stands between libuv and the two calls that
count: libuv calls `dataReceived` itself, and `write` is libuv's own.

What differs from Twisted's own transports: octets come in pieces of up to READ_OCTETS, there 65536;
`write` sends at once, so that a peer's reset may be known before the turn is over; what is written behind
loseConnection is dropped, there it is sent if the turn is the same; a loseConnection behind a
loseWriteConnection ends it in a later turn, there at once; an OSError that a protocol raises looks like
the connection's own; and who registers a producer on a connection that is full is paused there and then.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from twisted.internet.interfaces import IConsumer, IHalfCloseableProtocol, IPushProducer, ITCPTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import classImplements

from . import reasons
from .early import Early
from .on_socket import GONE, UNIX, OnSocket
from .pulling import Pulled
from .reasons import PeerGone

FULL_OCTETS: Final = 65536
"""More than this unsent pauses the producer: libuv's mark where nobody sets another, and Twisted's bufferSize."""

READ_OCTETS: Final = 256_000
"""What is handed over at a time, at most: the one buffer that uvloop reads into."""
GATHERED_OCTETS: Final = 65536
"""From here on it is dearer to join pieces than to have the kernel gather them (writev(2)); measured."""

# What a connection has been through, as bits; the lower ones are on_socket.py's.
_STARTING: Final = 16
"""The protocol's connectionMade runs; libuv does not read yet, and cannot be told not to."""
_HELD: Final = 32
"""It was paused in there."""
_FULL: Final = 64
"""libuv holds more than FULL_OCTETS, and not yet next to nothing again."""
_MUTE: Final = 128
"""loseWriteConnection was called."""
_ABORTED: Final = 256

_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER (socket(7)): on, for no time."""

Opened = Callable[["Connection"], Any]
"""Returns the protocol of a connection that has been made, or None to close it."""

_log: Final = Logger()


def _dropped(_octets: bytes) -> None:
    """Stands for `write` when nothing can be sent."""


@lru_cache(maxsize=64)  # of classes, of which a process has two or three
def _does_halves(protocol: type) -> bool:
    """Tell whether such protocols can do with half a connection; zope would look it up anew each time."""
    return bool(IHalfCloseableProtocol.implementedBy(protocol))


class Connection(OnSocket):
    """A transport for one protocol."""

    __slots__ = (
        "__weakref__",
        "_early",
        "_opened",
        "data_received",
        "disconnecting",
        "producer",
        "protocol",
        "then",
        "write",
    )

    def __init__(self, opened: Opened, flags: int) -> None:
        """`flags` may be UNIX, NO_DELAY and KEEP_ALIVE."""
        self._opened: Opened | None = opened
        self._flags = flags | _STARTING
        self._early: Early | None = None
        self.data_received: Callable[[bytes], object] = _dropped
        """Whom libuv calls; it asks when it gets this object, and not again."""
        self.write: Callable[[bytes], None] = _dropped
        """Send octets, at once as far as they go; the rest are not copied, so they must not change.

        It is libuv's own while octets can be sent, and another later: to be looked up each time.
        """
        self.then: Callable[[], object] | None = None
        """Called once, when connectionMade has returned."""
        self.protocol: Any = None
        self.producer: Any = None
        self.disconnecting = False
        """loseConnection was called."""

    # -- what asyncio tells ------------------------------------------------------------------------

    def connection_made(self, libuv: Any) -> None:
        self._libuv = libuv
        self.write = libuv.write
        opened: Any = self._opened
        self._opened = None
        try:
            self.protocol = protocol = opened(self)
            if protocol is None:
                libuv.abort()
                return
            self.data_received = protocol.dataReceived
            protocol.makeConnection(self)
        except PeerGone:
            libuv.abort()
        except Exception:  # noqa: BLE001 - as Twisted: the fault of one connection
            _log.failure("connectionMade failed", Failure())
            libuv.abort()
        self._flags = flags = self._flags ^ _STARTING
        if flags & _HELD:  # or closed, with a producer that is paused
            self._early = early = Early(libuv, self.data_received)
            self.data_received = early.received
        libuv.set_protocol(self)
        if self.then is not None:
            then, self.then = self.then, None
            then()

    def eof_received(self) -> bool:
        """Tell the protocol; true keeps libuv from closing."""
        if self._early is not None:
            return True  # libuv will say so again when it reads again
        kind: Any = type(self.protocol)
        if _does_halves(kind):
            self.protocol.readConnectionLost()
        else:
            self._libuv.abort()  # without what is unsent, as Twisted does
        return True

    def pause_writing(self) -> None:
        self._flags |= _FULL
        if self.producer is not None:
            self.producer.pauseProducing()

    def resume_writing(self) -> None:
        self._flags &= ~_FULL
        if self._flags & _MUTE:
            self._write_side_closed()
        if self.producer is not None:
            self.producer.resumeProducing()
        if self.disconnecting and not self._waits_for_producer():
            self._libuv.close()

    def connection_lost(self, error: BaseException | None) -> None:
        self._flags = flags = self._flags | GONE
        self.write = self.data_received = _dropped
        protocol = self.protocol
        self.protocol = self._early = None
        if self.producer is not None:
            producer, self.producer = self.producer, None
            producer.stopProducing()
        if protocol is None:
            return
        if flags & _ABORTED:
            protocol.connectionLost(reasons.ABORTED)
        elif error is None:
            protocol.connectionLost(reasons.DONE)
        else:
            protocol.connectionLost(reasons.of_end(error))

    # -- receiving ---------------------------------------------------------------------------------

    def deliver_to(self, receiver: Callable[[bytes], object]) -> None:
        """Call `receiver` with what comes from now on, in place of the protocol's dataReceived.

        Free from within connectionMade and while paused; later it costs two system calls.
        """
        if self._flags & GONE:
            return
        if self._early is not None:
            self._early.receiver = receiver
            return
        self.data_received = receiver
        if not self._flags & _STARTING:
            self._libuv.set_protocol(self)

    def pauseProducing(self) -> None:
        if self._flags & _STARTING:
            self._flags |= _HELD
        elif self._early is not None:
            self._early.paused = True
        else:
            self._libuv.pause_reading()

    def resumeProducing(self) -> None:
        if self._flags & _STARTING:
            self._flags &= ~_HELD
        elif self.disconnecting:
            return
        elif self._early is not None:
            self._early.release(self)
        else:
            self._libuv.resume_reading()

    def stopProducing(self) -> None:
        self.loseConnection()

    def early_over(self, receiver: Callable[[bytes], object]) -> None:
        """What was held since before the first read has a reader now."""
        self._early = None
        self.deliver_to(receiver)

    # -- sending -----------------------------------------------------------------------------------

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Send octets that are in pieces, together."""
        gathered = list(pieces)
        if sum(map(len, gathered)) < GATHERED_OCTETS:
            self.write(b"".join(gathered))
        elif self.write is not _dropped:
            self._libuv.writelines(gathered)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Take a producer, which is paused while more than FULL_OCTETS are unsent; raises RuntimeError at a second."""
        if self.producer is not None:
            raise RuntimeError(f"cannot register {producer}: {self.producer} was never unregistered")
        if self._flags & GONE:
            producer.stopProducing()
            return
        if not streaming:
            producer = Pulled(producer, asyncio.get_running_loop())
        self.producer = producer
        if self._flags & _FULL:
            producer.pauseProducing()
        elif not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        producer, self.producer = self.producer, None
        if isinstance(producer, Pulled):
            producer.pauseProducing()
        if self.disconnecting and not self._flags & GONE:
            self._close()

    # -- closing -----------------------------------------------------------------------------------

    def loseConnection(self) -> None:
        """Close when all is sent; a producer that is paused is waited for, and one that waits to be asked too."""
        if self.disconnecting or self._flags & GONE:
            return
        self.disconnecting = True
        if self.producer is None:
            self._close()
        elif self._waits_for_producer():
            self._flags |= _HELD
            self._libuv.pause_reading()
        else:
            self._libuv.close()  # what the producer writes before all is sent goes out too

    def _waits_for_producer(self) -> bool:
        return self.producer is not None and (bool(self._flags & _FULL) or isinstance(self.producer, Pulled))

    def _close(self) -> None:
        self.write = _dropped
        self._libuv.close()

    def loseWriteConnection(self) -> None:
        """Send no more than what is written, and go on reading."""
        if self._flags & (_MUTE | GONE) or self.disconnecting:
            return
        self._flags |= _MUTE
        self.write = _dropped
        libuv = self._libuv
        libuv.write_eof()
        if libuv.get_write_buffer_size():
            # The one way to learn when libuv has sent all: to be full above nothing.
            libuv.set_write_buffer_limits(0, 0)
        else:
            asyncio.get_running_loop().call_soon(self._write_side_closed)

    def _write_side_closed(self) -> None:
        kind: Any = type(self.protocol)
        if not self.disconnecting and _does_halves(kind):
            self.protocol.writeConnectionLost()

    def abortConnection(self) -> None:
        """Close now, with a reset; what is unsent is lost."""
        if self._flags & (_ABORTED | GONE):
            return
        self._flags |= _ABORTED
        self.write = _dropped
        if not self._flags & UNIX:
            with suppress(OSError):
                self._option(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        self._libuv.abort()


# Said here and not by a decorator, so that mypyc makes a class of it that is as fast as C's.
classImplements(Connection, ITCPTransport, IPushProducer, IConsumer)
