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
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final, final

from netaddr import AddrFormatError, IPNetwork

from ..smtp.values import Value

_CIDR: Final = re.compile(r"[0-9A-Fa-f:.]+(/(0|[1-9][0-9]{0,2}))?")
_ZONE: Final = re.compile(r"%[^/]*")
_MAPPED: Final = 0xFFFF << 32  # ::ffff:0:0/96, RFC 4291 2.5.5.2
_BEHIND_ALL: Final = 1 << 128
PEERS_REMEMBERED: Final = 4096
"""Addresses that need not be read again, as those of mail programs inside; about 1 MB."""


@final
class Peer(Value):
    """A client's address; `family` is 4, 6, or 0 where there is none (a unix socket)."""

    __slots__ = ("family", "text", "value")

    def __init__(self, family: int, value: int, text: str) -> None:
        self.family: Final = family
        self.value: Final = value
        self.text: Final = text

    def parts(self) -> tuple[object, ...]:
        return self.family, self.value, self.text

    @staticmethod
    def parse(text: str) -> Peer:
        """Read an address as a socket gives it; raises ValueError."""
        return _peer(text)

    @property
    def bracketed(self) -> str:
        """The form of sendmail's log: [192.0.2.1] or [IPv6:2001:db8::1]."""
        if not self.family:
            return f"[{self.text}]"
        return f"[IPv6:{self.text}]" if self.family == 6 else f"[{self.text}]"


@lru_cache(PEERS_REMEMBERED)
def _peer(text: str) -> Peer:
    address = ip_address(_ZONE.sub("", text))
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return Peer(address.version, int(address), str(address))


UNIX_PEER: Final = Peer(0, 0, "unix")
"""A client on a unix socket: it has no address, so no network has it."""


@dataclass(frozen=True)
class Block:
    """The addresses of a CIDR, both ends included."""

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
    first, last = int(network.first), int(network.last)
    if network.value != first:
        raise ValueError(f"{text} has host bits set: write {network.cidr} or {network.ip}")
    if network.version == 6 and first >= _MAPPED and last <= _MAPPED | 0xFFFFFFFF:
        return Block(4, first - _MAPPED, last - _MAPPED)
    return Block(network.version, first, last)


def _what_is_wrong(text: str) -> str:
    address, slash, prefix = text.partition("/")
    bits = 128 if ":" in address else 32
    if slash and int(prefix) > bits:
        return f"the prefix length is at most {bits}"
    return "the numbers go from 0 to 255, without leading zeros" if bits == 32 else "no such address"


@final
class _Area:
    """All addresses that the same blocks hold."""

    __slots__ = ("_bits", "around", "networks")

    def __init__(self, around: _Area | None, networks: tuple[int, ...]) -> None:
        self.around: Final = around
        """What the innermost of the blocks lies in."""
        self.networks: Final = networks
        """The bits, by their places, of the networks that have the innermost block."""
        self._bits: int | None = None

    @property
    def bits(self) -> int:
        """Those of the networks around it too.

        Put together when first asked for: for all areas at once they would take the square of the
        number of networks.
        """
        if self._bits is None:
            bits = self.around.bits if self.around is not None else 0
            for place in self.networks:
                bits |= 1 << place
            self._bits = bits
        return self._bits


class NetworkTable:
    """Named networks, arranged so that one look-up gives all that an address is in.

    The answer is a set of bits; `bits_of` says which bit a name has.  Each family is cut into the
    ranges between the ends of any block, and every range knows its area.
    """

    def __init__(self, networks: Mapping[str, Iterable[Block]]) -> None:
        self._place = {name: place for place, name in enumerate(networks)}
        self._starts: dict[int, list[int]] = {}
        self._areas: dict[int, list[_Area]] = {}
        having: dict[int, dict[tuple[int, int], list[int]]] = {4: {}, 6: {}}
        for name, blocks in networks.items():
            for block in blocks:
                # In this order a block comes behind those that it lies in.
                having[block.family].setdefault((block.first, -block.last), []).append(self._place[name])
        for family, places in having.items():
            self._starts[family], self._areas[family] = _cut(places)

    @property
    def names(self) -> list[str]:
        return list(self._place)

    def bits_of(self, name: str) -> int:
        """Return the bit of a network; raises KeyError."""
        return 1 << self._place[name]

    def classify(self, peer: Peer) -> int:
        """Return the bits of all the networks that hold `peer`."""
        starts = self._starts.get(peer.family)
        if starts is None:
            return 0
        return self._areas[peer.family][bisect_right(starts, peer.value) - 1].bits

    def names_of(self, peer: Peer) -> list[str]:
        """Return the names of all the networks that hold `peer`."""
        return self.names_in(self.classify(peer))

    def names_in(self, bits: int) -> list[str]:
        """Return the names behind `bits`, in the order of the policy."""
        return [name for name, place in self._place.items() if bits >> place & 1]


def _cut(having: Mapping[tuple[int, int], list[int]]) -> tuple[list[int], list[_Area]]:
    """Cut a family into ranges; return where each starts, and its area.

    CIDRs lie one in the other or apart, never across: so the blocks that are open at an address are
    a stack.
    """
    nowhere = _Area(None, ())
    starts, areas = [0], [nowhere]
    made: dict[tuple[_Area, tuple[int, ...]], _Area] = {}
    open_blocks: list[tuple[int, _Area]] = []

    def begin(start: int) -> None:
        area = open_blocks[-1][1] if open_blocks else nowhere
        if starts[-1] == start:
            areas[-1] = area
        elif areas[-1] is not area:
            starts.append(start)
            areas.append(area)

    def close_before(first: int) -> None:
        while open_blocks and open_blocks[-1][0] < first:
            last, _ = open_blocks.pop()
            begin(last + 1)

    for first, minus_last in sorted(having):
        close_before(first)
        around = open_blocks[-1][1] if open_blocks else nowhere
        key = around, tuple(having[first, minus_last])
        area = made.setdefault(key, _Area(*key))
        open_blocks.append((-minus_last, area))
        begin(first)
    close_before(_BEHIND_ALL)
    return starts, areas
