"""Whom a deed is laid to: an address, or the prefix that one customer of a provider has.

Contract: pure.  A source is written as an address or as a CIDR, in the one form that Python's ipaddress writes.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final

IPV4_PREFIX: Final = 32
IPV6_PREFIX: Final = 64
"""One customer has that much at least, and may take another address for each session."""
IPV4_AROUND: Final = 24
IPV6_AROUND: Final = 48
"""What one customer may have at most, as a rule; with a policy's own prefixes, if those are wider."""
SOURCES_REMEMBERED: Final = 4096
"""Addresses that need not be read again; about 1 MB."""
MANY: Final = "many addresses"
"""The source of what too many did to be told apart."""


@lru_cache(SOURCES_REMEMBERED)
def prefix_of(address: str, ipv4: int = IPV4_PREFIX, ipv6: int = IPV6_PREFIX) -> str:
    """Return the source that an address belongs to; the text itself if it is none."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    length = ipv4 if parsed.version == 4 else ipv6
    if length >= parsed.max_prefixlen:
        return str(parsed)
    return str(ip_network((parsed, length), strict=False))


def around(address: str, ipv4: int = IPV4_PREFIX, ipv6: int = IPV6_PREFIX) -> str:
    """Return the network around a source, of which only so many are told apart."""
    return prefix_of(address, min(ipv4, IPV4_AROUND), min(ipv6, IPV6_AROUND))


def written(key: str) -> str:
    """Return a key in the usual form; raises ValueError for what is neither an address nor a CIDR."""
    if "/" not in key:
        return str(ip_address(key))
    network = ip_network(key, strict=False)
    return str(network) if network.num_addresses > 1 else str(network.network_address)


def holds(key: str, address: str) -> bool:
    """True if a key is this address, or a prefix with it."""
    try:
        return ip_address(address) in ip_network(key)
    except ValueError:
        return False
