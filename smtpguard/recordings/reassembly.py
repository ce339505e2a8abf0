"""One direction of a TCP connection, put in order.

Contract: sans-IO; whatever the order, the sizes and the repetition of segments, the octets come out once and in
sequence.  What is kept is bounded.  Where two segments have different octets for one place, the one that came first
counts, and `conflict` says that there was such a place.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

WAITING_OCTETS: Final = 4 * 1024 * 1024
"""Behind a gap; more than Linux's receive window usually grows to (tcp_rmem, 6 MiB with its overhead)."""
WAITING_PIECES: Final = 4096
"""As many pieces: WAITING_OCTETS in segments of about a KiB."""
RECENT_OCTETS: Final = 65536
"""Of what is delivered, kept to compare repetitions with: a window without scaling."""
_WINDOW: Final = 1 << 30
"""RFC 7323 2.3: no window is larger; a segment from farther away belongs to no sequence of ours."""


class Overrun(Exception):
    """More waits behind a gap than is kept: what is missing does not come any more."""


class Direction:
    """The octets of one side."""

    __slots__ = ("_base", "_next", "_recent", "_waiting", "_waiting_octets", "acknowledged", "conflict", "end")

    def __init__(self, sequence: int) -> None:
        """`sequence` is the number of its first octet, so that of the SYN and one."""
        self._base = sequence
        self._next = 0  # place of the next octet to deliver, from the first one on
        self._waiting: list[tuple[int, bytes]] = []  # by place; no two share one
        self._waiting_octets = 0
        self._recent = bytearray()
        self.conflict = False
        self.acknowledged = 0
        """The place up to which the other side has said that it got everything."""
        self.end: int | None = None
        """The place behind the last octet, once there was a FIN."""

    @property
    def has_gap(self) -> bool:
        """True if there are octets behind some that did not come, or the other side got some that did not."""
        # The one octet is a FIN's, which may not be in the capture.
        acknowledged = self.acknowledged > self._next + 1
        return bool(self._waiting) or acknowledged or (self.end is not None and self._next < self.end)

    @property
    def finished(self) -> bool:
        return self.end is not None and self._next >= self.end

    def place_of(self, sequence: int) -> int:
        """Return the place of a sequence number; it may be far from all others (`is_near`)."""
        return self._next + ((sequence - self._base - self._next + 0x80000000) & 0xFFFFFFFF) - 0x80000000

    def is_near(self, place: int) -> bool:
        """Say whether a segment at `place` can be one of this connection's."""
        return -_WINDOW <= place - self._next <= _WINDOW

    def take(self, place: int, octets: bytes) -> bytes:
        """Take a segment's octets; return those that are in order now.  Raises Overrun."""
        if place == self._next and not self._waiting:  # as nearly all are
            return self._deliver(octets)
        if place < self._next:
            old = self._next - place
            self._compare(place, octets[:old])
            octets = octets[old:]
            place = self._next
        if not octets:
            return b""
        self._keep(place, octets)
        if self._waiting[0][0] != self._next:
            if self._waiting_octets > WAITING_OCTETS or len(self._waiting) > WAITING_PIECES:
                raise Overrun
            return b""
        ready, place = [], self._next
        for at, piece in self._waiting:
            if at != place:
                break
            ready.append(piece)
            place += len(piece)
        del self._waiting[: len(ready)]
        joined = b"".join(ready)
        self._waiting_octets -= len(joined)
        return self._deliver(joined)

    def _deliver(self, octets: bytes) -> bytes:
        self._next += len(octets)
        self._recent += octets[-RECENT_OCTETS:]
        if len(self._recent) > 4 * RECENT_OCTETS:
            del self._recent[:-RECENT_OCTETS]
        return octets

    def _compare(self, place: int, octets: bytes) -> None:
        """Note whether octets that were delivered come again as others."""
        if len(octets) <= 1:
            return  # a probe whether the other side lives may have any octet in it (RFC 9293 3.8.4)
        at = place - (self._next - len(self._recent))
        if at < 0:
            octets, at = octets[-at:], 0
        if self._recent[at : at + len(octets)] != octets:
            self.conflict = True

    def _keep(self, place: int, octets: bytes) -> None:
        """Put into what waits those octets for whose places there are none."""
        end = place + len(octets)
        index = max(bisect_right(self._waiting, place, key=_place) - 1, 0)
        at = place
        new: list[tuple[int, bytes]] = []
        first = index
        while index < len(self._waiting) and self._waiting[index][0] < end:
            start, piece = self._waiting[index]
            stop = start + len(piece)
            index += 1
            if stop <= at:
                first = index if not new else first
                continue
            if at < start:
                new.append((at, octets[at - place : start - place]))
            low, high = max(at, start), min(end, stop)
            if piece[low - start : high - start] != octets[low - place : high - place]:
                self.conflict = True
            new.append((start, piece))
            at = max(at, stop)
        if at < end:
            new.append((at, octets[at - place :]))
        self._waiting_octets += sum(len(piece) for _, piece in new) - sum(
            len(piece) for _, piece in self._waiting[first:index]
        )
        self._waiting[first:index] = new


def _place(waiting: tuple[int, bytes]) -> int:
    return waiting[0]
