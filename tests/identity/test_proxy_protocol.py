"""PROXY headers: what is one, what is none and from which octet on, and what they say."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from random import Random  # noqa: TID251
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpguard.identity.crc32c import crc32c
from smtpguard.identity.origin import Origin
from smtpguard.identity.proxy_header import FAULT_OCTETS
from smtpguard.identity.proxy_protocol import Header, HeaderFault, HeaderReader, write_v1, write_v2
from smtpguard.policy.networks import UNIX_PEER, Peer

from .proxy_headers import FAULTS, HEADERS, SIGNATURE, V4, tlv, v2


def cut(octets: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut octets into segments."""
    at = [0, *sorted(places), len(octets)]
    return [octets[start:end] for start, end in pairwise(at)]


def played(segments: Iterable[bytes]) -> Header | tuple[str, bytes] | None:
    """Return what a reader makes of this: the header, what is wrong and its octets, or None if more is needed."""
    reader, left = HeaderReader(), list(segments)
    while left:
        try:
            header = reader.feed(left.pop(0))
        except HeaderFault as fault:
            assert len(fault.octets) <= FAULT_OCTETS
            return fault.what, fault.octets
        if header is not None:
            left.insert(0, reader.rest)
            assert b"".join(left) in (b"", BEHIND)
            return header
    return None


BEHIND = b"EHLO me.test\r\nPROXY UNKNOWN\r\n"


def all_ways(octets: bytes, seed: int = 1) -> Header | tuple[str, bytes] | None:
    """Play octets whole, one by one and split at random; all that must come to the same."""
    random = Random(seed)
    ways = [[octets], cut(octets, range(1, len(octets)))]
    ways += [cut(octets, (random.randrange(len(octets) + 1) for _ in range(3))) for _ in range(10)]
    first, *others = map(played, ways)
    assert all(other == first for other in others)
    return first


@pytest.mark.parametrize(("octets", "header"), HEADERS.items(), ids=lambda value: repr(value)[:60])
@pytest.mark.parametrize("behind", [b"", BEHIND])
def test_a_header_is_read_and_what_is_behind_it_is_kept(octets: bytes, header: Header, behind: bytes) -> None:
    """Also what comes in the same segment; and nothing less than all of it is a header."""
    assert all_ways(octets + behind) == header
    for end in range(len(octets)):
        assert played([octets[:end]]) is None


@pytest.mark.parametrize(("octets", "place", "what"), FAULTS)
def test_what_is_none_is_refused_as_soon_as_that_is_certain(octets: bytes, place: int, what: str) -> None:
    """With the same words and the same octets however they came."""
    assert all_ways(octets + BEHIND) == (what, octets[:place][:FAULT_OCTETS])
    assert played(cut(octets[: place - 1], range(1, place - 1))) is None


@pytest.mark.parametrize(
    ("octets", "checksum"),
    [
        # RFC 3720 B.4.
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
    ],
)
def test_the_checksum_is_that_of_the_standard(octets: bytes, checksum: int) -> None:
    """Its examples."""
    assert crc32c(octets) == checksum


PEERS = st.ip_addresses().map(str).map(Peer.parse)
PORTS = st.integers(0, 65535)
ORIGINS = st.builds(Origin, PEERS, PORTS, PEERS | st.none(), PORTS)


@given(ORIGINS)
def test_what_is_written_is_read_back(one: Origin) -> None:
    """A destination that is not known, or of the other family, is all zeros."""
    nowhere = Peer.parse("0.0.0.0" if one.peer.family == 4 else "::")
    known = one.to is not None and one.to.family == one.peer.family
    expected = one if known else Origin(one.peer, one.port, nowhere, 0)
    for version, octets in ((1, write_v1(one)), (2, write_v2(one))):
        assert all_ways(octets) == Header(version, False, expected)


@pytest.mark.parametrize("one", [None, Origin(UNIX_PEER, 0, None, 0)])
def test_where_no_address_is_known_none_is_told(one: Origin | None) -> None:
    """A client on a unix socket has none."""
    assert write_v1(one) == b"PROXY UNKNOWN\r\n"
    assert all_ways(write_v2(one)) == Header(2, True, None)


def test_ports_that_are_none_make_no_origin() -> None:
    """A writer could not tell them."""
    for port, to_port in ((-1, 0), (65536, 0), (0, -1), (0, 65536)):
        with pytest.raises(ValueError, match="is not a port"):
            Origin(Peer.parse("::1"), port, None, to_port)


# -- whatever comes ------------------------------------------------------------------------

SEEDS = st.sampled_from([*HEADERS, *(octets for octets, _, _ in FAULTS)])
PIECES = st.sampled_from(
    [
        b" ", b"\r", b"\n", b"\r\n", b".", b":", b"::", b"0", b"00", b"1.2", b"255", b"65535", b"ffff", b"TCP6",
        b"UNKNOWN", b"\0", b"\x03\0\x04", b"\x20\0\x05", b"\x04\0\0", b"\x21", b"\x11", b"\xff", b"\x08\0", b"\x08\x01",
        SIGNATURE,
    ]
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a header that something was done to, a few times."""
    octets = draw(SEEDS)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(octets)))
        stop = draw(st.integers(start, min(start + 4, len(octets))))
        octets = octets[:start] + draw(PIECES | st.binary(max_size=3)) + octets[stop:]
    return octets


def addresses_said(octets: bytes, header: Header) -> tuple[Peer, Peer]:
    """Read the addresses again, by other means."""
    if header.version == 1:
        words = octets.partition(b"\r\n")[0].decode("ascii").split(" ")
        return Peer.parse(words[2]), Peer.parse(words[3])
    width = 4 if octets[13] >> 4 == 1 else 16
    form = (lambda raw: ".".join(map(str, raw))) if width == 4 else (lambda raw: raw.hex(":", 2))
    return Peer.parse(form(octets[16 : 16 + width])), Peer.parse(form(octets[16 + width : 16 + 2 * width]))


@given(mutated() | st.binary(max_size=40).map(lambda some: SIGNATURE + some) | st.binary(max_size=130))
def test_whatever_comes_there_is_a_header_a_fault_or_a_need_for_more(octets: bytes) -> None:
    """And no other exception; an origin is what stands there, and nothing is read twice in two ways."""
    reader, end = HeaderReader(), 0
    found: Header | None = None
    try:
        while found is None and end < len(octets):
            found = reader.feed(octets[end : end + 1])
            end += 1
    except HeaderFault as fault:
        assert fault.octets == octets[: end + 1][:FAULT_OCTETS]
        assert played([octets]) == (fault.what, fault.octets)
        return
    if found is None:
        assert played([octets]) is None
        return
    whole = HeaderReader()
    assert whole.feed(octets) == found
    assert whole.rest == octets[end:]
    if found.origin is not None:
        assert (found.origin.peer, found.origin.to) == addresses_said(octets[:end], found)


def beginning(octets: bytes) -> bytes:
    """Return what of the octets a reader takes, up to the octet before a fault, or to the end."""
    reader = HeaderReader()
    for end in range(len(octets)):
        try:
            if reader.feed(octets[end : end + 1]) is not None:
                return octets[: end + 1]
        except HeaderFault:
            return octets[:end]
    return octets


def can_become_a_header(octets: bytes, alphabet: bytes, at_most: int) -> bool:
    """Look for something to put behind the octets; quick if all that comes to nothing is refused at once."""
    met = played([octets])
    if met is not None or len(octets) == at_most:
        return isinstance(met, Header)
    return any(can_become_a_header(octets + alphabet[i : i + 1], alphabet, at_most) for i in range(len(alphabet)))


@given(mutated().filter(lambda octets: not octets.startswith(SIGNATURE[:1])))
def test_a_line_that_is_waited_for_can_still_come(octets: bytes) -> None:
    """Whatever is not refused is the beginning of a line, up to the very last octet."""
    assert can_become_a_header(beginning(octets), b"\r\n 0:.PROXYUNKWTC4", 107)


@given(
    st.sampled_from([(0x00, b""), (0x11, V4)]),
    st.integers(0, 30).filter(lambda length: length not in (1, 2)),
    st.lists(st.sampled_from([b"\0", b"\1", b"\2", b"\4", b"\5", b"\x08", b"\x20\0", b"\x20\0\x07"]), max_size=12),
)
def test_a_binary_header_that_is_waited_for_can_still_come(
    front: tuple[int, bytes], length: int, pieces: list[bytes]
) -> None:
    """TLVs in TLVs too; but who would wait for a checksum could not tell."""
    family, addresses = front
    octets = v2(family, addresses + b"".join(pieces), length=len(addresses) + length)
    end = 16 + len(addresses) + length
    assert can_become_a_header(beginning(octets[:end]), b"\0\1\2\5", end)


def test_a_long_header_that_comes_octet_by_octet_is_looked_at_once() -> None:
    """Work grows with the header, not with its square: four times the TLVs, less than eight times the work."""

    def seconds(count: int) -> float:
        octets = v2(0x11, V4 + tlv(0xE0, b"") * count)
        best = 9.0
        for _ in range(5):
            reader = HeaderReader()
            began = process_time()
            headers = [reader.feed(octets[at : at + 1]) for at in range(len(octets))]
            best = min(best, process_time() - began)
            assert headers[-1] is not None
        return best

    assert seconds(640) < 8 * seconds(160)
