"""Counting over all processes, and over guards that share a Redis: seen from the event loop, which never waits for it.

Contract: one exchange is under way at a time, in the thread; the deeds of the meantime go with the next one.  While the
other side is away that is said once, every process counts by itself (smtpguard.ledger.gate), and it is tried again,
later and later; what was counted meanwhile is not counted twice.
"""

from __future__ import annotations

import syslog
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

from attrs import Factory, define, frozen

from ..journal.journal import Say
from .deeds import Deed
from .keeping import InLoop
from .measures import Measure
from .thread import WorkThread

AGAIN_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Between tries; the last one goes on."""
DEEDS: Final = 10_000
"""Deeds that wait for an exchange; of more, the oldest are not counted together."""
BANS: Final = 1000
"""Bans and ends of bans that wait for an exchange; of more, the oldest are not told."""

LONGEST_WHY: Final = 200
"""Characters of a fault that the other side had a part in."""


class Away(Exception):
    """The other side does not answer; the text says why."""


@frozen
class Heard:
    """What follows from an exchange."""

    measures: Sequence[Measure] = ()
    """By what all have counted, and bans of other guards."""
    lifted: Sequence[str] = ()
    """Keys that another guard has let off."""


@define
class Told:
    """What is told in an exchange."""

    deeds: list[Deed] = Factory(list)
    bans: dict[str, Measure | None] = Factory(dict)
    """By their keys; None is one that was lifted."""


class Partner(Protocol):
    """Who counts: blocking, for one thread."""

    def exchange(self, told: Told, now: float) -> Heard:
        """Count, tell, hear; raises Away."""

    def close(self) -> None:
        """Let go of it."""


class Together:
    """What is told to a partner, and when."""

    def __init__(
        self,
        partner: Partner,
        name: str,
        thread: WorkThread,
        in_loop: InLoop,
        say: Say,
        heard: Callable[[Heard], None],
        standing: Callable[[], Sequence[Measure]],
    ) -> None:
        """`name` is for the log; `standing` are the bans that a partner who comes back has to hear of."""
        self._partner = partner
        self._name = name
        self._thread = thread
        self._in_loop = in_loop
        self._say = say
        self._heard = heard
        self._standing = standing
        self._told = Told()
        self._busy = False
        self._tries = 0
        self._next_try = float("-inf")
        self.fault = ""
        """Why it is away; empty while it is not."""
        self.since = 0.0
        """Seconds since 1970, when it went away."""

    def did(self, deed: Deed) -> None:
        """Have a deed counted."""
        if self.fault:
            return
        self._told.deeds.append(deed)
        if len(self._told.deeds) > DEEDS:
            del self._told.deeds[: DEEDS // 10]

    def ban(self, key: str, ban: Measure | None) -> None:
        """Have a ban told, or its end."""
        self._told.bans.pop(key, None)
        self._told.bans[key] = ban
        if len(self._told.bans) > BANS:
            del self._told.bans[next(iter(self._told.bans))]

    def tick(self, now: float) -> None:
        """Exchange what there is, and hear what is new."""
        # A time of a try that is further away than any is one of a clock that was set back since.
        if self._busy or self._next_try - AGAIN_SECONDS[-1] <= now < self._next_try:
            return
        told, self._told = self._told, Told()
        self._busy = self._thread.put(partial(self._exchange, told, now))
        if not self._busy:
            self._told = told

    def close(self) -> None:
        """Let go of the partner; the thread's end is waited for by who owns it."""
        self._thread.put(self._partner.close)

    def _exchange(self, told: Told, now: float) -> None:
        try:
            heard = self._partner.exchange(told, now)
        except Away as error:
            self._in_loop(partial(self._failed, str(error), told, now))
        except Exception as error:  # noqa: BLE001 - whoever's fault: it must not look as if it were still under way
            self._in_loop(partial(self._failed, f"{type(error).__name__}: {str(error)[:LONGEST_WHY]}", told, now))
        else:
            self._in_loop(partial(self._exchanged, heard))

    def _exchanged(self, heard: Heard) -> None:
        self._busy = False
        self._tries = 0
        self._next_try = float("-inf")
        if self.fault:
            self.fault = ""
            self._say(f"{self._name}: is back; clients are counted together again", syslog.LOG_NOTICE)
            for ban in self._standing():
                self._told.bans.setdefault(ban.key, ban)
        self._heard(heard)

    def _failed(self, why: str, told: Told, now: float) -> None:
        self._busy = False
        for key, ban in told.bans.items():
            self._told.bans.setdefault(key, ban)
        self._told.deeds.clear()
        self._next_try = now + AGAIN_SECONDS[min(self._tries, len(AGAIN_SECONDS) - 1)]
        self._tries += 1
        if not self.fault:
            self.since = now
            self._say(f"{self._name}: {why}; every process counts by itself until it is back", syslog.LOG_WARNING)
        self.fault = why
