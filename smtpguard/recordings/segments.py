"""From a frame to the TCP segment in it.

Contract: pure.  `segment_in` returns the segment, None for what is no TCP, or a word for what is left out and has to be
told; it never raises, whatever the octets, and never recurses.  Checksums are not looked at: where the sender's network
card makes them, a capture has none.
"""

from __future__ import annotations

import struct
from typing import Final

from attrs import frozen

from .capture_file import Frame

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
_NULL, _ETHERNET, _LOOP, _SLL, _SLL2 = 0, 1, 108, 113, 276
_RAW: Final = frozenset({12, 14, 101, 228, 229})
LINKS: Final = frozenset({_NULL, _ETHERNET, _LOOP, _SLL, _SLL2}) | _RAW
"""What is read: BSD loopback, Ethernet, Linux cooked (`tcpdump -i any`), bare IP."""
_IPV4, _IPV6 = 0x0800, 0x86DD
_VLAN: Final = frozenset({0x8100, 0x88A8, 0x9100})
_VLAN_TAGS: Final = 4
"""At most so many, one behind the other; two are usual (802.1ad)."""
_EXTENSIONS: Final = frozenset({0, 43, 60, 135})
"""IPv6 headers that say their length in 8 octets (RFC 8200 4): hop-by-hop, routing, destination, mobility."""
_EXTENSION_HEADERS: Final = 8
"""At most so many; RFC 8200 4.1 has each at most once, one twice."""
_FRAGMENT, _TCP = 44, 6
FRAGMENT: Final = "IP fragments"
UNKNOWN_LINK: Final = "frames of a link type that is not read"

_TCP_HEADER: Final = struct.Struct(">HHIIBB")


@frozen
class Segment:
    """One TCP segment."""

    time: float
    source: tuple[bytes, int]
    """Address, 4 or 16 octets, and port."""
    to: tuple[bytes, int]
    sequence: int
    acknowledged: int
    flags: int
    octets: bytes
    left_out: int
    """Octets at its end that the capture does not have."""


def segment_in(frame: Frame) -> Segment | str | None:
    """Return the segment in a frame."""
    octets, at = frame.octets, 0
    link = frame.link
    if link == _ETHERNET:
        kind, at = int.from_bytes(octets[12:14], "big"), 14
        for _ in range(_VLAN_TAGS):
            if kind not in _VLAN:
                break
            kind, at = int.from_bytes(octets[at + 2 : at + 4], "big"), at + 4
    elif link == _SLL:
        kind, at = int.from_bytes(octets[14:16], "big"), 16
    elif link == _SLL2:
        kind, at = int.from_bytes(octets[0:2], "big"), 20
    elif link in _RAW:
        kind = 0
    elif link in (_NULL, _LOOP):
        kind, at = 0, 4
    else:
        return UNKNOWN_LINK
    if len(octets) <= at:
        return None
    version = octets[at] >> 4
    if version == 4 and kind in (0, _IPV4):
        return _in_ipv4(frame, at)
    if version == 6 and kind in (0, _IPV6):
        return _in_ipv6(frame, at)
    return None


def _in_ipv4(frame: Frame, at: int) -> Segment | str | None:
    octets = frame.octets
    if len(octets) < at + 20 or octets[at + 9] != _TCP:
        return None
    if (octets[at + 6] << 8 | octets[at + 7]) & 0x3FFF:  # more fragments, or not the first one
        return FRAGMENT
    header = (octets[at] & 0x0F) * 4
    # 0 is written by a network card that cuts the packet itself.
    length = octets[at + 2] << 8 | octets[at + 3] or len(octets) - at
    if header < 20:
        return None
    return _tcp(frame, octets[at + 12 : at + 16], octets[at + 16 : at + 20], at + header, at + length)


def _in_ipv6(frame: Frame, at: int) -> Segment | str | None:
    octets = frame.octets
    if len(octets) < at + 40:
        return None
    following = octets[at + 6]
    length = octets[at + 4] << 8 | octets[at + 5]
    end = at + 40 + length if length else len(octets)
    source, to = octets[at + 8 : at + 24], octets[at + 24 : at + 40]
    at += 40
    for _ in range(_EXTENSION_HEADERS):
        if following not in _EXTENSIONS or len(octets) < at + 2:
            break
        following, at = octets[at], at + 8 + octets[at + 1] * 8
    if following == _FRAGMENT:
        return FRAGMENT
    return _tcp(frame, source, to, at, end) if following == _TCP else None


def _tcp(frame: Frame, source: bytes, to: bytes, at: int, end: int) -> Segment | None:
    octets = frame.octets
    if len(octets) < at + 20:
        return None
    from_port, to_port, sequence, acknowledged, header, flags = _TCP_HEADER.unpack_from(octets, at)
    begin = at + (header >> 4) * 4
    if begin < at + 20 or begin > end:
        return None
    there = octets[begin:end]
    return Segment(
        frame.time, (source, from_port), (to, to_port), sequence, acknowledged, flags, there,
        end - begin - len(there) if end > len(octets) else 0,
    )  # fmt: skip
