"""The office: the one place of a service that knows what all of its processes do.

Contract: it is told reports and facts, keeps the ledger and the totals, and answers the admin endpoint
(smtpguard.admin.view).  There is one a service: in the only process, or with workers in one of its own
(smtpguard.workers.clerk).  Mail is served without it, too.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from attrs import evolve
from twisted.internet.interfaces import IDelayedCall

from .. import __version__
from ..admin.endpoint import AdminEndpoint
from ..journal.journal import Say
from ..ledger.ledger import Ledger
from ..ledger.measures import Hardness
from ..ledger.reports import Orders, Report
from ..ledger.sharing import partner_of
from ..lifecycle.configuration import Configuration
from ..metrics import catalogue
from ..metrics.exposition import Exposition
from ..metrics.totals import Totals
from . import status
from .facts import Facts

TICK_SECONDS: Final = 1.0
"""Between two looks at what is over, in the ledger too."""
INCIDENTS_TOLD: Final = 500
"""At /incidents.json, the newest; the state file has more, and `smtpguard incidents` reads it."""
NEWCOMERS_SECONDS: Final = 0.1
"""Processes that begin to serve together are told together what stands."""
MOST_PROCESSES: Final = 1024
"""That reports are kept of; there are 256 workers at most, of a few generations."""


class Office:
    """Of one service."""

    def __init__(
        self,
        reactor: Any,
        configuration: Configuration,
        host: str,
        facts: Facts,
        say: Say,
        order: Callable[[Orders], None],
        several: bool = False,
    ) -> None:
        """`order` passes on to all processes that serve what stands from now on; `several` if there may be more."""
        self._reactor = reactor
        self._configuration = configuration
        self._host = host
        self._facts = facts
        self._order = order
        self._asks_as = 1 + secrets.randbits(32) if several else 0
        self._reports: dict[int, tuple[Report, float]] = {}
        self._totals = Totals()
        self._exposition = Exposition(self._totals)
        settings = configuration.settings
        prefixes = configuration.policy.policy.limits.prefixes
        self._ledger = Ledger(
            time.time,
            settings.incidents,
            settings.state,
            say,
            self._pass_on,
            reactor.callFromThread,
            (prefixes.ipv4, prefixes.ipv6),
            partner_of(settings.state, lambda: self._configuration.policy.policy, several),
        )
        self._ledger.crossed = partial(self._totals.count, catalogue.CROSSED)
        self._ledger.crossed_in_shadow = partial(self._totals.count, catalogue.SHADOW_CROSSED)
        self._admin = AdminEndpoint(reactor, settings.admin, self, say)
        self._incidents = 0
        self._timer: IDelayedCall | None = None
        self._telling: IDelayedCall | None = None
        self._stopped = False

    # -- its life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, behind any fork."""
        self._ledger.start()
        self._admin.start()
        self._tick()

    def stop(self) -> None:
        """End; takes smtpguard.ledger.ledger.LAST_SECONDS at most."""
        for timer in (self._timer, self._telling):
            if timer is not None and timer.active():
                timer.cancel()
        self._timer = self._telling = None
        self._stopped = True
        self._admin.stop()
        self._ledger.close()

    def reload(self, configuration: Configuration) -> None:
        """Go by another configuration from now on; its faults and warnings are told by `know`."""
        self._configuration = configuration
        prefixes = configuration.policy.policy.limits.prefixes
        self._ledger.reload(configuration.settings.incidents, (prefixes.ipv4, prefixes.ipv6))

    def _tick(self) -> None:
        self._timer = self._reactor.callLater(TICK_SECONDS, self._tick)
        self._ledger.tick()
        opened = self._ledger.opened
        if opened > self._incidents:
            self._totals.count(catalogue.INCIDENTS, number=opened - self._incidents)
            self._incidents = opened
        self._living()  # so that those that have gone are forgotten, whether or not anybody asks

    # -- what it is told -----------------------------------------------------------------------------

    def know(self, facts: Facts) -> None:
        """Take what the service is now."""
        before, self._facts = self._facts.reload, facts
        if facts.reload is not None and facts.reload != before:
            self._totals.count(catalogue.RELOADS, "ok" if facts.reload.ok else "refused")

    def told(self, report: Report) -> None:
        """Take what a process that serves tells."""
        if report.worker not in self._reports:
            if len(self._reports) >= MOST_PROCESSES:
                return
            self.tell_what_stands(NEWCOMERS_SECONDS)  # it may be new, and has to know
        self._reports[report.worker] = report, self._reactor.seconds()
        self._totals.merge(report.counts, time.time())
        self._ledger.told(report)

    def tell_what_stands(self, within: float = 0.0) -> None:
        """Tell all processes that serve, and those that are about to, what stands: as soon as it is known."""
        if self._telling is None and not self._stopped:
            self._telling = self._reactor.callLater(within, self._tell_what_stands)

    def _tell_what_stands(self) -> None:
        self._telling = None
        if not self._ledger.knows:
            self.tell_what_stands(NEWCOMERS_SECONDS)
            return
        if self._asks_as:  # first, so that nobody tells what it is told here; the office before may have known more
            self._order(Orders(asked_by=self._asks_as))
        for orders in self._ledger.standing():
            self._order(orders)
        if self._asks_as:
            self._order(Orders(complete=True))

    def _pass_on(self, orders: Orders) -> None:
        bans = sum(one.hardness is Hardness.BAN for one in orders.measures)
        if bans:
            self._totals.count(catalogue.BANNED, number=bans)
        self._order(orders)

    def _living(self) -> dict[int, Report]:
        oldest = self._reactor.seconds() - status.SILENT_SECONDS
        for process in [one for one, (_, at) in self._reports.items() if at < oldest]:
            del self._reports[process]
        return {process: report for process, (report, _) in self._reports.items()}

    # -- smtpguard.admin.view.View ---------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        now, reports = time.time(), self._living()
        settings, policy = self._configuration.settings, self._configuration.policy.policy
        parts = {
            "sessions": status.sessions(
                reports, settings.limits.sessions, self._totals.sessions(), self._totals.turned_away()
            ),
            "verdicts": self._totals.verdicts(now),
            "verbs": self._totals.verbs(),
            "limits": status.limits(policy.limits, self._totals.crossed(), reports),
            **status.standing(reports),
            **self._ledger.status(),
        }
        return status.document(self._facts, reports, __version__, self._host, now, parts)

    def ready(self) -> tuple[bool, str]:
        return status.readiness(self._facts, self._living())

    def exposition(self, openmetrics: bool) -> bytes:
        return self._exposition.of(self.status(), openmetrics)

    def incidents(self) -> list[dict[str, Any]]:
        return self._ledger.incidents(INCIDENTS_TOLD)

    def bans(self) -> list[dict[str, Any]]:
        return self._ledger.bans()

    def shadow(self) -> list[list[Any]]:
        return [one.as_row() for one in self._ledger.shadow()]

    def lift(self, address: str) -> list[str]:
        gone = self._ledger.lift(address, [one.key for report, _ in self._reports.values() for one in report.held])
        for process, (report, at) in self._reports.items():
            held = tuple(one for one in report.held if one.key not in gone)
            self._reports[process] = evolve(report, held=held), at
        return gone
