"""Deeds in, incidents out: one for each source that tries, however many sessions and processes it takes.

Contract: without I/O, time is an argument.  An incident begins with enough deeds in a time (suspicion.py), or with a
limit that was crossed, and holds them all from the first; it is closed once nothing further has come for `quiet`.

Nobody can hide behind a crowd of addresses.  What is remembered of a source that has not done enough yet is never just
dropped: where there is no more room the source of the fewest points goes, with what it did, into an incident of its
own, MANY, since so many who each try a little are an incident.  A network around sources (/24, /48) has so many
incidents side by side, and what comes from further sources in it is one more, of that network.  Where still too many
are open, the one that has been quiet for longest is closed early: it has been told, and is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from typing import Final

from ..policy.limits import OPERATOR
from .deeds import Deed
from .incident import Incident
from .measures import Hardness, Measure
from .sources import MANY, around, prefix_of
from .suspicion import WATCH_SECONDS, points
from .watching import Watched

OPEN: Final = 1000
"""Incidents open at once; up to about 30 kB each."""
OPEN_AROUND: Final = 16
"""Incidents open at once whose sources are in one network around them."""
LONGEST: Final = 86400.0
"""Seconds of an incident; one that goes on is closed, and goes on as another."""


class Event(Enum):
    """What has become of an incident."""

    OPENED = "opened"
    WENT_ON = "went on"
    CLOSED = "closed"


class Incidents:
    """Those that are open, and who is watched."""

    def __init__(
        self, quiet: float, changed: Callable[[Incident, Event], None], prefixes: tuple[int, int] = (32, 64)
    ) -> None:
        """`prefixes` are the lengths of IPv4's and IPv6's."""
        self.quiet = quiet
        self.prefixes = prefixes
        self._changed = changed
        self._next_id = 1
        self._open: dict[str, Incident] = {}
        self._networks: dict[str, str] = {}  # around each that is open
        self._around: dict[str, int] = {}  # how many are open in a network
        self.watched = Watched()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Incident]:
        return iter(self._open.values())

    def resume(self, kept: Iterable[Incident], last_id: int = 0) -> None:
        """Go on with open incidents of an earlier run, whose last number is `last_id`.

        Whoever has another one by now, as after a time without the file, gets no second: the earlier one is closed.
        """
        self._next_id = max(self._next_id, last_id + 1)
        for incident in kept:
            self._next_id = max(self._next_id, incident.id + 1)
            known = self._open.get(incident.key)
            if known is None and len(self._open) < OPEN:
                self._enter(incident)
            elif known is None or known.id != incident.id:
                incident.closed = incident.last
                self._changed(incident, Event.WENT_ON)

    # -- what is told --------------------------------------------------------------------------------

    def did(self, deed: Deed, now: float) -> None:
        """Note a deed."""
        weight = points(deed)
        if not weight:
            return
        key = prefix_of(deed.address, *self.prefixes)
        incident = self._open.get(key) or self._open.get(around(deed.address, *self.prefixes))
        if incident is not None:
            incident.did(deed)
            self._changed(incident, Event.WENT_ON)
            return
        deeds = self.watched.add(key, deed, weight)
        if deeds is not None:
            self._begin(key, deed.address, deeds, None, now)
        crowd = self.watched.crowded_out()
        if crowd:
            known = self._open.get(MANY)
            incident = known or self._new(MANY, min(one.when for one in crowd), now)
            for one in crowd:
                incident.did(one)
            self._changed(incident, Event.WENT_ON if known else Event.OPENED)

    def measured(self, measure: Measure, now: float) -> None:
        """Note that a limit was crossed."""
        if measure.hardness is Hardness.DELAY:
            return
        address = measure.key.partition("/")[0]
        key = self._source_of(measure.key)
        incident = self._open.get(key)
        if incident is not None:
            incident.measured(measure)
            self._changed(incident, Event.WENT_ON)
        elif measure.limit != OPERATOR:  # else it says nothing of what a client did
            self._begin(key, address, self.watched.pop(key), measure, now)

    def lifted(self, keys: Iterable[str], standing: Iterable[str]) -> None:
        """Note that bans were lifted; `standing` are those that stand still."""
        still = set(map(self._source_of, standing))
        for key in keys:
            incident = self._open.get(self._source_of(key))
            if incident is not None and incident.banned and incident.key not in still:
                incident.banned = False
                self._changed(incident, Event.WENT_ON)

    def _source_of(self, key: str) -> str:
        """Return the source that a measure's key belongs to."""
        address, slash, _ = key.partition("/")
        source = prefix_of(address, *self.prefixes)
        return key if slash and source != key else source  # a limit may count by a wider prefix

    def tick(self, now: float) -> None:
        """Close what has been quiet, and forget what was not enough."""
        for incident in list(self._open.values()):
            incident.last = min(incident.last, now)  # the clock was set back
            if incident.last + self.quiet <= now or incident.opened + LONGEST <= now:
                self._close(incident, now)
        self.watched.forget(now - WATCH_SECONDS)

    # -- opening and closing -------------------------------------------------------------------------

    def _begin(self, key: str, address: str, deeds: Sequence[Deed], measure: Measure | None, now: float) -> None:
        network = around(address, *self.prefixes)
        if self._around.get(network, 0) >= OPEN_AROUND:
            key = network
        known = self._open.get(key)
        began = min([*(deed.when for deed in deeds), *([] if measure is None else [measure.since])])
        incident = known or self._new(key, began, now)
        for deed in deeds:
            incident.did(deed)
        if measure is not None:
            incident.measured(measure)
        self._changed(incident, Event.WENT_ON if known else Event.OPENED)

    def _new(self, key: str, began: float, now: float) -> Incident:
        if len(self._open) >= OPEN:
            self._close(min(self._open.values(), key=lambda one: one.last), now)
        # A number that no earlier run has given either, whether or not what it kept can be read.
        self._next_id = max(self._next_id, int(now))
        incident = Incident(self._next_id, key, began)
        self._next_id += 1
        self._enter(incident)
        return incident

    def _enter(self, incident: Incident) -> None:
        network = around(incident.key.partition("/")[0], *self.prefixes)
        self._open[incident.key] = incident
        self._networks[incident.key] = network
        self._around[network] = self._around.get(network, 0) + 1

    def _close(self, incident: Incident, now: float) -> None:
        del self._open[incident.key]
        network = self._networks.pop(incident.key)
        self._around[network] -= 1
        if not self._around[network]:
            del self._around[network]
        incident.closed = now
        self._changed(incident, Event.CLOSED)
