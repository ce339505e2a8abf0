"""A producer that waits to be asked, made one that pushes.

Contract: the producer is asked for more once a turn as long as the connection is not full and it is
still the connection's producer, as Twisted's own transports ask whenever all is sent.
"""

from __future__ import annotations

import asyncio

from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer


@implementer(IPushProducer)
class Pulled:
    """Asks a pull producer."""

    __slots__ = ("_asking", "_loop", "_producer")

    def __init__(self, producer: IPullProducer, loop: asyncio.AbstractEventLoop) -> None:
        self._producer = producer
        self._loop = loop
        self._asking: asyncio.Handle | None = None

    def pauseProducing(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def resumeProducing(self) -> None:
        if self._asking is None:
            self._asking = self._loop.call_soon(self._ask)

    def stopProducing(self) -> None:
        self.pauseProducing()
        self._producer.stopProducing()

    def _ask(self) -> None:
        # Before it is asked: it may have the connection pause or unregister this.
        self._asking = self._loop.call_soon(self._ask)
        self._producer.resumeProducing()
