"""What one seed stands for: a stream, a server, a side, a cut and a timing; and the run of it.

Contract: `case_of` is a function of the seed and of the names of the servers; consecutive seeds go
through all servers, and through all ways to send.  `run` plays a case and judges it; where the client
waits for nothing, it plays the stream uncut as well and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

from attrs import frozen

from tests.models import SERVERS
from tests.models.lax import Worst, WorstLegacy
from tests.models.server import Server
from tests.smtp.table import INSIDE, OUTSIDE

from .arena import Cut, Guard, Manner, Record, Timing, play
from .generator import ClientStream, stream
from .laxities import Drawn, DrawnLegacy, drawn, drawn_legacy
from .oracle import Violation, compare, judge, reading
from .plain import Plain
from .reading import Reading

Servers = Mapping[str, Callable[[int], Server]]
"""By name; each is made for a seed."""

WAYS: Final = (
    (Cut.TURNS, Timing.POLITE),
    (Cut.OCTETS, Timing.POLITE),
    (Cut.RAGGED, Timing.POLITE),
    (Cut.TURNS, Timing.POLITE),
    (Cut.RANDOM, Timing.POLITE),
    (Cut.RANDOM, Timing.EARLY),
    (Cut.OCTETS, Timing.POLITE),
    (Cut.TURNS, Timing.POLITE),
    (Cut.BURST, Timing.POLITE),
    (Cut.RAGGED, Timing.POLITE),
    (Cut.OCTETS, Timing.HURRIED),
)
_INSIDE_EVERY: Final = 4
_MANNERS: Final = (Manner.STRICT, Manner.NORMALIZE, Manner.TLS, Manner.CHUNKING, Manner.STRICT)
LIARS: Final = (Worst.name, WorstLegacy.name)
"""They offer CHUNKING and know no BDAT; no guard can forward a chunk to them and be safe."""


@frozen
class Case:
    """All that a run depends on."""

    stream: ClientStream
    server: str
    source: str = OUTSIDE
    cut: Cut = Cut.TURNS
    timing: Timing = Timing.POLITE
    manner: Manner = Manner.STRICT


@frozen
class Outcome:
    """A run and what is wrong with it."""

    record: Record
    """The last play."""
    reading: Reading
    violations: list[Violation]
    plays: int


@cache
def servers() -> Servers:
    """Return every server there is to stand behind the guard, by name."""
    made: dict[str, Callable[[int], Server]] = {server.name: _without_seed(server) for server in SERVERS}
    return {**made, Plain.name: _without_seed(Plain), Drawn.name: drawn, DrawnLegacy.name: drawn_legacy}


def _without_seed(server: Callable[[], Server]) -> Callable[[int], Server]:
    return lambda seed: server()


def case_of(seed: int, names: list[str]) -> Case:
    """Return the case of a seed."""
    turn, which = divmod(seed, len(names))
    rest, way = divmod(turn, len(WAYS))
    cut, timing = WAYS[way]
    rest, side = divmod(rest, _INSIDE_EVERY)
    manner = _MANNERS[rest % len(_MANNERS)]
    if manner is Manner.CHUNKING and names[which] in LIARS:
        manner = Manner.STRICT
    if manner is Manner.TLS and timing is not Timing.POLITE:
        manner = Manner.STRICT  # behind STARTTLS it does matter how a stream is cut
    return Case(stream(seed), names[which], OUTSIDE if side else INSIDE, cut, timing, manner)


def run(case: Case, guard: Callable[[], Guard] | None = None) -> Outcome:
    """Play a case and judge it; `guard` stands in for the guard."""
    make = servers()[case.server]

    def one(cut: Cut) -> Record:
        stand_in = guard() if guard else None
        return play(
            case.stream,
            make(case.stream.seed),
            source=case.source,
            cut=cut,
            timing=case.timing,
            manner=case.manner,
            guard=stand_in,
        )

    record = one(case.cut)
    seen = reading(record)
    violations = judge(record, seen)
    if case.timing is Timing.POLITE:
        return Outcome(record, seen, violations, 1)
    whole = one(Cut.BURST)
    return Outcome(record, seen, [*violations, *judge(whole), *compare(whole, record)], 2)
