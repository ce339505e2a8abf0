"""CRC-32C, the checksum of the PROXY protocol, version 2 (RFC 9260 appendix A; Castagnoli's polynomial).

Contract: `crc32c` takes octets and returns the checksum; its work is in proportion to the octets.
"""

from __future__ import annotations

from typing import Final

_POLYNOMIAL: Final = 0x82F63B78
"""0x1EDC6F41 with its bits in the order in which they are sent."""


def _remainder(octet: int) -> int:
    for _ in range(8):
        octet = octet >> 1 ^ (_POLYNOMIAL if octet & 1 else 0)
    return octet


_TABLE: Final = tuple(map(_remainder, range(256)))


def crc32c(octets: bytes) -> int:
    """Return the checksum of `octets`."""
    checksum = 0xFFFFFFFF
    for octet in octets:
        checksum = checksum >> 8 ^ _TABLE[(checksum ^ octet) & 0xFF]
    return checksum ^ 0xFFFFFFFF
