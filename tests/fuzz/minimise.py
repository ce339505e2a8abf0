"""Makes a case that fails as small as can be, in bounded time.

Contract: `minimise` returns a case that breaks the same promise, with a cut that does not depend on
a seed; steps, lines and octets that the violation does not need are gone, those left are as plain as
they may be.  It stops when nothing more can go or the time is over.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from attrs import evolve

from .arena import Cut, segments
from .generator import ClientStream
from .runs import Case

Pieces = list[bytes]
Fails = Callable[[Case], bool]
_PLAIN = ord("x")


def minimise(case: Case, fails: Fails, seconds: float = 20.0, clock: Callable[[], float] = monotonic) -> Case:
    """Return the smallest case found that `fails` is still true for; it must be true for `case`."""
    return _Minimiser(case, fails, clock() + seconds, clock).run()


class _Minimiser:
    """One search."""

    def __init__(self, case: Case, fails: Fails, until: float, clock: Callable[[], float]) -> None:
        self.case = case
        self.fails = fails
        self.until = until
        self.clock = clock

    def run(self) -> Case:
        self.settle_cut()
        pieces = self.case.stream.turns
        before = -1
        while before != (before := sum(map(len, pieces)) + len(pieces)) and self.clock() < self.until:
            pieces = self.fewer(pieces)
            pieces = self.fewer([line for turn in pieces for line in turn.splitlines(keepends=True)], joined=True)
            pieces = self.joined(pieces)
            pieces = self.all_shorter(pieces)
        return self.plainer(pieces)

    def with_pieces(self, pieces: Pieces) -> Case:
        """Return the case with these turns; a stream that was changed makes no promise to be valid."""
        waits, at = [], 0
        for piece in pieces:
            at += len(piece)
            waits.append(at)
        stream = self.case.stream
        return evolve(self.case, stream=ClientStream(stream.seed, b"".join(pieces), waits=tuple(waits)))

    def holds(self, pieces: Pieces) -> bool:
        """True if these still fail, and then they are the case."""
        if self.clock() >= self.until:
            return False
        case = self.with_pieces(pieces)
        if not self.fails(case):
            return False
        self.case = case
        return True

    def settle_cut(self) -> None:
        """Replace a cut by chance with turns that are the same segments, or with none at all."""
        if self.case.cut in (Cut.RAGGED, Cut.RANDOM):
            pieces = list(segments(self.case.stream, self.case.cut))
            settled = evolve(self.with_pieces(pieces), cut=Cut.TURNS)
            if self.fails(settled):
                self.case = settled
        for cut in (Cut.BURST, Cut.TURNS, Cut.OCTETS):
            other = evolve(self.case, cut=cut)
            if other.cut is not self.case.cut and self.fails(other):
                self.case = other
                return

    def fewer(self, pieces: Pieces, *, joined: bool = False) -> Pieces:
        """Drop pieces, many at once and then few (ddmin)."""
        if joined and not self.holds(pieces):
            return self.case.stream.turns
        size = max(len(pieces) // 2, 1)
        while pieces:
            at = 0
            while at < len(pieces):
                rest = pieces[:at] + pieces[at + size :]
                if rest and self.holds(rest):
                    pieces = rest
                else:
                    at += size
            if size == 1:
                break
            size //= 2
        return pieces

    def joined(self, pieces: Pieces) -> Pieces:
        """Let the client wait less."""
        at = 0
        while at + 1 < len(pieces):
            both = [*pieces[:at], pieces[at] + pieces[at + 1], *pieces[at + 2 :]]
            if self.holds(both):
                pieces = both
            else:
                at += 1
        return pieces

    def all_shorter(self, pieces: Pieces) -> Pieces:
        for i in range(len(pieces)):
            pieces = [*pieces[:i], self.shorter(pieces, i), *pieces[i + 1 :]]
        return [piece for piece in pieces if piece]

    def shorter(self, pieces: Pieces, i: int) -> bytes:
        """Drop octets of one piece, many at once and then few."""
        piece = pieces[i]
        size = max(len(piece) // 2, 1)
        while piece:
            at = 0
            while at < len(piece):
                rest = piece[:at] + piece[at + size :]
                if rest and self.holds([*pieces[:i], rest, *pieces[i + 1 :]]):
                    piece = rest
                else:
                    at += size
            if size == 1:
                break
            size //= 2
        return piece

    def plainer(self, pieces: Pieces) -> Case:
        """Replace octets that are not printable where any other would do."""
        for i, piece in enumerate(pieces):
            for at, octet in enumerate(piece):
                if octet < 0x20 or octet > 0x7E:
                    plain = piece[:at] + bytes([_PLAIN]) + piece[at + 1 :]
                    if self.holds([*pieces[:i], plain, *pieces[i + 1 :]]):
                        piece = pieces[i] = plain
        return self.case
