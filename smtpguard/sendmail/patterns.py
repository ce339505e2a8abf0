"""Networks and globs as the extended regular expressions of sendmail's `regex` maps.

Contract: `of_block` fits the text of `$&{client_addr}` exactly if the address is in the block.  sendmail writes
192.0.2.1, and IPv6:2001:db8:0:0:0:0:0:1 or, under UseCompressedIPv6Addresses, IPv6:2001:db8::1; both fit.  `of_globs`
fits a whole argument.  What is returned stands in a .cf as it is: `$` is written `$$` there, and `#` escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses, summarize_address_range
from typing import Final

from ..policy.networks import Block

PATTERN_OCTETS: Final = 900
"""Of one map's pattern, at most: sendmail's older readers took lines of 2048 octets."""
MAPS: Final = 64
"""For one network, at most: each is tried for each command, and a list that is longer belongs into the access map."""

Network = IPv4Network | IPv6Network
_FREE: Final = "[0-9a-f]+"
_GROUPS: Final = 8
_GROUP_BITS: Final = 16


def networks_of(blocks: Iterable[Block]) -> list[Network]:
    """Return ranges as networks, in order, as few as there can be."""
    v4: list[IPv4Network] = []
    v6: list[IPv6Network] = []
    for block in blocks:
        if block.family == 4:
            v4 += summarize_address_range(IPv4Address(block.first), IPv4Address(block.last))
        else:
            v6 += summarize_address_range(IPv6Address(block.first), IPv6Address(block.last))
    return [*collapse_addresses(v4), *collapse_addresses(v6)]


def of_networks(networks: Sequence[Network]) -> list[tuple[list[Network], str]]:
    """Return patterns that fit the addresses of the networks, each with those that it is of."""
    patterns: list[tuple[list[Network], str]] = []
    of: list[Network] = []
    parts: list[str] = []
    for network in networks:
        part = of_network(network)
        if parts and sum(map(len, parts)) + len(parts) + len(part) > PATTERN_OCTETS:
            patterns.append((of, f"^({'|'.join(parts)})"))
            of, parts = [], []
        of = [*of, network]
        parts.append(part)
    if parts:
        patterns.append((of, f"^({'|'.join(parts)})"))
    return patterns


def of_network(network: Network) -> str:
    """Return what fits an address of the network from its beginning on."""
    return _of_v4(network) if isinstance(network, IPv4Network) else _of_v6(network)


def _of_v4(network: IPv4Network) -> str:
    full, rest = divmod(network.prefixlen, 8)
    octets = str(network.network_address).split(".")
    pieces = octets[:full]
    if rest:
        first = int(octets[full])
        pieces.append(_numbers(first, first + (1 << 8 - rest) - 1))
    if not pieces:
        return r"[0-9]+\."
    return r"\.".join(pieces) + ("$$" if len(pieces) == 4 else r"\.")


def _numbers(first: int, last: int) -> str:
    """Return what fits the decimal numbers of a range."""
    by_tens: dict[int, list[int]] = {}
    for number in range(first, last + 1):
        by_tens.setdefault(number // 10, []).append(number % 10)
    words = [f"{tens or ''}{_class(digits[0], digits[-1])}" for tens, digits in by_tens.items()]
    return f"({'|'.join(words)})"


def _class(first: int, last: int) -> str:
    """Return what fits one digit of a range, which is hexadecimal if it is above 9."""
    if first == last:
        return f"{first:x}"
    if first < 10 <= last:
        return f"[{first}-9a-{last:x}]" if last > 10 else f"[{first}-9a]"
    return f"[{first:x}-{last:x}]"


def _of_v6(network: IPv6Network) -> str:
    full, rest = divmod(network.prefixlen, _GROUP_BITS)
    values = [int(group, 16) for group in network.network_address.exploded.split(":")]
    told = full + bool(rest)
    """How many groups the prefix says something of."""
    if not told:
        return "IPv6:"
    groups = [f"{value:x}" for value in values[:full]]
    if rest:
        groups.append(_group(values[full], _GROUP_BITS - rest))
    groups += [_FREE] * (_GROUPS - told)
    forms = {":".join(groups[:told]) + ("$$" if told == _GROUPS else ":"): None}
    if told == _GROUPS and not rest:
        return f"IPv6:({'|'.join(dict.fromkeys((':'.join(groups), str(network.network_address))))})$$"
    # Where a run of zeros is left out, two groups at least, that begins within the prefix and goes as far as it can.
    for start in range(told):
        if start and groups[start - 1] == "0":
            continue
        for end in range(start + 2, told):
            if not any(values[start:end]):
                forms[f"{':'.join(groups[:start])}::{':'.join(groups[end:])}$$"] = None
        if not any(values[start:told]):
            free = _GROUPS - max(told, start + 2)
            tail = f"({_FREE}(:{_FREE}){{0,{free - 1}}})?" if free else ""
            forms[f"{':'.join(groups[:start])}::{tail}$$"] = None
    return f"IPv6:({'|'.join(forms)})" if len(forms) > 1 else f"IPv6:{next(iter(forms))}"


def _group(first: int, free: int) -> str:
    """Return what fits a group whose last `free` bits are any; it has no leading zeros."""
    nibbles, bits = divmod(free, 4)
    any_digit = "[0-9a-f]"
    if first:
        digits = f"{first:x}"
        head = digits[: len(digits) - nibbles - bool(bits)]
        if bits:
            digit = int(digits[len(head)], 16)
            head += _class(digit, digit + (1 << bits) - 1)
        return head + any_digit * nibbles
    last = (1 << free) - 1
    words = []
    for length in range(1, 5):
        lowest = 0 if length == 1 else 1
        if lowest << 4 * (length - 1) <= last:
            words.append(_class(lowest, min(15, last >> 4 * (length - 1))) + any_digit * (length - 1))
    return f"({'|'.join(words)})"


def of_words(words: Iterable[str]) -> str:
    """Return what fits one of the words and nothing else."""
    return f"^({'|'.join(map(_escaped, words))})$$"


def of_globs(globs: Iterable[str]) -> str | None:
    """Return what fits what one of the globs fits; None if one has a `[`, which regular expressions read otherwise."""
    parts = []
    for glob in globs:
        if "[" in glob or not glob.isascii() or not glob.isprintable():
            return None
        parts.append("".join({"*": ".*", "?": "."}.get(one) or _escaped(one) for one in glob))
    return f"^({'|'.join(parts)})$$"


_PLAIN: Final = re.compile(r"[A-Za-z0-9 _@:,;=%&~!/'\"-]")


def _escaped(text: str) -> str:
    return "".join(_escaped_one(one) for one in text)


def _escaped_one(one: str) -> str:
    if _PLAIN.fullmatch(one):
        return one
    match one:
        case "$":
            return "[$$]"
        case "#":
            return r"[\#]"  # else a comment would begin
        case "^" | "\\":
            return "\\" + one
        case _:
            return f"[{one}]"  # `<` and `>` too, so that no quote of m4's comes about
