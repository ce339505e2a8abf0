"""The octets that a client sent and the dialogue has not read yet.

Contract: one bounded look at the line at the head.  `LineBuffer` never holds an opinion about what
follows the first line: what a line means depends on replies that may not have come yet.  Octets are
searched once, so input that comes octet by octet costs no more than input that comes whole.
"""

from __future__ import annotations

from .grammar import Fault, fault_of_partial


class LineBuffer:
    """Input waiting for its turn."""

    __slots__ = ("_octets", "_searched")

    def __init__(self) -> None:
        self._octets = bytearray()
        self._searched = 0

    def __len__(self) -> int:
        return len(self._octets)

    def append(self, octets: bytes) -> None:
        self._octets += octets

    def take_line(self, bound: int) -> bytes | Fault | None:
        """Return the first line with its LF, None if it is not complete, or what is wrong with it.

        `bound` is the greatest length in octets, line end included; it is enforced before the LF
        has arrived (RFC 5321 4.5.3.1.4 allows a limit, servers that have one split there).
        """
        end = self._octets.find(b"\n", self._searched) + 1
        if not end:
            if len(self._octets) >= bound:
                return Fault.TOO_LONG
            fault = fault_of_partial(self._octets, self._searched)
            self._searched = len(self._octets)
            return fault
        if end > bound:
            return Fault.TOO_LONG
        line = bytes(self._octets[:end])
        del self._octets[:end]
        self._searched = 0
        return line

    def take(self, count: int) -> bytes:
        """Return at most `count` octets from the head, whatever they are."""
        octets = bytes(self._octets[:count])
        del self._octets[:count]
        self._searched = 0
        return octets

    def take_all(self) -> bytes:
        return self.take(len(self._octets))

    def sample(self, count: int) -> bytes:
        """Return at most `count` octets from the head without taking them (for the log)."""
        return bytes(self._octets[:count])
