"""Counting deeds by a policy's limits: what a deed adds up to, and what follows.

Contract: `Counting` counts in any storage of the library `limits`: in memory (windows.py), where it does so in every
turn and must be cheap, or in Redis (sharing.py), where every call waits for a server.  Time is an argument.  It returns
a measure each time that a client is over a step, whether or not one stands already (standing.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from limits.limits import RateLimitItemPerSecond
from limits.storage import Storage
from limits.strategies import SlidingWindowCounterRateLimiter

from ..policy.limits import By, Hardness, Limit, Limits, Prefixes, Step
from ..policy.networks import NetworkTable, Peer
from .measures import Measure
from .sources import prefix_of
from .windows import Windows

UNLIMITED: Final = 1 << 52
"""What the library is told as the limit: it is asked how many there are, not whether there are too many, since a ladder
has several steps.  Lua, in Redis, counts exactly up to here."""


class Rules(Protocol):
    """What is counted by (smtpguard.policy.rules.Policy)."""

    @property
    def networks(self) -> NetworkTable:
        """What clients are classified by."""

    @property
    def limits(self) -> Limits:
        """The limits."""


class Counting:
    """Counts."""

    def __init__(self, rules: Rules, storage: Storage, count_of: Callable[[str, Window], int] | None = None) -> None:
        """`count_of` returns what a key has counted; asked of the library if not given."""
        self._networks = rules.networks
        self._limits = rules.limits
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._count_of = count_of or self._ask
        self._comers: dict[str, tuple[Limit, Window, Window]] = {
            one.name: (one, Window(one), Window(one, "away/")) for one in self._limits.all if _has_ban_behind_close(one)
        }
        """By the names of limits: what is counted, and the window of those who come although they are sent away."""
        self._windows: dict[str, tuple[tuple[Limit, Window], ...]] = {}
        self._windows = {
            kind: tuple((one, Window(one)) for one in self._limits.all if one.counts == kind)
            for kind in {one.counts for one in self._limits.all}
        }

    @property
    def limits(self) -> Limits:
        """What is counted by."""
        return self._limits

    def applying(self, peer: Peer) -> tuple[Limit, ...]:
        """Return the limits that hold for a client; none for one without an address."""
        if not self._windows or not peer.family:
            return ()
        return self._limits.applying(self._networks.classify(peer))

    def did(self, kind: str, peer: Peer, times: int, now: float, shadow: bool = False) -> list[Measure]:
        """Count `times` deeds of a kind (the values of deeds.Kind), and return what follows.

        `shadow` are deeds that are none but for what is in shadow: only limits in shadow count them.
        """
        counted = self._windows.get(kind)
        if counted is None or not peer.family:
            return []
        bits = self._networks.classify(peer)
        found = []
        for limit, window in counted:
            if limit.except_bits & bits or (shadow and not limit.shadow):
                continue
            key = key_of(peer, limit.by, self._limits.prefixes)
            self._limiter.hit(window, key, cost=times)
            count = self._count_of(key, window)
            if count > limit.most:
                found.append(self._measure(limit, key, count, now))
        return found

    def came_again(self, sent_away: Measure, peer: Peer, now: float) -> tuple[Measure, int] | None:
        """Count a connection of a client that is sent away; return the ban that follows, and for how many of them.

        These count beside what was done, and towards a ban alone: they must not bring the `close` back, or make it
        longer, or a mail program that goes on trying would never be let in again.
        """
        found = self._comers.get(sent_away.limit)
        if found is None or found[0].shadow or found[0].except_bits & self._networks.classify(peer):
            return None
        limit, window, away = found
        self._limiter.hit(away, sent_away.key)
        came = self._count_of(sent_away.key, away)
        count = self._count_of(sent_away.key, window) + came
        step = limit.step_for(count)
        if step is None or step.hardness is not Hardness.BAN:
            return None
        return measure(limit, step, sent_away.key, count, now), came

    def room(self, kind: str, peer: Peer) -> int:
        """Return how many more deeds of a kind lead to nothing, for a client that has just been counted."""
        counted = self._windows.get(kind)
        if counted is None or not peer.family:
            return UNLIMITED
        bits = self._networks.classify(peer)
        room = UNLIMITED
        for limit, window in counted:
            if limit.except_bits & bits:
                continue
            count = self._count_of(key_of(peer, limit.by, self._limits.prefixes), window)
            room = min(room, *(step.over - count for step in limit.steps if step.over >= count), UNLIMITED)
            if count > limit.most and not limit.shadow:
                room = 0  # what stands is made longer by each
        return room

    def at_once(self, limit: Limit, key: str, count: int, now: float) -> Measure | None:
        """Return what follows from so many sessions at once."""
        return self._measure(limit, key, count, now) if count > limit.most else None

    @staticmethod
    def _measure(limit: Limit, key: str, count: int, now: float) -> Measure:
        step = limit.step_for(count)
        assert step is not None
        return measure(limit, step, key, count, now)

    def forget(self, key: str) -> None:
        """Begin anew with a client that was let off."""
        for counted in self._windows.values():
            for _, window in counted:
                self._limiter.clear(window, key)
        for _, _, away in self._comers.values():
            self._limiter.clear(away, key)

    def _ask(self, key: str, window: Window) -> int:
        return UNLIMITED - self._limiter.get_window_stats(window, key).remaining


class Window(RateLimitItemPerSecond):
    """A limit as the library sees it: its time, and how its keys are written."""

    __slots__ = ("_prefix",)

    def __init__(self, limit: Limit, what: str = "") -> None:
        """`what` is empty for what the limit counts."""
        seconds = limit.rate.seconds if limit.rate is not None else 1
        super().__init__(UNLIMITED, seconds)
        # Not with the amount: a limit that is raised has counted what it has counted.
        self._prefix = f"{limit.name}/{seconds}/{what}"

    def key_for(self, *identifiers: bytes | str | float) -> str:
        return f"{self._prefix}{identifiers[0]!s}"


def _has_ban_behind_close(limit: Limit) -> bool:
    kinds = [step.hardness for step in limit.steps]
    return limit.rate is not None and Hardness.CLOSE in kinds and Hardness.BAN in kinds


def in_memory(rules: Rules, windows: Windows) -> Counting:
    """Return the counting of one process."""
    return Counting(rules, windows, lambda key, window: windows.get(window.key_for(key)))


def measure(limit: Limit, step: Step, key: str, count: int, now: float) -> Measure:
    """Return what a step means from now on."""
    if step.hardness is Hardness.BAN:
        return Measure(step.hardness, key, now + step.seconds, limit.name, now, 0.0, count, limit.shadow)
    # As long as what was done is within the window; what is done in the meantime makes it longer.
    window = float(limit.rate.seconds) if limit.rate is not None else 0.0
    return Measure(step.hardness, key, now + window, limit.name, now, step.seconds, count, limit.shadow)


def key_of(peer: Peer, by: By, prefixes: Prefixes) -> str:
    """Return what a client is counted under."""
    if by is By.ADDRESS or (peer.family == 4 and prefixes.ipv4 == 32):
        return peer.text
    return prefix_of(peer.text, prefixes.ipv4, prefixes.ipv6)


def keys_of(peer: Peer, prefixes: Prefixes) -> tuple[str, ...]:
    """Return all that measures against a client may stand under."""
    prefix = key_of(peer, By.PREFIX, prefixes)
    return (peer.text,) if prefix == peer.text else (peer.text, prefix)
