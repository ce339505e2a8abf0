"""What a process that serves tells the one place that keeps the ledger, and what it is told.

Contract: values without I/O, as JSON where they cross between processes (smtpguard.workers.clerk).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from attrs import Factory, frozen

from .deeds import Deed
from .measures import Measure
from .shadowed import Shadowed

REPORT_SECONDS: Final = 1.0
"""Between reports; deeds go at once where a limit needs them (smtpguard.ledger.gate)."""
DEEDS_A_REPORT: Final = 100
"""More go with the next one: a message between processes has a length."""
SHADOW_A_REPORT: Final = 60
"""About 30 kB; more go with the next one."""
HELD_SHOWN: Final = 100
"""Clients that a report names as slowed or sent away, the hardest and newest measures; about 15 kB."""
LIVE_SESSIONS: Final = 100
"""Sessions that a report describes, the longest ones; a table of more is nobody's to read."""


@frozen
class LiveSession:
    """A session as the status shows it."""

    id: str
    address: str
    listener: str
    seconds: float
    state: str
    """What is waited for (smtpguard.smtp.phases.Phase)."""
    backend: str = ""
    tls: bool = False
    commands: int = 0


@frozen
class Report:
    """What one process that serves has to tell."""

    worker: int
    """Its process id."""
    deeds: tuple[Deed, ...] = ()
    counts: dict[str, float] = Factory(dict)
    """What was counted since the last report (smtpguard.metrics)."""
    sessions: int = 0
    """Sessions now."""
    live: tuple[LiveSession, ...] = ()
    backends: tuple[dict[str, Any], ...] = ()
    """As smtpguard.backends.pool tells of them."""
    closed_because: str = ""
    """Why clients are turned away at present; empty if they are not."""
    lost: int = 0
    """Lines of the log that could not be written, since the process began."""
    measures: tuple[Measure, ...] = ()
    """What it decided by itself since the last report: bans are kept, and told to the others."""
    relay_check: str = "serve"
    """What the relay check says is to be done with clients (smtpguard.backends.relay_watch.Standing)."""
    standing: dict[str, int] = Factory(dict)
    """How many measures stand here, by the name of their limit."""
    held: tuple[Measure, ...] = ()
    """Of clients that are slowed or sent away here, and not banned: HELD_SHOWN at most."""
    held_total: int = 0
    """How many such clients there are."""
    fits: int | None = None
    """For how many sessions there are descriptors here, if that is known."""
    recalled: tuple[Measure, ...] = ()
    """Bans that stand here, told to an office that has asked for them (Orders.asked_by)."""
    shadow: tuple[Shadowed, ...] = ()
    """What would have been decided if nothing were in shadow, since the last report: SHADOW_A_REPORT at most."""

    def to_json(self) -> bytes:
        """Return the form that goes from process to process."""
        live = [[s.id, s.address, s.listener, s.seconds, s.state, s.backend, s.tls, s.commands] for s in self.live]
        deeds = [deed.as_row() for deed in self.deeds]
        measures = [one.as_row() for one in self.measures]
        held = [one.as_row() for one in self.held]
        about = [self.closed_because, self.lost, measures, self.relay_check, self.standing, held]
        about += [[one.as_row() for one in self.recalled], self.held_total, self.fits]
        about.append([one.as_row() for one in self.shadow])
        row = [self.worker, deeds, self.counts, self.sessions, live, self.backends, *about]
        return json.dumps(row, separators=(",", ":")).encode("ascii")

    @staticmethod
    def from_json(octets: bytes) -> Report:
        """Read it back; raises ValueError or TypeError on anything else."""
        worker, deeds, counts, sessions, live, backends, closed_because, lost, measures, *rest = json.loads(octets)
        relay_check, standing, held, recalled, held_total, fits, shadow = rest
        return Report(
            worker,
            tuple(map(Deed.from_row, deeds)),
            counts,
            sessions,
            tuple(LiveSession(*row) for row in live),
            tuple(backends),
            closed_because,
            lost,
            tuple(map(Measure.from_row, measures)),
            relay_check,
            standing,
            tuple(map(Measure.from_row, held)),
            held_total,
            fits,
            tuple(map(Measure.from_row, recalled)),
            tuple(map(Shadowed.from_row, shadow)),
        )


@frozen
class Orders:
    """What all processes that serve are told: what stands from now on, and what no longer does."""

    measures: tuple[Measure, ...] = ()
    lifted: tuple[str, ...] = ()
    """Keys."""
    asked_by: int = 0
    """If not 0: an office that wants to be told, once, of the bans that stand with whoever reads this."""
    complete: bool = False
    """With this one, all bans have been told that the office knows."""

    def forms(self, longest: int) -> Iterator[bytes]:
        """Yield the form that goes from process to process, in as many parts as are no longer: names may be long."""
        octets = self.to_json()
        if len(octets) <= longest or len(self.measures) + len(self.lifted) < 2:
            yield octets
            return
        measures, lifted = len(self.measures) // 2, len(self.lifted) // 2
        yield from Orders(self.measures[:measures], self.lifted[:lifted], self.asked_by).forms(longest)
        yield from Orders(self.measures[measures:], self.lifted[lifted:], complete=self.complete).forms(longest)

    def to_json(self) -> bytes:
        """Return the form that goes from process to process."""
        row = [[one.as_row() for one in self.measures], self.lifted, self.asked_by, self.complete]
        return json.dumps(row, separators=(",", ":")).encode("ascii")

    @staticmethod
    def from_json(octets: bytes) -> Orders:
        """Read it back; raises ValueError or TypeError on anything else."""
        measures, lifted, *rest = json.loads(octets)
        return Orders(tuple(map(Measure.from_row, measures)), tuple(lifted), *rest)
