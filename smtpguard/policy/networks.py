"""Addresses and named networks, and the look-up of the one in the other.

Contract: networks are read only in the one form that cannot be misread (no host bits, no hostmask, no
short forms), and mean what they mean to netaddr, which says what is wrong with all others; a client's
address is classified once per connection by one bisection, whatever the number of networks.
::ffff:10.0.0.1 is 10.0.0.1 everywhere, since that is how a dual-stack socket shows an IPv4 client; a zone
id is dropped.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final, final

from netaddr import AddrFormatError, IPNetwork

from ..smtp.values import Value

_CIDR: Final = re.compile(r"[0-9A-Fa-f:.]+(/(0|[1-9][0-9]{0,2}))?")
_OCTETS: Final = {str(number): number for number in range(256)}
_HOSTS_IPV4: Final = {"": 0, **{f"/{length}": (1 << 32 - length) - 1 for length in range(33)}}
_HOSTS_IPV6: Final = {"": 0, **{f"/{length}": (1 << 128 - length) - 1 for length in range(129)}}
"""The bits behind a prefix, by how its length is written."""
_ZONE: Final = re.compile(r"%[^/]*")
_MAPPED: Final = 0xFFFF << 32  # ::ffff:0:0/96, RFC 4291 2.5.5.2
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
UNKNOWN_PEER: Final = Peer(0, 0, "unknown")
"""A client whose address the balancer in front could not tell: in no network either."""


@final
class Block(Value):
    """The addresses of a CIDR, both ends included."""

    __slots__ = ("family", "first", "last")

    def __init__(self, family: int, first: int, last: int) -> None:
        self.family: Final = family
        self.first: Final = first
        self.last: Final = last

    def parts(self) -> tuple[object, ...]:
        return self.family, self.first, self.last


def parse_block(text: str) -> Block:
    """Read a CIDR or a single address; raises ValueError whose text says what to write instead."""
    block = _usual(text)
    return _by_netaddr(text) if block is None else block


def _usual(text: str) -> Block | None:
    """Read what is right and written in the usual way, for a tenth of what netaddr takes; None is anything else.

    A large policy has 100,000 of them.  A number is looked up, so that only one form of it is known.
    """
    address, slash, length = text.partition("/")
    try:
        if ":" in address:
            first, hosts = int(IPv6Address(address)), _HOSTS_IPV6[slash + length]
            return None if first & hosts else _block_of_ipv6(first, first | hosts)
        a, b, c, d = address.split(".")
        first = _OCTETS[a] << 24 | _OCTETS[b] << 16 | _OCTETS[c] << 8 | _OCTETS[d]
        hosts = _HOSTS_IPV4[slash + length]
        return None if first & hosts else Block(4, first, first | hosts)
    except (KeyError, ValueError):
        return None


def _block_of_ipv6(first: int, last: int) -> Block:
    if first >= _MAPPED and last <= _MAPPED | 0xFFFFFFFF:
        return Block(4, first - _MAPPED, last - _MAPPED)
    return Block(6, first, last)


def _by_netaddr(text: str) -> Block:
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
    return Block(4, first, last) if network.version == 4 else _block_of_ipv6(first, last)


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
        having: dict[int, list[tuple[int, int, int]]] = {4: [], 6: []}
        for name, blocks in networks.items():
            place = self._place[name]
            for block in blocks:
                # In this order a block comes behind those that it lies in.
                having[block.family].append((block.first, -block.last, place))
        for family, placed in having.items():
            placed.sort()
            self._starts[family], self._areas[family] = _cut(placed)

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


def _cut(placed: list[tuple[int, int, int]]) -> tuple[list[int], list[_Area]]:
    """Cut a family into ranges; return where each starts, and its area.

    `placed` is each block's first address, its last one with a minus, and the place of a network that has it,
    in order.  CIDRs lie one in the other or apart, never across: so the blocks that are open at an address
    are a stack.
    """
    nowhere = _Area(None, ())
    starts, areas = [0], [nowhere]
    made: dict[tuple[_Area, tuple[int, ...]], _Area] = {}
    ends: list[int] = []  # of the open blocks, and their areas behind that of none
    within = [nowhere]

    def begin(start: int) -> None:
        area = within[-1]
        if starts[-1] == start:
            areas[-1] = area
        elif areas[-1] is not area:
            starts.append(start)
            areas.append(area)

    at, count = 0, len(placed)
    while at < count:
        first, minus_last, place = placed[at]
        behind = at + 1
        while behind < count and placed[behind][0] == first and placed[behind][1] == minus_last:
            behind += 1
        while ends and ends[-1] < first:
            within.pop()
            begin(ends.pop() + 1)
        networks = (place,) if behind == at + 1 else tuple([one[2] for one in placed[at:behind]])
        at = behind
        key = within[-1], networks
        area = made.get(key)
        if area is None:
            area = made[key] = _Area(*key)
        ends.append(-minus_last)
        within.append(area)
        begin(first)
    while ends:
        within.pop()
        begin(ends.pop() + 1)
    return starts, areas
