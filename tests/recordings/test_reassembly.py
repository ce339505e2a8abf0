"""One direction of a TCP connection: whatever the segments are like, the octets are the same."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smtpguard.recordings.reassembly import WAITING_OCTETS, WAITING_PIECES, Direction, Overrun

OCTETS = st.binary(min_size=1, max_size=300)
FIRST = st.integers(0, 0xFFFFFFFF) | st.integers(0xFFFFFF00, 0xFFFFFFFF)


def put(direction: Direction, sequence: int, octets: bytes) -> bytes:
    """Give it a segment as a capture has it."""
    return direction.take(direction.place_of(sequence & 0xFFFFFFFF), octets)


@st.composite
def segments(draw: st.DrawFn) -> tuple[bytes, int, list[tuple[int, int]]]:
    """Draw octets, the number of the first, and segments of them: all octets are in one, in any order, some often."""
    octets = draw(OCTETS)
    cuts = sorted({0, len(octets), *draw(st.lists(st.integers(0, len(octets)), max_size=12))})
    pieces = list(pairwise(cuts))
    again = draw(st.lists(st.tuples(st.integers(0, len(octets)), st.integers(0, len(octets))), max_size=12))
    shuffled = draw(st.permutations([*pieces, *((min(pair), max(pair)) for pair in again)]))
    return octets, draw(FIRST), shuffled


@settings(max_examples=600)
@given(drawn=segments())
@example(drawn=(b"abc", 0xFFFFFFFE, [(1, 2), (0, 3), (2, 3), (0, 1)]))
def test_any_segments_in_any_order_give_the_same_octets(drawn: tuple[bytes, int, list[tuple[int, int]]]) -> None:
    """Overlapping, repeated, across the wrap of the sequence numbers."""
    octets, first, pieces = drawn
    direction = Direction(first)
    assert b"".join(put(direction, first + begin, octets[begin:end]) for begin, end in pieces) == octets
    assert not direction.conflict
    assert not direction.has_gap


@settings(max_examples=300)
@given(drawn=segments(), other=st.binary(min_size=300, max_size=300))
def test_of_two_copies_the_first_counts(drawn: tuple[bytes, int, list[tuple[int, int]]], other: bytes) -> None:
    """Every segment comes a second time with other octets, which change nothing and are noted."""
    octets, first, pieces = drawn
    direction = Direction(first)
    got = b""
    for begin, end in pieces:
        got += put(direction, first + begin, octets[begin:end])
        got += put(direction, first + begin, other[begin:end])
    assert got == octets
    differs = any(end - begin > 1 and octets[begin:end] != other[begin:end] for begin, end in pieces)
    assert direction.conflict or not differs


def test_octets_behind_a_gap_wait_for_those_that_are_missing() -> None:
    """And are said to wait."""
    direction = Direction(7)
    assert put(direction, 10, b"def") == b""
    assert direction.has_gap
    assert put(direction, 7, b"abc") == b"abcdef"
    assert not direction.has_gap


def test_a_fin_whose_octets_have_not_come_is_a_gap() -> None:
    """The end is known, and what is before it is missing."""
    direction = Direction(0)
    direction.end = 3
    assert direction.has_gap
    assert not direction.finished
    put(direction, 0, b"abc")
    assert direction.finished


def test_a_probe_whether_we_live_is_no_other_copy() -> None:
    """It has any octet at the place of the last one (RFC 9293 3.8.4)."""
    direction = Direction(0)
    put(direction, 0, b"abc")
    assert put(direction, 2, b"\0") == b""
    assert not direction.conflict


def test_what_waits_behind_a_gap_is_bounded() -> None:
    """A gap that is never filled ends in Overrun before much is kept."""
    direction = Direction(0)
    for place in range(1, WAITING_OCTETS - 60000, 60000):
        put(direction, place, bytes(60000))
    with pytest.raises(Overrun):
        put(direction, WAITING_OCTETS - 50000, bytes(60000))
    direction = Direction(0)
    for place in range(1, 2 * WAITING_PIECES, 2):
        put(direction, place, b"x")
    with pytest.raises(Overrun):
        put(direction, 2 * WAITING_PIECES + 1, b"x")


def test_a_segment_from_nowhere_near_is_none_of_this_connection() -> None:
    """Half the sequence space away."""
    direction = Direction(0)
    assert not direction.is_near(direction.place_of(0x7FFFFFFF))
    assert direction.is_near(direction.place_of(70000))
