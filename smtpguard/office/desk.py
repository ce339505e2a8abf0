"""What a process that serves has of the office: it counts, keeps to the limits, and reports.

Contract: a `Desk` belongs to one service (smtpguard.service), and works whether or not there is anybody to report to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..backends.pool import Pool
from ..journal.journal import Journal
from ..ledger.reports import Orders, Report
from ..ledger.shadow_tally import ShadowTally
from ..metrics import catalogue
from ..metrics.counts import Counts
from ..sessions.gatekeeper import Gatekeeper
from ..sessions.listener import Reception
from ..sessions.places import Places
from ..sessions.prefix_places import PrefixPlaces
from ..sessions.session_metrics import SessionMetrics
from ..sessions.shadow_watch import ShadowWatch
from .reporter import Reporter


class Desk:
    """Of one process."""

    def __init__(
        self,
        reactor: Any,
        reception: Reception,
        journal: Journal,
        behind: Callable[[], Pool],
        tell: Callable[[Report], bool],
        places: Places | None = None,
    ) -> None:
        """`behind` returns the backends that sessions come to now; `tell` passes a report on.

        `places` count sessions by prefix, over all processes, where there are several.
        """
        counts = Counts()
        self._gatekeeper = Gatekeeper(reactor, reception, reception.policy, journal.service, PrefixPlaces(places))
        reception.gate = self._gatekeeper
        shadow = ShadowTally()
        reception.observers += [SessionMetrics(counts), self._gatekeeper, ShadowWatch(shadow)]
        self._reporter = Reporter(
            reactor,
            reception,
            counts.take,
            lambda: behind().snapshot(),
            lambda: behind().standing.value,
            tell,
            lambda: journal.lost,
            self._gatekeeper.standing,
            self._gatekeeper.held,
            shadow,
        )
        self._gatekeeper.tell = self._reporter.did
        self._gatekeeper.tell_measures = self._reporter.followed
        self._gatekeeper.crossed = lambda limit, step: counts.count(catalogue.CROSSED, limit, step)
        self._gatekeeper.crossed_in_shadow = lambda limit, step: counts.count(catalogue.SHADOW_CROSSED, limit, step)

    def start(self) -> None:
        """Report from now on."""
        self._gatekeeper.start()
        self._reporter.start()

    def stop(self) -> None:
        """Report for the last time."""
        self._gatekeeper.stop()
        self._reporter.stop()

    def obey(self, orders: Orders) -> None:
        """Do as the office says."""
        if orders.asked_by:
            self._reporter.asked(orders.asked_by, self._gatekeeper.bans)
        self._gatekeeper.obey(orders)
