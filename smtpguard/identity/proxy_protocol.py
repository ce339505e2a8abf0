"""The PROXY protocol, as a balancer sends it in front of a connection, and as the guard may send it on.

Contract: `HeaderReader` gives the header, of either version, or raises HeaderFault at the first octet
behind which nothing could make a header any more (but for a checksum, which is looked at last).  An
origin is exactly what the octets say: nothing is guessed, mended or looked up.  What is kept, and the
work, are bounded; how the octets are split makes no difference.  Whom to believe a header is a matter
of who calls.
"""

from __future__ import annotations

from bisect import bisect_left

from . import proxy_v1, proxy_v2
from .origin import Origin
from .proxy_header import Header, HeaderFault

__all__ = ["Header", "HeaderFault", "HeaderReader", "write_v1", "write_v2"]


class HeaderReader:
    """Reads one header."""

    __slots__ = ("_octets", "_reading", "rest")

    def __init__(self) -> None:
        self.rest = b""
        """What came behind the header, once that is complete."""
        self._octets = bytearray()
        self._reading = proxy_v2.Reading()

    def feed(self, octets: bytes) -> Header | None:
        """Take octets; return the header, None as long as it is not complete; raises HeaderFault.

        When there is a header, or a fault, there is nothing more to feed.
        """
        self._octets += octets
        try:
            return self._take()
        except HeaderFault:
            if len(octets) > 1:
                # The fault is the one that comes octet by octet: that of the shortest beginning that has one.
                so_far = bytes(self._octets)
                shortest = bisect_left(range(len(so_far)), True, key=lambda end: _is_refused(so_far[:end]))
                _reader_of(so_far[:shortest])._take()
            raise

    def _take(self) -> Header | None:
        if self._octets.startswith(proxy_v2.SIGNATURE[:1]):
            found = self._reading.read(self._octets)
            if found is None:
                return None
            header, length = found
        else:
            line = proxy_v1.read(bytes(self._octets[: proxy_v1.LINE_OCTETS]))
            if line is None:
                return None
            header, length = line, self._octets.index(b"\n") + 1
        self.rest = bytes(self._octets[length:])
        return header


def _reader_of(octets: bytes) -> HeaderReader:
    reader = HeaderReader()
    reader._octets += octets
    return reader


def _is_refused(octets: bytes) -> bool:
    try:
        _reader_of(octets)._take()
    except HeaderFault:
        return True
    return False


def write_v1(origin: Origin | None) -> bytes:
    """Return the header of version 1 for a client; UNKNOWN where there is no address to tell."""
    return proxy_v1.write(origin)


def write_v2(origin: Origin | None) -> bytes:
    """Return the header of version 2 for a client; LOCAL where there is no address to tell."""
    return proxy_v2.write(origin)
