"""The policy's limits at work: sessions are counted, slowed and sent away.

Contract: an Observer (observing.py), and what a reception asks before it lets a client in (`enters`).  A session that
has crossed a limit is held to what follows before its next command is read, and so is any other of the same client that
does something that counts; the rest of them in a later turn, all together, however many have crossed something
meanwhile.  What clients did is told on once a second, bans at once, with what led to them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.interfaces import IDelayedCall

from ..journal.journal import Say
from ..ledger.counting import key_of
from ..ledger.deeds import Deed, Kind
from ..ledger.gate import Gate
from ..ledger.measures import Hardness, Measure
from ..ledger.reports import HELD_SHOWN, Orders
from ..ledger.telling import Telling, deed_of, is_forwarded, kind_of, would_be_probe
from ..policy.limits import LONGEST_DELAY, PARALLEL, By, Limit, Prefixes
from ..policy.networks import Peer
from ..policy.rules import Policy
from ..smtp.effects import CommandsRead, Note
from .prefix_places import PrefixPlaces

if TYPE_CHECKING:
    from .session import Session

TICK_SECONDS: Final = 1.0
"""Between two looks at what is over; what clients did is told on as often."""
ENFORCE_SECONDS: Final = 0.05
"""Between two looks at all sessions, for who is to be slowed or sent away; with thousands of them one takes some ms."""
COUNTED_BY: Final = 20
"""Commands are counted in parts of a limit: it is crossed by one part more at most, which is a twentieth of it."""
MOST_COUNTED_BY: Final = 100
"""However high the limit is: a session of fewer commands is counted when it ends."""
_IN_TURN: Final = frozenset({"commands", "probes", "malformed", "recipients", "auth"})
"""What a session is counted for while it lasts."""


SHARES: Final = 16
"""Of what is left until a step, and lent to nobody, one address may use one share without being counted at each deed.
Where all that is left is lent, what was used is counted first: so no step is crossed unseen, however many addresses a
prefix has."""
DOINGS: Final = 1000
"""Addresses of which deeds pass so."""


class Doing:
    """What one address does, within a second, that leads to nothing yet."""

    __slots__ = ("changes", "client", "free", "kind", "passed", "peer", "told")

    def __init__(self, kind: Kind, peer: Peer, client: str, told: bool, changes: int) -> None:
        self.kind = kind
        self.peer = peer
        self.client = client
        """The key of its prefix."""
        self.told = told
        self.free = 0
        """More deeds that need no look."""
        self.passed = 0
        """That had none, and are to be counted."""
        self.changes = changes
        """How often something had begun to stand, or had ended, against anybody: what is free is so until the next."""


class Guarded(Protocol):
    """Whose sessions they are (listener.py)."""

    sessions: set[Session]

    def sessions_of(self, peer: Peer) -> int:
        """Return how many sessions, here and in other processes, have clients of this address."""

    def entered(self) -> Iterable[Peer]:
        """Return the clients that are here, each as often as it has a connection."""


class Gatekeeper:
    """Of one process."""

    def __init__(
        self,
        clock: Any,
        guarded: Guarded,
        policy: Policy,
        say: Say,
        places: PrefixPlaces | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`clock` is an IReactorTime; `places` count sessions by prefix, over all processes if they are shared."""
        self._clock = clock
        self._guarded = guarded
        self._now = now
        self._gate = Gate(policy, say, self._at_once)
        self._places = places or PrefixPlaces()
        self._places.become(_prefixes(policy), ())
        self._telling = Telling()
        self._doings: dict[tuple[Kind, bool, str], Doing] = {}
        """By kind, whether it was allowed, and address."""
        self._lent: dict[tuple[Kind, str], int] = {}
        """By kind and key of a prefix: how many deeds pass without a look, or have and are not counted yet."""
        self._measures: list[Measure] = []
        self._changes = 0
        self._changed: set[str] = set()
        """The keys of clients whose sessions are to be looked at."""
        self._looking: IDelayedCall | None = None
        self._ticking: IDelayedCall | None = None
        self.tell: Callable[[Iterable[Deed]], None] = lambda _deeds: None
        """Told, once a second, what clients did."""
        self.tell_measures: Callable[[Sequence[Measure], Sequence[Deed]], None] = lambda _measures, _deeds: None
        """Told what has followed here, bans at once, all else once a second, and what the same clients did before.

        What only would have followed is among it (Measure.shadow)."""

    # -- its life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look at the time."""
        self._ticking = self._clock.callLater(TICK_SECONDS, self._tick)

    def stop(self) -> None:
        """End, and tell what there is."""
        for timer in (self._ticking, self._looking):
            if timer is not None and timer.active():
                timer.cancel()
        self._ticking = self._looking = None
        self._settle_all()
        self._tell_all()

    def serve_under(self, policy: Policy) -> None:
        """Go by another policy from now on."""
        self._settle_all()
        self._places.become(_prefixes(policy), self._guarded.entered())
        self._look_at(self._gate.serve_under(policy))

    @property
    def crossed(self) -> Callable[[str, str], None]:
        """Told of each step taken: the name of the limit, and the hardness."""
        return self._gate.crossed

    @crossed.setter
    def crossed(self, told: Callable[[str, str], None]) -> None:
        self._gate.crossed = told

    @property
    def crossed_in_shadow(self) -> Callable[[str, str], None]:
        """Told of each step that would have been taken."""
        return self._gate.crossed_in_shadow

    @crossed_in_shadow.setter
    def crossed_in_shadow(self, told: Callable[[str, str], None]) -> None:
        self._gate.crossed_in_shadow = told

    def standing(self) -> dict[str, int]:
        """Return how many measures stand, by the names of their limits."""
        return self._gate.standing

    def held(self) -> tuple[list[Measure], int]:
        """Return what slows or sends away who is not banned, as a report has it, and of how many clients."""
        return self._gate.held(HELD_SHOWN)

    def bans(self) -> list[Measure]:
        """Return the bans that stand, whoever decided them."""
        return self._gate.bans(self._now())

    # -- who comes -----------------------------------------------------------------------------------

    def enters(self, peer: Peer) -> Measure | None:
        """Return why a client may not enter, or None and keep its place until `left`."""
        if self._gate.idle:  # then no place is counted either, as at most sites, for every client
            return None
        self._places.take(peer)
        away, fresh = self._gate.enters(peer, self._now())
        if away is None and self._counts(peer, Kind.CONNECTION.value):
            self._telling.more(Kind.CONNECTION, peer.text)
        self._follow(fresh)
        if away is not None:
            self._places.give_back(peer)
        return away

    def left(self, peer: Peer) -> None:
        """A client that had entered is gone."""
        self._places.give_back(peer)

    def _at_once(self, peer: Peer, by: By) -> int:
        return self._guarded.sessions_of(peer) if by is By.ADDRESS else self._places.taken_by(peer)

    def _counts(self, peer: Peer, what: str) -> bool:
        return any(one.counts == what for one in self._gate.applying(peer))

    # -- what happens (observing.Observer) -----------------------------------------------------------

    def began(self, session: Session, listener: str) -> None:
        if self._gate.idle:
            return
        peer = session.journal.peer
        applying = self._gate.applying(peer)
        if applying:
            session.dialogue.watched = any(one.counts in _IN_TURN for one in applying)
            session.dialogue.count_by = _counted_by(applying)
        self._hold(session, self._gate.against(peer, self._now()))

    def turned_away(self, peer: Peer, why: str) -> None:
        """A client that got no session has done nothing that counts."""

    def noted(self, session: Session, note: Note) -> None:
        if isinstance(note, CommandsRead):
            self._did(session, Kind.COMMAND, note.count)
            return
        kind = kind_of(note)
        peer = session.journal.peer
        if kind is None or not peer.family:
            if peer.family and would_be_probe(note):
                self._follow(self._gate.did(Kind.PROBE, peer, 1, self._now(), True))
            return
        forwarded = is_forwarded(note)
        doing = self._doings.get((kind, forwarded, peer.text))
        # So that a flood that leads to nothing costs next to nothing.
        if doing is not None and doing.free > 0 and doing.changes == self._changes:
            doing.free -= 1
            doing.passed += 1
            return
        now = self._now()
        # What a policy lets pass is told only of who is held to a limit for it: insiders may ask.
        told = not forwarded or self._counts(peer, kind.value)
        if told:
            if self._telling.wants(kind, peer.text):
                self._telling.add(deed_of(note, kind, peer.text, now, session.journal.id))
            else:
                self._telling.more(kind, peer.text)
        if doing is not None:
            self._settle(doing)
        client = key_of(peer, By.PREFIX, self._gate.prefixes)
        lent = self._lent.get((kind, client), 0)
        if lent and self._gate.room(kind, peer, now) <= lent:
            self._settle_those_of(kind, client)
        held = self._count(session, kind, 1)
        if not held and (not told or not self._telling.wants_more(kind, peer.text)):
            self._give_room(Doing(kind, peer, client, told, self._changes), forwarded, now)

    def _give_room(self, doing: Doing, forwarded: bool, now: float) -> None:
        """Let some more deeds of a client pass without a look, where many times as many lead to nothing."""
        lent = self._lent.get((doing.kind, doing.client), 0)
        doing.free = (self._gate.room(doing.kind, doing.peer, now) - lent) // SHARES
        if doing.free > 0 and len(self._doings) < DOINGS:
            self._doings[doing.kind, forwarded, doing.peer.text] = doing
            self._lent[doing.kind, doing.client] = lent + doing.free

    def _settle_those_of(self, kind: Kind, client: str) -> None:
        for doing in self._doings.values():
            if doing.kind is kind and doing.client == client:
                self._settle(doing)

    def _settle(self, doing: Doing) -> None:
        """Count what has passed without a look; no more does."""
        passed, doing.passed = doing.passed, 0
        lent = self._lent.pop((doing.kind, doing.client), 0) - passed - doing.free
        if lent > 0:
            self._lent[doing.kind, doing.client] = lent
        doing.free = 0
        if passed:
            if doing.told:
                self._telling.more(doing.kind, doing.peer.text, passed)
            fresh = self._gate.did(doing.kind, doing.peer, passed, self._now())
            self._follow(fresh)

    def ended(self, session: Session, counts: dict[bytes, list[int]], seconds: float) -> None:
        if session.dialogue.count_by and session.dialogue.uncounted:
            self._did(session, Kind.COMMAND, session.dialogue.uncounted)

    def _did(self, session: Session, kind: Kind, times: int) -> None:
        self._telling.more(kind, session.journal.peer.text, times)
        self._count(session, kind, times)

    def _count(self, session: Session, kind: Kind, times: int) -> bool:
        """Count what was done in a session; True if something stands against its client."""
        peer, now = session.journal.peer, self._now()
        fresh = self._gate.did(kind, peer, times, now)
        # Whoever decided it, and for whichever session: what is pipelined in this one does not wait for `_look`.
        measure = self._gate.against(peer, now)
        if measure is not None:
            self._hold(session, measure)
        self._follow(fresh)
        return measure is not None

    # -- what follows --------------------------------------------------------------------------------

    def obey(self, orders: Orders) -> None:
        """Do as the ledger says, which knows what other processes and guards have counted."""
        now = self._now()
        self._look_at(self._gate.order(orders.measures, now))
        for key in orders.lifted:
            self._look_at(self._gate.lift(key, now))

    def _follow(self, fresh: list[Measure]) -> None:
        if fresh:
            self._measures += fresh
            self._look_at([one for one in fresh if not one.shadow])

    @staticmethod
    def _hold(session: Session, measure: Measure | None) -> None:
        """Hold a session to what stands, from its next command on."""
        dialogue = session.dialogue
        if measure is None:
            dialogue.slowed = 0.0
        elif measure.hardness is Hardness.DELAY:
            dialogue.slowed = min(measure.seconds, LONGEST_DELAY)
        else:
            dialogue.leaving = True

    def _look_at(self, changed: Iterable[Measure]) -> None:
        """Look at the sessions of clients for whom something has begun, or is over."""
        for measure in changed:
            self._changed.add(measure.key)
            self._changes += 1
        if self._changed and self._looking is None:
            self._looking = self._clock.callLater(ENFORCE_SECONDS, self._look)

    def _look(self) -> None:
        self._looking = None
        changed, self._changed = self._changed, set()
        now = self._now()
        for session in list(self._guarded.sessions):
            peer = session.journal.peer
            if changed.isdisjoint(self._gate.keys(peer)):
                continue
            measure = self._gate.against(peer, now)
            self._hold(session, measure)
            if measure is not None and measure.hardness is not Hardness.DELAY:
                session.send_away()
        if any(one.hardness is Hardness.BAN for one in self._measures):
            self._tell_measures()

    def _tick(self) -> None:
        self._ticking = self._clock.callLater(TICK_SECONDS, self._tick)
        self._settle_all()
        self._look_at(self._gate.tick(self._now()))
        self._tell_all()

    def _settle_all(self) -> None:
        doings, self._doings = self._doings, {}
        for doing in doings.values():
            self._settle(doing)

    def _tell_all(self) -> None:
        self._tell_measures()
        deeds = self._telling.take(self._now())
        if deeds:
            self.tell(deeds)

    def _tell_measures(self) -> None:
        if self._measures:
            measures, self._measures = self._measures, []
            keys, prefixes = {measure.key for measure in measures}, self._gate.prefixes
            self.tell_measures(measures, self._telling.take_of(keys, (prefixes.ipv4, prefixes.ipv6), self._now()))


def _prefixes(policy: Policy) -> Prefixes | None:
    """Return by what prefixes sessions are counted, or None if they are not."""
    limits = policy.limits
    wanted = any(one.counts == PARALLEL and one.by is By.PREFIX for one in limits.all)
    return limits.prefixes if wanted else None


def _counted_by(applying: Sequence[Limit]) -> int:
    """Return in what parts the commands of a session are counted; 0 if they are not."""
    fewest = [one.most for one in applying if one.counts == Kind.COMMAND.value]
    return max(1, min(min(fewest) // COUNTED_BY, MOST_COUNTED_BY)) if fewest else 0
