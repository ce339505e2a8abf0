"""What a process that serves tells the office, and does as it is told.

Contract: a report each second, whether there is anything to tell or not, so that the office knows who is alive; and one
at once when the gate has banned somebody.  What could not be told is told with the next report.  Nothing waits: whoever
takes the reports says False if there was no room.
"""

from __future__ import annotations

import heapq
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IDelayedCall

from ..ledger.deeds import Deed
from ..ledger.measures import Measure
from ..ledger.reports import (
    DEEDS_A_REPORT,
    LIVE_SESSIONS,
    REPORT_SECONDS,
    SHADOW_A_REPORT,
    LiveSession,
    Report,
)
from ..ledger.shadow_tally import ShadowTally
from ..sessions.session import Session

LIVE_EVERY: Final = 5
"""Reports: only each fifth describes sessions, since to look at thousands takes milliseconds."""
HELD_OFTEN: Final = 1000
"""Clients that are slowed or sent away: of more, only each fifth report tells anew who they are, for that reason."""
DEEDS_HELD: Final = 2000
"""Deeds that wait to be told; older ones are dropped, since limits have counted them here already.  Some 600 kB."""
ROOM: Final = 1000
"""Counts, and bans, in one report.  Of one that was not taken the next one has half, and so on: it may be that it is
too long, as with names of rules that are."""
LEAST_ROOM: Final = 10
"""That always fits."""
MEASURES_HELD: Final = 1000
"""The same for bans; about 200 kB."""
LAST: Final = 100
"""Reports at the end, at most: as many as it takes to tell all that smtpguard.ledger.shadow_tally holds."""
AHEAD: Final = 5
"""Reports at once of what led to bans, before that of the bans: so that incidents begin under their right names."""


class Serving(Protocol):
    """What serves (smtpguard.sessions.listener.Reception), as far as it is reported on."""

    sessions: set[Session]
    closed_because: str | None
    fits: int | None


class Reporter:
    """Of one process."""

    def __init__(
        self,
        clock: Any,
        serving: Serving,
        counts: Callable[[], dict[str, float]],
        backends: Callable[[], Sequence[Mapping[str, Any]]],
        relay_check: Callable[[], str],
        tell: Callable[[Report], bool],
        lost: Callable[[], int] = lambda: 0,
        standing: Callable[[], dict[str, int]] = dict,
        held: Callable[[], tuple[Sequence[Measure], int]] = lambda: ((), 0),
        shadow: ShadowTally | None = None,
    ) -> None:
        """`clock` is an IReactorTime.

        `counts` takes what was counted since it was called last; `tell` passes a report on, and says whether it could.
        """
        self._clock = clock
        self._standing = standing
        self._held_now = held
        self._shadow = ShadowTally() if shadow is None else shadow
        self._serving = serving
        self._take_counts = counts
        self._backends = backends
        self._relay_check = relay_check
        self._tell = tell
        self._lost = lost
        self._deeds: deque[Deed] = deque(maxlen=DEEDS_HELD)
        self._measures: deque[Measure] = deque(maxlen=MEASURES_HELD)
        self._recalled: deque[Measure] = deque()
        self._asked_by = 0
        self._counts: dict[str, float] = {}
        self._live: tuple[LiveSession, ...] = ()
        self._held: tuple[Sequence[Measure], int] = (), 0
        self._until_live = 0
        self._room = ROOM
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Report from now on."""
        self._each_second()

    def stop(self) -> None:
        """Report for the last time."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        for _ in range(LAST):  # what is known of nobody else is to be kept
            self.report()
            if not len(self._shadow):
                break

    def did(self, deeds: Iterable[Deed]) -> None:
        """Tell of these with the next report."""
        self._deeds.extend(deeds)

    def followed(self, measures: Sequence[Measure], deeds: Sequence[Deed] = ()) -> None:
        """Tell at once of what has followed here, and no later of the deeds that led to it."""
        self._deeds.extendleft(reversed(deeds))
        for _ in range(min((len(deeds) - 1) // DEEDS_A_REPORT, AHEAD)):
            self.report()
        self._measures.extend(measures)
        self.report()

    def asked(self, by: int, bans: Callable[[], Sequence[Measure]]) -> None:
        """Tell an office, once, of the bans that stand here: it may have begun without knowing of them."""
        if by != self._asked_by:
            self._asked_by = by
            self._recalled = deque(bans())
            if self._recalled:
                self.report()

    def report(self) -> None:
        """Report now."""
        room = self._room
        deeds = list(islice(self._deeds, min(DEEDS_A_REPORT, room)))
        measures = tuple(islice(self._measures, room))
        recalled = tuple(islice(self._recalled, room - len(measures)))
        for name, amount in self._take_counts().items():
            self._counts[name] = self._counts.get(name, 0) + amount
        counts = dict(islice(self._counts.items(), room))
        held, held_total = self._held
        shadow = tuple(self._shadow.first(min(SHADOW_A_REPORT, room)))
        report = Report(
            os.getpid(),
            tuple(deeds),
            counts,
            len(self._serving.sessions),
            self._live,
            tuple(self._backends_now()),
            closed_because=self._serving.closed_because or "",
            lost=self._lost(),
            measures=measures,
            relay_check=self._relay_check(),
            standing=self._standing(),
            recalled=recalled,
            held=tuple(held[:room]),
            held_total=held_total,
            fits=self._serving.fits,
            shadow=shadow,
        )
        if self._tell(report):
            self._room = min(2 * room, ROOM)
            for name in counts:
                del self._counts[name]
            for _ in deeds:
                self._deeds.popleft()
            for _ in measures:
                self._measures.popleft()
            for _ in recalled:
                self._recalled.popleft()
            self._shadow.drop(len(shadow))
        else:
            self._room = max(room // 2, LEAST_ROOM)

    def _backends_now(self) -> Iterator[dict[str, Any]]:
        """Yield what the pool tells, with moments in place of spans, since it takes a while until it is read."""
        now = time.time()
        for one in self._backends():
            told = dict(one)
            told["since"] = now - told.pop("for_seconds")
            seconds = told.pop("next_try_seconds")
            told["next_try"] = None if seconds is None else now + seconds
            yield told

    def _each_second(self) -> None:
        self._timer = self._clock.callLater(REPORT_SECONDS, self._each_second)
        if self._until_live == 0 or self._held[1] <= HELD_OFTEN:
            self._held = self._held_now()
        if self._until_live == 0:
            self._until_live = LIVE_EVERY
            self._live = tuple(map(_live, heapq.nlargest(LIVE_SESSIONS, self._serving.sessions, key=_age)))
        self._until_live -= 1
        self.report()


def _age(session: Session) -> float:
    return session.seconds


def _live(session: Session) -> LiveSession:
    dialogue = session.dialogue
    return LiveSession(
        session.journal.id,
        session.journal.peer.text,
        session.listener,
        round(session.seconds, 1),
        dialogue.phase.value,
        session.backend,
        dialogue.encrypted,
        sum(pair[1] for pair in dialogue.tally.by_verb.values()),
    )
