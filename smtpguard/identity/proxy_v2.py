"""Version 2 of the PROXY protocol: a binary header.

Contract: `Reading.read` gives the header and its length, None if the octets may still become one, or
raises HeaderFault; `write` gives a header that it takes.  proxy-protocol.txt 2.2 is the grammar; TLVs
are walked to the last octet, and each octet is looked at once, however they come.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final, NoReturn

from attrs import define, field

from ..policy.networks import Peer
from .crc32c import crc32c
from .origin import Origin
from .proxy_header import Header, HeaderFault

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
LENGTH: Final = 2048
"""The greatest length that a header may state.

It is sent and read at once, and so should fit one segment (section 2.2: 536 octets are safe).  Names
out of certificates make some longer; the 64 KiB that the field could say nobody needs."""

_FIXED: Final = 16
"""Signature, version and command, family and transport, length."""
_LOCAL, _PROXY = 0x20, 0x21
_UNSPEC, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
_ADDRESSES: Final = {_UNSPEC: 0, _TCP4: 12, _TCP6: 36, _UNIX: 216}
"""How many octets of addresses and ports follow, by family and transport."""
_DATAGRAMS: Final = (0x12, 0x22, 0x32)

CRC32C: Final = 0x03
SSL: Final = 0x20
"""Types of TLVs that mean something here: PP2_TYPE_..."""
_HEAD: Final = 3
"""The type and the length of a TLV."""
_LEAST: Final = {CRC32C: 4, SSL: 5}
"""How long a TLV of this type must be: the checksum exactly, SSL in front of the TLVs in it."""


@define
class Reading:
    """How far a header has been read."""

    _at: int = 0
    """Where the next TLV begins; 0 before the length is known."""
    _inner: int = 0
    """Where the TLVs in a TLV of type SSL end; 0 outside of one."""
    _checksum: int | None = None
    """Where it begins, once it has come."""
    _octets: bytearray = field(factory=bytearray)

    def read(self, octets: bytearray) -> tuple[Header, int] | None:
        """Go on; `octets` is all that has come, from the first on."""
        self._octets = octets
        if not SIGNATURE.startswith(octets[: len(SIGNATURE)]):
            self._fault("another beginning")
        if len(octets) > 12 and octets[12] not in (_LOCAL, _PROXY):
            self._fault("neither LOCAL nor PROXY of version 2")
        if len(octets) < 14:
            return None
        # What LOCAL says behind its command must be discarded, the family included.
        local = octets[12] == _LOCAL
        addresses = 0 if local else self._addresses(octets[13])
        least, most = _range(octets[14:_FIXED])
        if least > LENGTH:
            self._fault(f"length of more than {LENGTH} octets")
        if most < addresses:
            self._fault("length that does not hold the addresses")
        if len(octets) < _FIXED:
            return None
        end = _FIXED + least
        if not local:
            if not self._at:
                self._at = _FIXED + addresses
                self._hold(end - self._at)
            self._walk(end)
        if len(octets) < end:
            return None
        return Header(2, True, None) if local else self._header(bytes(octets[:end])), end

    def _addresses(self, family: int) -> int:
        if family in _DATAGRAMS:
            self._fault("datagrams, of which SMTP has none")
        if family not in _ADDRESSES:
            self._fault("unknown family or transport")
        return _ADDRESSES[family]

    def _walk(self, end: int) -> None:
        """Go from TLV to TLV as far as their types and lengths have come."""
        while head := self._octets[self._at : min(self._at + _HEAD, end)]:
            # What is in a TLV of type SSL has types of its own, which mean nothing here.
            kind, room = -1 if self._inner else head[0], (self._inner or end) - self._at - _HEAD
            if kind == CRC32C and self._checksum is not None:
                self._fault("second checksum")
            shortest = _LEAST.get(kind, 0)
            least, most = _range(head[1:])
            if max(least, shortest) > room:
                self._fault("TLV longer than what holds it")
            if most < shortest or (kind == CRC32C and least > shortest):
                self._fault("TLV of a length that its type cannot have")
            if least != most:
                if least <= shortest and kind in _LEAST:
                    self._hold(room - shortest)
                return
            self._hold(room - least)
            self._enter(kind, self._at + _HEAD, least)

    def _enter(self, kind: int, start: int, length: int) -> None:
        """Go on behind the head of a TLV or, with nothing to read in it, behind it."""
        if kind == CRC32C:
            self._checksum = start
        self._at = start + length
        if kind == SSL:
            self._hold(length - _LEAST[SSL])
            self._at, self._inner = start + _LEAST[SSL], start + length
        if self._at == self._inner:
            self._inner = 0

    def _hold(self, room: int) -> None:
        """Hold that another TLV fits in the room, or that there is none."""
        if 0 < room < _HEAD:
            self._fault("TLV cut off")

    def _header(self, octets: bytes) -> Header:
        if self._checksum is not None:
            start, stop = self._checksum, self._checksum + _LEAST[CRC32C]
            without = octets[:start] + bytes(stop - start) + octets[stop:]
            if crc32c(without) != int.from_bytes(octets[start:stop], "big"):
                self._fault("checksum that does not hold")
        origin = None
        if octets[13] == _TCP4:
            peer, to = (Peer.parse(str(IPv4Address(octets[at : at + 4]))) for at in (16, 20))
            origin = Origin(peer, int.from_bytes(octets[24:26], "big"), to, int.from_bytes(octets[26:28], "big"))
        elif octets[13] == _TCP6:
            peer, to = (Peer.parse(str(IPv6Address(octets[at : at + 16]))) for at in (16, 32))
            origin = Origin(peer, int.from_bytes(octets[48:50], "big"), to, int.from_bytes(octets[50:52], "big"))
        return Header(2, False, origin)

    def _fault(self, what: str) -> NoReturn:
        raise HeaderFault(what, bytes(self._octets))


def _range(octets: bytes | bytearray) -> tuple[int, int]:
    """Return the least and the most that a number of 16 bits can be that begins with `octets`."""
    return int.from_bytes(octets.ljust(2, b"\0"), "big"), int.from_bytes(octets.ljust(2, b"\xff"), "big")


def write(origin: Origin | None) -> bytes:
    """Return the header for `origin`; LOCAL without one, and for a client that has no address."""
    if origin is None or not origin.peer.family:
        return SIGNATURE + bytes((_LOCAL, _UNSPEC, 0, 0))
    peer, to, to_port = origin.peer, 0, 0
    if origin.to is not None and origin.to.family == peer.family:
        to, to_port = origin.to.value, origin.to_port
    family, width = (_TCP4, 4) if peer.family == 4 else (_TCP6, 16)
    numbers = ((peer.value, width), (to, width), (origin.port, 2), (to_port, 2))
    block = b"".join(number.to_bytes(octets, "big") for number, octets in numbers)
    return SIGNATURE + bytes((_PROXY, family, 0, len(block))) + block
