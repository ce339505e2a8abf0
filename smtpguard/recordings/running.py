"""A recording from its first session to its last: each is replayed, counted and told, in the order they began.

Contract: sessions are told in the order in which they began as far as that can be with bounded memory; of a session
only what there is to tell of is kept.  Nothing here reads a clock or writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import Final, Protocol

from attrs import Factory, define, frozen

from ..policy.networks import UNIX_PEER, Peer
from ..policy.rules import Policy
from ..smtp.terms import Terms
from .comparing import Comparison
from .exchanges import Exchange, read
from .recorded import Recorded
from .replaying import Outcome, replay
from .tallies import Tally, differs_from_recorded, first_line, shown

LINES: Final = 1000
"""Of one session, told one by one; a session with more has nothing new to say."""
HELD: Final = 10_000
"""Sessions that wait for an older one to end before they are told."""


class Settling(Protocol):
    """Says under which terms a client is served."""

    def __call__(self, peer: Peer, port: int, /) -> tuple[str, Terms]:
        """Return the listener's name, and the terms but for what the policy grants."""


@frozen
class Side:
    """A policy under which sessions are replayed."""

    name: str
    policy: Policy
    settle: Settling


@frozen
class Line:
    """One line that there is something to tell of."""

    number: int
    """In the session, from 1 on."""
    shown: str
    """Escaped, without credentials."""
    then: str
    """The first line of what the server answered then."""
    before: Outcome
    after: Outcome | None
    """Under the second policy."""
    changed: bool
    """The client is told something else than then; with two policies: the two differ."""


@frozen
class Session:
    """What there is to tell of a session."""

    number: int
    client: str
    client_port: int
    server_port: int
    began: float | None
    commands: int
    refused: int
    lines: Sequence[Line]
    left_out: int
    """Lines beyond LINES."""
    told: Sequence[str]
    """What is missing of the recording."""

    @property
    def changed(self) -> bool:
        return any(line.changed for line in self.lines)


@define
class Run:
    """A recording under one policy, or under two."""

    before: Side
    after: Side | None = None
    tally: Tally = Factory(Tally)
    comparison: Comparison = Factory(Comparison)

    def sessions(self, recorded: Iterator[tuple[int, Recorded]]) -> Iterator[Session]:
        """Replay sessions, each of which comes with the number of the oldest that has not ended; yield what came."""
        held: dict[int, Session] = {}
        order: list[int] = []  # a heap of what is held
        for oldest, one in recorded:
            session = self._replayed(one)
            if session is not None:
                held[session.number] = session
                heappush(order, session.number)
            while order and (order[0] < oldest or len(order) > HELD):
                yield held.pop(heappop(order))
        while order:
            yield held.pop(heappop(order))

    def _replayed(self, recorded: Recorded) -> Session | None:
        dialogue = read(recorded)
        if dialogue.banner is None and not dialogue.exchanges and not recorded.octets:
            return None  # a connection on which nothing was said, as of a port scan
        peer = recorded.client or UNIX_PEER
        exchanges = dialogue.exchanges
        before = replay(dialogue, self.before.policy, peer, *self.before.settle(peer, recorded.server_port))
        self.tally.add(recorded, exchanges, before)
        after: Sequence[Outcome] | None = None
        changed: set[int] = set()
        if self.after is not None:
            after = replay(dialogue, self.after.policy, peer, *self.after.settle(peer, recorded.server_port))
            changed = {one.place for one in self.comparison.add(recorded, exchanges, before, after)}
        else:
            pairs = enumerate(zip(exchanges, before, strict=True))
            changed = {place for place, (one, outcome) in pairs if differs_from_recorded(one, outcome)}
        places = [at for at, one in enumerate(before) if at in changed or one.is_refusal or one.would]
        return Session(
            recorded.number,
            peer.text,
            recorded.client_port,
            recorded.server_port,
            recorded.began,
            len(exchanges),
            sum(one.is_refusal for one in before),
            [
                _line(at, exchanges[at], before[at], None if after is None else after[at], at in changed)
                for at in places[:LINES]
            ],
            max(len(places) - LINES, 0),
            tuple(recorded.told),
        )


def _line(at: int, exchange: Exchange, before: Outcome, after: Outcome | None, changed: bool) -> Line:
    return Line(at + 1, shown(exchange), first_line(exchange.reply), before, after, changed)
