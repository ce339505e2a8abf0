"""The gate of one process that serves: whether a client may enter, is slowed, or is sent away.

Contract: without I/O, time is an argument, and nothing waits.  It counts by the policy's limits, keeps the measures
that follow and those that others have ordered, and says each step once in the log: when it begins, and, of a client
that was sent away, when it ends and how many connections that cost it.  Without limits and measures it costs a look at
two empty tables.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Final

from ..journal.journal import Say
from ..policy.limits import PARALLEL, By, Hardness, Limit, Prefixes
from ..policy.networks import Peer
from .bans import BANS
from .counting import Rules, in_memory, key_of, keys_of
from .deeds import Kind
from .measures import Measure
from .sources import prefix_of
from .standing import Standing
from .steps import LineBudget, begun, begun_by_coming, crowded, ended, let_off
from .windows import Windows

CROWD_SECONDS: Final = 60.0
"""Between two lines of a client that has too many sessions at once."""
PATIENT_SECONDS: Final = 60.0
"""Who is sent away, and waits for so long before it comes again, is no nuisance: mail programs try again then."""
CROWDS: Final = 1000
"""Clients that such lines are kept apart for."""
OTHER_PREFIXES: Final = 8
"""Lengths of prefixes that measures are looked for besides the policy's own: of an earlier policy, of other guards."""
SHORTEST: Final[dict[int, int]] = {4: 8, 6: 16}
"""Of those, by family; no policy has a shorter one (smtpguard.config.limit_models)."""

AtOnce = Callable[[Peer, By], int]
"""Says how many sessions there are at once of an address, or of its prefix."""


class Gate:
    """Of one process."""

    def __init__(self, rules: Rules, say: Say, at_once: AtOnce) -> None:
        """`say` writes a line about the service into the log."""
        self._now = 0.0
        self._windows = Windows(self._time)
        self._counting = in_memory(rules, self._windows)
        self._standing = Standing()
        self._shadow = Standing()
        """What would stand if no limit were in shadow; apart, so that it hides nothing that does."""
        self._others: dict[tuple[int, int], None] = {}
        """Families and lengths of prefixes that something stands against, and that are not the policy's."""
        self._at_once = at_once
        self._lines = LineBudget(say)
        self._turned_away: dict[str, tuple[int, float]] = {}
        """By the keys that something stands against: how many, and when the last one was."""
        self._crowds: dict[tuple[str, str], tuple[float, int]] = {}
        """By limit and key: when the next line may be said, and how many were turned away since the last one."""
        self._evicted = 0
        self.crossed: Callable[[str, str], None] = lambda _limit, _step: None
        """Told of each step that is taken: the limit, and the hardness."""
        self.crossed_in_shadow: Callable[[str, str], None] = lambda _limit, _step: None
        """The same of each that would have been taken."""

    def _time(self) -> float:
        return self._now

    # -- what it goes by -----------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """True if there is no limit, and nothing stands against anybody."""
        return not self._counting.limits.all and not len(self._standing)

    @property
    def prefixes(self) -> Prefixes:
        """How many bits of an address belong together."""
        return self._counting.limits.prefixes

    def serve_under(self, rules: Rules) -> list[Measure]:
        """Count by another policy from now on, and return what no longer stands: a ban does, whoever's it was."""
        gone = self._counting.limits.names - rules.limits.acting
        self._shadow = Standing()
        self._counting = in_memory(rules, self._windows)
        ended = self._standing.lift_of(gone)
        for measure in ended:
            if not self._is_away(measure.key):
                self._turned_away.pop(measure.key, None)
        self._others.clear()
        for measure in self._standing.all():
            self._look_for(measure.key)
        return ended

    def applying(self, peer: Peer) -> tuple[Limit, ...]:
        """Return the limits that hold for a client."""
        return self._counting.applying(peer)

    def keys(self, peer: Peer) -> tuple[str, ...]:
        """Return what measures against a client stand under."""
        if not peer.family:
            return ()
        keys = keys_of(peer, self.prefixes)
        if self._others:
            further = [prefix_of(peer.text, size, size) for family, size in self._others if family == peer.family]
            keys = (*keys, *further)
        return keys

    def _look_for(self, key: str) -> None:
        """See to it that what stands against a key is found, or a policy with other prefixes would let clients off."""
        address, slash, digits = key.partition("/")
        if not slash or not digits.isdecimal():
            return
        family, length = 6 if ":" in address else 4, int(digits)
        usual = self.prefixes.ipv6 if family == 6 else self.prefixes.ipv4
        if length != usual and length >= SHORTEST[family] and len(self._others) < OTHER_PREFIXES:
            self._others[family, length] = None

    # -- who comes and what is done ------------------------------------------------------------------

    def enters(self, peer: Peer, now: float) -> tuple[Measure | None, list[Measure]]:
        """Return why a client may not enter, if it may not, and the measures that are new.

        It has been counted among those that are there at once.
        """
        if not peer.family:
            return None, []
        self._now = now
        standing = self._away(peer, now)
        if standing is not None:
            return self._turn_away(standing, peer, now)
        fresh = self.did(Kind.CONNECTION, peer, 1, now)
        for limit in self._counting.applying(peer):
            if limit.counts != PARALLEL:
                continue
            key = key_of(peer, limit.by, self.prefixes)
            measure = self._counting.at_once(limit, key, self._at_once(peer, limit.by), now)
            if measure is None:
                continue
            if measure.hardness is Hardness.BAN:
                fresh += self._begin([measure], limit.counts, now)
            else:
                self._crowd(measure, now)
                if not measure.shadow:
                    return measure, fresh
        return self._away(peer, now) if fresh else None, fresh

    def _turn_away(self, standing: Measure, peer: Peer, now: float) -> tuple[Measure, list[Measure]]:
        """Note that a client comes that is sent away: who keeps hammering comes to the ban behind a `close`."""
        count, last = self._turned_away.get(standing.key, (0, standing.since))
        self._turned_away[standing.key] = count + 1, now
        if standing.hardness is not Hardness.CLOSE or now - last >= PATIENT_SECONDS:
            return standing, []
        found = self._counting.came_again(standing, peer, now)
        if found is None or not self._standing.add(found[0]):
            return standing, []
        ban, came = found
        self.crossed(ban.limit, ban.hardness.value)
        self._lines.say(begun_by_coming(ban, came, now), now)
        return ban, [ban]

    def did(self, kind: Kind, peer: Peer, times: int, now: float, shadow: bool = False) -> list[Measure]:
        """Count what a client did; return the measures that are new, those among them that only would be.

        `shadow` are deeds that are none but for what is in shadow.
        """
        self._now = now
        found = self._counting.did(kind.value, peer, times, now, shadow)
        return self._begin(found, kind.value, now) if found else []

    def room(self, kind: Kind, peer: Peer, now: float) -> int:
        """Return how many more deeds of a kind lead to nothing, as far as this process has counted."""
        self._now = now
        return self._counting.room(kind.value, peer)

    def against(self, peer: Peer, now: float) -> Measure | None:
        """Return the hardest measure that stands against a client.

        Whom every limit exempts is not made to pay for what others of its prefix did.
        """
        if not len(self._standing) or not peer.family:
            return None
        found = self._standing.against(self.keys(peer), now)
        if found is not None and self._counting.limits.all and not self._counting.applying(peer):
            return None
        return found

    def _away(self, peer: Peer, now: float) -> Measure | None:
        measure = self.against(peer, now)
        return None if measure is None or measure.hardness is Hardness.DELAY else measure

    def _begin(self, found: Iterable[Measure], what: str, now: float) -> list[Measure]:
        fresh = [measure for measure in found if self._stands(measure)]
        for measure in fresh:
            self._is_crossed(measure)
            limit = next(one for one in self._counting.limits.all if one.name == measure.limit)
            self._lines.say(begun(measure, what, limit.rate, now), now, measure.shadow)
        return fresh

    def _stands(self, measure: Measure) -> bool:
        """Let a measure stand, or remember that it would; True if that is news."""
        return (self._shadow if measure.shadow else self._standing).add(measure)

    def _is_crossed(self, measure: Measure) -> None:
        told = self.crossed_in_shadow if measure.shadow else self.crossed
        told(measure.limit, measure.hardness.value)

    def _crowd(self, measure: Measure, now: float) -> None:
        name = measure.limit, measure.key
        until, count = self._crowds.get(name, (0.0, 0))
        if not until:
            if len(self._crowds) >= CROWDS:
                return
            self._is_crossed(measure)
            self._lines.say(begun(measure, PARALLEL, None, now), now, measure.shadow)
            self._crowds[name] = now + CROWD_SECONDS, 0
        else:
            self._crowds[name] = until, count + 1

    # -- orders --------------------------------------------------------------------------------------

    def order(self, measures: Iterable[Measure], now: float) -> list[Measure]:
        """Let measures stand that somebody else has decided; return those that are new here."""
        self._now = now
        fresh = [one for one in measures if one.until > now and not one.shadow and self._standing.add(one)]
        for measure in fresh:
            self._look_for(measure.key)
        return fresh

    def lift(self, key: str, now: float) -> list[Measure]:
        """Let a key off, and begin to count it anew; return what stood."""
        self._now = now
        self._counting.forget(key)
        gone = self._standing.lift(key)
        self._turned_away.pop(key, None)
        return gone

    def tick(self, now: float) -> list[Measure]:
        """Forget what is over, once a second; return the measures that have ended."""
        self._now = now
        self._windows.sweep()
        self._shadow.expire(now)
        over = self._standing.expire(now)
        for measure in over:
            if measure.hardness is Hardness.DELAY or self._is_away(measure.key):
                continue  # it is not sent away, or still is
            count, _ = self._turned_away.pop(measure.key, (0, 0.0))
            self._lines.say(ended(measure, count), now)
        for name, (until, count) in list(self._crowds.items()):
            if until <= now:
                del self._crowds[name]
                if count:
                    shadow = name[0] not in self._counting.limits.acting
                    self._lines.say(crowded(*name, count, CROWD_SECONDS, shadow), now, shadow)
        evicted = self._standing.evicted
        if evicted > self._evicted:
            self._lines.say(let_off(evicted - self._evicted), now)
            self._evicted = evicted
            for key in [key for key in self._turned_away if not self._standing.of(key)]:
                del self._turned_away[key]
        self._lines.tick(now)
        return over

    def _is_away(self, key: str) -> bool:
        return any(one.hardness is not Hardness.DELAY for one in self._standing.of(key))

    def held(self, most: int) -> tuple[list[Measure], int]:
        """Return what slows or sends away who is not banned, the hardest and newest, and of how many clients."""
        return self._standing.held(most)

    def bans(self, now: float) -> list[Measure]:
        """Return the bans that stand, BANS at most: those that end last."""
        bans = [one for one in self._standing.all() if one.hardness is Hardness.BAN and one.until > now]
        return heapq.nlargest(BANS, bans, key=lambda one: one.until)

    @property
    def standing(self) -> dict[str, int]:
        """How many measures stand, by the names of their limits."""
        counts: dict[str, int] = {}
        for measure in self._standing.all():
            counts[measure.limit] = counts.get(measure.limit, 0) + 1
        return counts
