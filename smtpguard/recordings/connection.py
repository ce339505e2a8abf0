"""One TCP connection of a capture, and the session that it carries.

Contract: sans-IO.  `take` gets every segment of the connection in the order of the capture.  What is said is put
down in the order in which it could be heard.  Where the capture lacks something, the session ends there, for both
sides, and tells so.
"""

from __future__ import annotations

from typing import Final

from .reassembly import Direction, Overrun
from .recorded import Recorded
from .segments import ACK, FIN, RST, SYN, Segment

GAP: Final = "the capture lacks octets of it; it ends there"
SNAPPED: Final = "the capture was made with a snap length that cuts frames off (take tcpdump -s 0); it ends there"
CONFLICT: Final = "octets were sent again as others: the first ones count, and another system may see the second ones"
TOO_LONG: Final = "too long to be kept (64 MiB); it ends there"
UNENDED: Final = "no end of it in the capture"


class Connection:
    """Both directions."""

    __slots__ = ("_again", "_by_client", "_client", "_cut", "_gap", "_server", "last", "over", "recorded")

    def __init__(self, recorded: Recorded, opening: Segment) -> None:
        """`opening` is the SYN of the client, or the server's answer to it."""
        self.recorded = recorded
        self.over = False
        self.last = opening.time
        self._client: Direction | None = None
        self._server: Direction | None = None
        if opening.flags & ACK:
            self._server = Direction(_behind(opening.sequence))
            self._client = Direction(opening.acknowledged)
            self._by_client = opening.to
        else:
            self._client = Direction(_behind(opening.sequence))
            self._by_client = opening.source
        self._gap: tuple[int, int] | None = None  # where a gap opened
        self._cut = False
        self._again: int | None = None  # first octet of a SYN for a further connection between the same ports

    def begins_another(self, segment: Segment) -> bool:
        """Say whether a SYN is for a further connection between the same ports, and is answered."""
        if segment.flags & ACK:
            return self._again is not None and segment.acknowledged == self._again
        if segment.source == self._by_client:
            first = _behind(segment.sequence)
            self._again = None if self._client is not None and self._client.place_of(first) == 0 else first
        return False

    def take(self, segment: Segment) -> None:
        """Take a segment that belongs to it."""
        self.last = max(self.last, segment.time)
        from_client = segment.source == self._by_client
        if segment.flags & SYN:
            if segment.flags & ACK and not from_client and self._server is None:
                self._server = Direction(_behind(segment.sequence))
            return
        if not from_client and self._server is None:
            # Its answer to the SYN is not in the capture; the octet acknowledged by the client may not be either.
            self._server = Direction(segment.sequence)
        direction = self._client if from_client else self._server
        assert direction is not None
        place = direction.place_of(segment.sequence)
        if not direction.is_near(place):
            return
        other = self._server if from_client else self._client
        if segment.flags & ACK and other is not None and other.is_near(far := other.place_of(segment.acknowledged)):
            other.acknowledged = max(other.acknowledged, far)
            if other.has_gap:
                self._note_gap()
        if segment.octets and not self._cut:
            self._hear(direction, from_client, place, segment)
        if segment.left_out and not self._cut:
            self.recorded.tell(SNAPPED)
            self._cut = True
        if segment.flags & FIN and direction.end is None:
            direction.end = place + len(segment.octets) + segment.left_out
        if segment.flags & RST or (_is_finished(self._client) and _is_finished(self._server)):
            self.over = True

    def _hear(self, direction: Direction, from_client: bool, place: int, segment: Segment) -> None:
        try:
            ready = direction.take(place, segment.octets)
        except Overrun:
            self._end_at_gap()
            return
        if direction.conflict:
            self.recorded.tell(CONFLICT)
        if not self.recorded.said(from_client, ready):
            self.recorded.tell(TOO_LONG)
            self._cut = True
        self._note_gap()

    @property
    def _has_gap(self) -> bool:
        client, server = self._client, self._server
        return (client is not None and client.has_gap) or (server is not None and server.has_gap)

    def _note_gap(self) -> None:
        """Keep where the recording was when the gap opened that there is now."""
        if not self._has_gap:
            self._gap = None
        elif self._gap is None:
            self._gap = self.recorded.mark

    def _end_at_gap(self) -> None:
        if self._gap is not None:
            self.recorded.cut(self._gap)
        self.recorded.tell(GAP)
        self._cut = True

    def end(self) -> Recorded:
        """Return the session; nothing more comes."""
        if not self._cut and self._has_gap:
            self._end_at_gap()
        if not self.over and not self._cut:
            self.recorded.tell(UNENDED)
        return self.recorded


def _behind(sequence: int) -> int:
    return (sequence + 1) & 0xFFFFFFFF


def _is_finished(direction: Direction | None) -> bool:
    return direction is not None and direction.finished
