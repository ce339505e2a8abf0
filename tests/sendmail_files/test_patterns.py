"""Networks as patterns: what fits is what is in them, in both forms in which sendmail writes addresses."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from hypothesis import example, given
from hypothesis import strategies as st

from smtpguard.sendmail import patterns
from smtpguard.sendmail.patterns import Network

V4 = st.integers(0, (1 << 32) - 1)
# Many zeros: where they are, addresses have more than one form.
GROUP = st.one_of(
    st.just(0), st.just(0), st.sampled_from([1, 0xF, 0x10, 0xDB8, 0x8000, 0xFFFF]), st.integers(0, 0xFFFF)
)
V6 = st.lists(GROUP, min_size=8, max_size=8).map(lambda groups: int("".join(f"{one:04x}" for one in groups), 16))


def fits(network: Network, text: str) -> bool:
    """Ask as sendmail does: the patterns of a .cf have `$$` for `$`, and letter case is one."""
    ((_, pattern),) = patterns.of_networks([network])
    return re.search(pattern.replace("$$", "$"), text, re.IGNORECASE) is not None


def written(address: IPv6Address, start: int, end: int) -> str:
    """Return an address whose groups from `start` to `end` are left out, as they are zeros."""
    groups = [f"{int(group, 16):x}" for group in address.exploded.split(":")]
    return "IPv6:" + (":".join(groups[:start]) + "::" + ":".join(groups[end:]) if end else ":".join(groups))


def zeros(address: IPv6Address) -> tuple[int, int]:
    """Return the first of the longest runs of two or more groups of zeros; (0, 0) if there is none."""
    groups = [int(group, 16) for group in address.exploded.split(":")]
    runs = [(a, b) for a in range(8) for b in range(a + 2, 9) if not any(groups[a:b])]
    return max(runs, key=lambda run: (run[1] - run[0], -run[0]), default=(0, 0))


@given(V4, V4, st.integers(0, 32), st.booleans())
@example(0xC0000280, 0xC00002FF, 25, False)
def test_an_ipv4_address_fits_if_it_is_in_the_network(value: int, other: int, length: int, near: bool) -> None:
    """Whatever the length of the prefix is."""
    network = IPv4Network((value, length), strict=False)
    address = IPv4Address((int(network.network_address) + other % network.num_addresses) if near else other)
    assert fits(network, str(address)) == (address in network)
    assert not fits(network, f"IPv6:{address}")


@given(V6, V6, st.integers(0, 128), st.booleans())
@example(0, 1, 128, False)
@example(0x64FF9B << 96, (0x64FF9B << 96) + (1 << 40), 96, False)
@example(0x64FF9B << 96, (0x64FF9B << 96) + 9, 96, False)
def test_an_ipv6_address_fits_in_either_form_if_it_is_in_the_network(
    value: int, other: int, length: int, near: bool
) -> None:
    """With all groups, and with the longest run of zeros left out."""
    network = IPv6Network((value, length), strict=False)
    address = IPv6Address((int(network.network_address) + other % network.num_addresses) if near else other)
    for text in (written(address, 0, 0), written(address, *zeros(address))):
        assert fits(network, text) == (address in network), text


def test_a_long_list_becomes_several_patterns_each_within_its_bound() -> None:
    """sendmail's lines are not endless; nothing is lost."""
    networks: list[Network] = [ip_network(f"10.{a}.{b}.0/25") for a in range(20) for b in range(20)]
    found = patterns.of_networks(networks)
    assert len(found) > 1
    assert all(len(pattern) <= patterns.PATTERN_OCTETS + 10 for _, pattern in found)
    assert [one for of, _ in found for one in of] == networks


def test_globs_that_regular_expressions_would_read_otherwise_are_refused() -> None:
    """A bracket is a class in both, with other rules."""
    assert patterns.of_globs(["a[b]c"]) is None
    assert patterns.of_globs(["a.b*", "x?$#"]) == r"^(a[.]b.*|x.[$$][\#])$$"
