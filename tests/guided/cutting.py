"""Ways to cut octets into segments.

Contract: the segments of every way, joined, are the octets; the same seed cuts the same way.
"""

from __future__ import annotations


def irregular(octets: bytes, seed: int) -> list[bytes]:
    """Return segments of 1 to 16 octets, the short ones more often."""
    segments, at, state = [], 0, seed + 1
    while at < len(octets):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        length = 1 + (state >> 16) % (1 + (state >> 8) % 16)
        segments.append(octets[at : at + length])
        at += length
    return segments


def ways(octets: bytes, seed: int) -> list[list[bytes]]:
    """Return the octets whole, octet by octet, and cut as `seed` says."""
    return [[octets], [octets[at : at + 1] for at in range(len(octets))], irregular(octets, seed)]
