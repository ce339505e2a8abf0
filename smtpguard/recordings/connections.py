"""The connections of a capture: from segments to sessions.

Contract: sans-IO; a session is handed out when it has ended, or when it must make room.  `told` counts what was left
out, by what it was.  What is kept is bounded, whatever the capture.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Set
from ipaddress import IPv6Address
from typing import Final

from ..policy.networks import Peer
from .connection import Connection
from .recorded import OPEN_OCTETS, Recorded
from .segments import ACK, SYN, Segment

CONNECTIONS: Final = 20_000
"""At once; as many as a guard holds.  Of more, the one that was silent for the longest ends early."""
IDLE_SECONDS: Final = 3600.0
"""A server that waits for longer gives up (sendmail's Timeout.command); its end is not in the capture."""
ENDED: Final = 65536
"""Connections that have ended and whose last segments are not taken for others."""
MADE_ROOM: Final = "too many at once; it ends here"
MIDDLE: Final = "connections that began before the capture did (no SYN in it)"
MIDDLES: Final = 65536
"""Of those, how many are told apart."""

_Ends = tuple[tuple[bytes, int], tuple[bytes, int]]


class Connections:
    """All of them."""

    def __init__(self, ports: Set[int]) -> None:
        """`ports` are those of the servers whose sessions are wanted."""
        self._ports = ports
        self._open: OrderedDict[_Ends, Connection] = OrderedDict()
        self._ended: OrderedDict[_Ends, None] = OrderedDict()
        self._middle: OrderedDict[_Ends, None] = OrderedDict()
        self._numbers: OrderedDict[int, None] = OrderedDict()  # of those open, in the order they began
        self._octets = 0
        self._number = 0
        self.told: Counter[str] = Counter()

    @property
    def oldest(self) -> int:
        """The number of the session that began first of those that have not ended; one that is to come if none has."""
        return next(iter(self._numbers), self._number + 1)

    def take(self, segment: Segment) -> Iterator[Recorded]:
        """Take a segment; yield the sessions that have ended."""
        client = self._client_of(segment)
        if client is None:
            return
        ends = (segment.source, segment.to) if client == segment.source else (segment.to, segment.source)
        connection = self._open.get(ends)
        if segment.flags & SYN and (connection is None or connection.begins_another(segment)):
            if connection is not None:
                yield self._end(ends)
            yield from self._make_room(segment.time)
            self._begin(ends, segment)
            return
        if connection is None:
            if segment.octets and ends not in self._ended and ends not in self._middle:
                self.told[MIDDLE] += 1
                _remember(self._middle, ends, MIDDLES)
            return
        before = connection.recorded.octets
        connection.take(segment)
        self._octets += connection.recorded.octets - before
        self._open.move_to_end(ends)
        if connection.over:
            yield self._end(ends)
        elif self._octets > OPEN_OCTETS:
            yield from self._evict()

    def finish(self) -> Iterator[Recorded]:
        """Yield the sessions that are left at the end of the capture."""
        while self._open:
            yield self._end(next(iter(self._open)))

    def _client_of(self, segment: Segment) -> tuple[bytes, int] | None:
        to_server, from_server = segment.to[1] in self._ports, segment.source[1] in self._ports
        if to_server and from_server and (segment.to, segment.source) in self._open:
            return segment.to
        if to_server and from_server and segment.flags & SYN and segment.flags & ACK:
            return segment.to
        if to_server:
            return segment.source
        return segment.to if from_server else None

    def _begin(self, ends: _Ends, segment: Segment) -> None:
        self._number += 1
        self._numbers[self._number] = None
        (client, client_port), (server, server_port) = ends
        recorded = Recorded(self._number, peer_of(client), client_port, peer_of(server).text, server_port, segment.time)
        self._ended.pop(ends, None)
        self._middle.pop(ends, None)
        self._open[ends] = Connection(recorded, segment)

    def _end(self, ends: _Ends) -> Recorded:
        connection = self._open.pop(ends)
        self._octets -= connection.recorded.octets
        del self._numbers[connection.recorded.number]
        _remember(self._ended, ends, ENDED)
        return connection.end()

    def _make_room(self, now: float) -> Iterator[Recorded]:
        while self._open:
            ends, connection = next(iter(self._open.items()))
            if now - connection.last <= IDLE_SECONDS and len(self._open) < CONNECTIONS:
                return
            if now - connection.last <= IDLE_SECONDS:
                yield from self._evict()
            else:
                yield self._end(ends)

    def _evict(self) -> Iterator[Recorded]:
        ends, connection = next(iter(self._open.items()))
        connection.recorded.tell(MADE_ROOM)
        yield self._end(ends)


def _remember(those: OrderedDict[_Ends, None], ends: _Ends, bound: int) -> None:
    those[ends] = None
    if len(those) > bound:
        those.popitem(last=False)


def peer_of(address: bytes) -> Peer:
    """Return the address that 4 or 16 octets are."""
    if len(address) == 4:
        return Peer(4, int.from_bytes(address, "big"), ".".join(map(str, address)))
    return Peer.parse(str(IPv6Address(address)))
