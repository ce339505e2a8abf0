"""Addresses and named networks, and the look-up of the one in the other.

Contract: networks are parsed by netaddr, but only in the one form that cannot be misread (no host
bits, no hostmask, no short forms); a client's address is classified once per connection by one
bisection, whatever the number of networks.  ::ffff:10.0.0.1 is 10.0.0.1 everywhere, since that is
how a dual-stack socket shows an IPv4 client; a zone id is dropped.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address, ip_address
from typing import Final, Self

from attrs import frozen
from netaddr import AddrFormatError, IPNetwork

_CIDR: Final = re.compile(r"[0-9A-Fa-f:.]+(/(0|[1-9][0-9]{0,2}))?")
_ZONE: Final = re.compile(r"%[^/]*")
_MAPPED: Final = 0xFFFF << 32  # ::ffff:0:0/96, RFC 4291 2.5.5.2


@frozen
class Peer:
    """A client's address; `family` is 4, 6, or 0 where there is none (a unix socket)."""

    family: int
    value: int
    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address as a socket gives it; raises ValueError."""
        address = ip_address(_ZONE.sub("", text))
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return cls(address.version, int(address), str(address))

    @property
    def bracketed(self) -> str:
        """The form of sendmail's log: [192.0.2.1] or [IPv6:2001:db8::1]."""
        if not self.family:
            return "[unix]"
        return f"[IPv6:{self.text}]" if self.family == 6 else f"[{self.text}]"


UNIX_PEER: Final = Peer(0, 0, "unix")
"""A client on a unix socket: it has no address, so no network has it."""


@frozen
class Block:
    """A range of addresses of one family, both ends included."""

    family: int
    first: int
    last: int


def parse_block(text: str) -> Block:
    """Read a CIDR or a single address; raises ValueError whose text says what to write instead."""
    text = _ZONE.sub("", text)
    if not _CIDR.fullmatch(text):
        raise ValueError(f"{text!r} is not a network: write it as 192.0.2.0/24 or 2001:db8::/32")
    if ":" not in text and text.partition("/")[0].count(".") != 3:
        raise ValueError(f"{text!r} is a short form: write all four numbers, as in 10.0.0.0/8")
    try:
        network = IPNetwork(text)
    except (AddrFormatError, ValueError):
        raise ValueError(f"{text!r} is not a network: {_what_is_wrong(text)}") from None
    if network.ip != network.network:
        raise ValueError(f"{text} has host bits set: write {network.cidr} or {network.ip}")
    first, last = int(network.first), int(network.last)
    if network.version == 6 and first >= _MAPPED and last <= _MAPPED | 0xFFFFFFFF:
        return Block(4, first - _MAPPED, last - _MAPPED)
    return Block(network.version, first, last)


def _what_is_wrong(text: str) -> str:
    address, slash, prefix = text.partition("/")
    bits = 128 if ":" in address else 32
    if slash and int(prefix) > bits:
        return f"the prefix length is at most {bits}"
    return "the numbers go from 0 to 255, without leading zeros" if bits == 32 else "no such address"


class NetworkTable:
    """Named networks, arranged so that one look-up gives all that an address is in.

    The answer is a set of bits; `bits_of` says which bit a name has.  Each family is cut into the
    ranges between the ends of any network, and every range knows its bits.
    """

    def __init__(self, networks: Mapping[str, Iterable[Block]]) -> None:
        self._bit = {name: 1 << place for place, name in enumerate(networks)}
        self._starts: dict[int, list[int]] = {4: [0], 6: [0]}
        self._bits: dict[int, list[int]] = {4: [0], 6: [0]}
        changes: dict[int, dict[int, int]] = {4: {}, 6: {}}
        for name, blocks in networks.items():
            for block in _merged(blocks):
                # Merged blocks of one name do not touch, so a bit is toggled once on, once off.
                at = changes[block.family]
                at[block.first] = at.get(block.first, 0) ^ self._bit[name]
                at[block.last + 1] = at.get(block.last + 1, 0) ^ self._bit[name]
        for family, at in changes.items():
            now = 0
            for start in sorted(at):
                now ^= at[start]
                self._starts[family].append(start)
                self._bits[family].append(now)

    @property
    def names(self) -> list[str]:
        return list(self._bit)

    def bits_of(self, name: str) -> int:
        """Return the bit of a network; raises KeyError."""
        return self._bit[name]

    def classify(self, peer: Peer) -> int:
        """Return the bits of all the networks that hold `peer`."""
        starts = self._starts.get(peer.family)
        if starts is None:
            return 0
        return self._bits[peer.family][bisect_right(starts, peer.value) - 1]

    def names_in(self, bits: int) -> list[str]:
        """Return the names behind `bits`, in the order of the policy."""
        return [name for name, bit in self._bit.items() if bits & bit]


def _merged(blocks: Iterable[Block]) -> Iterable[Block]:
    """Join blocks that overlap or touch."""
    family, first, last = 0, 0, -2
    for block in sorted(blocks, key=lambda b: (b.family, b.first)):
        if block.family == family and block.first <= last + 1:
            last = max(last, block.last)
            continue
        if family:
            yield Block(family, first, last)
        family, first, last = block.family, block.first, block.last
    if family:
        yield Block(family, first, last)
