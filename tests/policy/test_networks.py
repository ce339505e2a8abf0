"""A network is read as netaddr reads it, in whichever way: the short one for the usual forms is no other meaning."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from netaddr import AddrFormatError, IPNetwork

from smtpguard.policy.networks import Block, NetworkTable, Peer, parse_block

MAPPED = 0xFFFF << 32
"""::ffff:0:0/96"""


def by_netaddr(text: str) -> Block | None:
    """What netaddr makes of a CIDR without host bits; None if it is none."""
    try:
        network = IPNetwork(text)
    except (AddrFormatError, ValueError):
        return None
    first, last = int(network.first), int(network.last)
    if network.value != first:
        return None
    if network.version == 6 and first >= MAPPED and last <= MAPPED | 0xFFFFFFFF:
        return Block(4, first - MAPPED, last - MAPPED)
    return Block(network.version, first, last)


numbers = st.integers(0, 260).map(str) | st.sampled_from(["0", "255", "256", "00", "01", "010"])
groups = st.integers(0, 0xFFFF).map("{:x}".format) | st.sampled_from(["0", "", "FFFF", "ffff", "00000", "0db8", "g"])
lengths = st.sampled_from(["", "/0", "/8", "/16", "/24", "/31", "/32", "/33", "/64", "/104", "/127", "/128", "/129"])
ipv4_like = st.lists(numbers, min_size=4, max_size=5).map(".".join)
ipv6_like = st.lists(groups, min_size=2, max_size=9).map(":".join)
both = st.builds("{}:{}".format, st.sampled_from(["::ffff", ":", "::", "2001:db8::", "0:0:0:0:0:ffff"]), ipv4_like)
spelled = st.text("0123456789abcdefABCDEF:.", min_size=1, max_size=20).filter(lambda text: ":" in text)


@given(st.builds(str.__add__, ipv4_like | ipv6_like | both | spelled, lengths))
@example("0.0.0.0/0")
@example("::/0")
@example("::ffff:0:0/96")
@example("::ffff:a00:0/104")
@example("1:2:3:4:5:6:7::")
def test_what_is_read_and_what_is_refused_is_what_netaddr_says(text: str) -> None:
    """Right and nearly right ones, of both families."""
    try:
        found = parse_block(text)
    except ValueError:
        assert by_netaddr(text) is None
    else:
        assert found == by_netaddr(text)


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_every_ipv4_network_is_read(address: int, length: int) -> None:
    """From its first address to its last."""
    hosts = (1 << 32 - length) - 1
    first = address & ~hosts
    octets = ".".join(str(first >> shift & 255) for shift in (24, 16, 8, 0))
    assert parse_block(f"{octets}/{length}") == Block(4, first, first | hosts)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("10.0.0.1/8", "10.0.0.1/8 has host bits set: write 10.0.0.0/8 or 10.0.0.1"),
        ("2001:db8::1/32", "2001:db8::1/32 has host bits set: write 2001:db8::/32 or 2001:db8::1"),
        ("10.0.0.0/33", "'10.0.0.0/33' is not a network: the prefix length is at most 32"),
        ("::/129", "'::/129' is not a network: the prefix length is at most 128"),
        ("10.0.0.0/", "'10.0.0.0/' is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"),
        ("10.0.0.0/08", "'10.0.0.0/08' is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"),
        ("10.0.0.0/8/8", "'10.0.0.0/8/8' is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"),
        ("1٠.0.0.0/8", "'1٠.0.0.0/8' is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"),  # noqa: RUF001
        ("10.0.0.0\n", "'10.0.0.0\\n' is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"),
        ("10.0.0.00", "'10.0.0.00' is not a network: the numbers go from 0 to 255, without leading zeros"),
    ],
)
def test_what_is_nearly_a_usual_form_is_refused_with_what_to_write(text: str, fault: str) -> None:
    """One form for each network, so that nobody reads another one."""
    with pytest.raises(ValueError) as found:
        parse_block(text)
    assert str(found.value) == fault


def test_one_block_in_many_networks_is_in_all_of_them() -> None:
    """And what lies in it, twice in one of them even."""
    names = {name: [parse_block("10.0.0.0/8")] for name in "abc"}
    table = NetworkTable({**names, "d": [parse_block("10.1.0.0/16"), parse_block("10.1.0.0/16")], "e": []})
    assert table.names_of(Peer.parse("10.2.0.1")) == ["a", "b", "c"]
    assert table.names_of(Peer.parse("10.1.0.1")) == ["a", "b", "c", "d"]
    assert table.names_of(Peer.parse("11.0.0.0")) == []
