"""Lists with exceptions, made into networks: the first entry that has an address decides.

Contract: pure.  `decided` returns CIDRs that hold exactly the addresses whose first entry includes them; where no
entry excludes anything, these are the entries' own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen

from ...policy.networks import Block

_BITS: Final = {4: 32, 6: 128}
EVERYBODY: Final = tuple(Block(family, 0, (1 << bits) - 1) for family, bits in _BITS.items())


@frozen
class Entry:
    """Networks, and whether who is in them is meant."""

    included: bool
    blocks: Sequence[Block]


def decided(entries: Sequence[Entry], most: int) -> list[Block]:
    """Return the networks; raises ValueError if they are more than `most`."""
    if all(entry.included for entry in entries):
        return [block for entry in entries for block in entry.blocks]
    found: list[Block] = []
    included = [*(entry.included for entry in entries), False]
    for everybody in EVERYBODY:
        placed = [
            (block.first, -block.last, rank)
            for rank, entry in enumerate(entries)
            for block in entry.blocks
            if block.family == everybody.family
        ]
        placed.append((everybody.first, -everybody.last, len(entries)))
        placed.sort()
        for first, last in _ranges(placed, included):
            for block in _cidrs(everybody.family, first, last):
                if len(found) == most:
                    raise ValueError(f"the exceptions cut it into more than {most} networks")
                found.append(block)
    return found


def _ranges(placed: list[tuple[int, int, int]], included: list[bool]) -> list[tuple[int, int]]:
    """Return the ranges of addresses that are included.

    CIDRs lie one in the other or apart: so the blocks that are open at an address are a stack, and each knows the
    rank of the first entry among itself and those around it.
    """
    found: list[tuple[int, int]] = []
    stack: list[tuple[int, int]] = []
    at = 0

    def pass_to(end: int) -> None:
        nonlocal at
        if at <= end and included[stack[-1][1]]:
            start = found.pop()[0] if found and found[-1][1] == at - 1 else at
            found.append((start, end))
        at = max(at, end + 1)

    for first, minus_last, rank in placed:
        while stack and stack[-1][0] < first:
            pass_to(stack[-1][0])
            stack.pop()
        if stack:
            pass_to(first - 1)
        stack.append((-minus_last, min(rank, stack[-1][1]) if stack else rank))
    while stack:
        pass_to(stack[-1][0])
        stack.pop()
    return found


def _cidrs(family: int, first: int, last: int) -> Iterator[Block]:
    """Yield the fewest CIDRs that make up a range."""
    while first <= last:
        size = first & -first or 1 << _BITS[family]
        while first + size - 1 > last:
            size >>= 1
        yield Block(family, first, first + size - 1)
        first += size
