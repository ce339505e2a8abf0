"""The mail servers behind the guard: one, or several of which a client gets one that is up.

Contract: `begin` connects for a session (smtpguard.sessions.listener.Connector).  `standing` says what is to be done
with clients, and `closed_because` why they are turned away: of several backends one that may be used is enough.  A
single backend is connected to whatever became of the client before, and watched as relay_watch.py has it; several are
members (member.py), and a client for whom one fails is tried at the next (trial.py).
"""

from __future__ import annotations

import ssl
import syslog
from collections.abc import Callable, Collection

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from ..journal.journal import FindName
from ..net.deadlines import Deadlines
from .backend import Attempt, BackendConnector, Client
from .backend_side import BackendUser
from .circumstances import Circumstances
from .member import Member
from .relay_watch import RelayWatch, Standing
from .single import Single
from .trial import Trial, Waiting


class Pool:
    """All backends of one configuration."""

    def __init__(
        self,
        circumstances: Circumstances,
        context: ssl.SSLContext | None,
        changed: Callable[[Standing], None],
        unfit: Callable[[Collection[BackendUser]], None] = lambda _users: None,
        *,
        looks: bool = True,
    ) -> None:
        """`changed` is told of every standing that is not the one before.

        `unfit` is told whose sessions are at a backend that was found to relay, while others are served.  Only who
        `looks` checks backends that are up; of a service of several processes, that is one.
        """
        reactor, settings = circumstances.reactor, circumstances.settings
        self._reactor = reactor
        self._journal = circumstances.journal
        self._changed = changed
        self._unfit = unfit
        self._looks = looks
        self._asks = settings.relay_check != "off"
        self._backend = settings.backend
        self._seconds = settings.greeting_seconds
        self._bounds = settings.terms.bounds
        networks = circumstances.policy.networks
        connectors = [
            BackendConnector(reactor, settings, networks, circumstances.host, context, endpoint)
            for endpoint in settings.backend.endpoints
        ]
        self._single: Single | None = None
        self._members: list[Member] = []
        if len(connectors) == 1:
            self._single = Single(circumstances, connectors[0], changed)
        else:
            self._members = [Member(circumstances, connector, self._noted) for connector in connectors]
        self._connectors = connectors
        self._deadlines = Deadlines(reactor, settings.greeting_seconds)
        self._turn = -1
        self._timer: IDelayedCall | None = None
        self._stopped = False
        self._told = self.standing

    # -- what the service asks -----------------------------------------------------------------------

    @property
    def standing(self) -> Standing:
        """What is to be done with clients."""
        if self._single is not None:
            return self._single.watch.standing
        if any(member.usable for member in self._members):
            return Standing.SERVE
        relays = all(member.watch.standing is Standing.RELAYS for member in self._members)
        return Standing.RELAYS if relays else Standing.WAIT

    @property
    def closed_because(self) -> str | None:
        """Why clients are turned away, for the log; None if they are not."""
        if self._single is not None:
            return self._single.watch.closed_because
        match self.standing:
            case Standing.SERVE:
                return None
            case Standing.RELAYS:
                return "every mail server would relay for outsiders (relay check)"
        states = [member.state for member in self._members]
        counts = [f"{states.count(state)} {state}" for state in ("down", "checking", "relays") if state in states]
        return f"no mail server may be used ({', '.join(counts)})"

    def snapshot(self) -> list[dict[str, object]]:
        """Return what an operator wants to know of each, as JSON has it."""
        return [one.snapshot() for one in ([self._single] if self._single is not None else self._members)]

    def unusable(self) -> list[str]:
        """Return what stands in the way of the source addresses on this host, in words."""
        return self._connectors[0].unusable()

    def find_names_by(self, find: FindName) -> None:
        """Let the names of clients, for backends that are told them, be found so."""
        for connector in self._connectors:
            connector.find_name = find

    # -- its life ------------------------------------------------------------------------------------

    def believe(self, other: Pool | None = None) -> None:
        """Begin with what `other` knows of the same backends; without it, that a single one may be used."""
        if other is None:
            # Of several, the one that serves may be another one.
            if self._single is not None:
                self._single.watch.standing = Standing.SERVE
        elif self._single is not None and other._single is not None:
            self._single.believe(other._single)
        else:
            known = {member.connector.endpoint: member for member in other._members}
            for member in self._members:
                if member.connector.endpoint in known:
                    member.believe(known[member.connector.endpoint])
        self._told = self.standing
        if other is not None:
            self._look_later()

    def start(self) -> Deferred[Standing]:
        """Ask each for the first time; the result comes with the first that may be used, or the last answer."""
        if self._single is not None:
            return self._single.watch.start()
        started: Deferred[Standing] = Deferred()
        left = list(self._members)

        def answered(member: Member) -> None:
            left.remove(member)
            if not started.called and (not left or self.standing is Standing.SERVE):
                started.callback(self.standing)

        for member in self._members:
            member.watch.start().addCallback(lambda _, asked: answered(asked), member)
        if self._asks:
            self._look_later()  # who is asked whether it relays is checked by that
        else:
            self._look()
        return started

    def ask(self) -> None:
        """Ask whether they relay, soon: something changed, as at a reload."""
        for watch in self._watches:
            watch.ask()

    def let_go(self) -> None:
        """Look and ask no more; sessions that have a connection, or try to get one, go on."""
        self._stopped = True
        if self._single is not None:
            self._single.watch.stop()
        for member in self._members:
            member.stop()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    # -- sessions ------------------------------------------------------------------------------------

    def begin(self, user: Waiting, client: Client, failed: Callable[[Failure], None]) -> Attempt | None:
        """Connect for `client`, or say `failed`, perhaps at once; the result may be cancelled."""
        if self._single is not None:
            return self._single.begin(user, client, failed)
        return Trial(user, client, failed, self._in_turn(), self._deadlines, self._seconds, self._bounds).begin()

    def backend_away(self) -> None:
        """A session got no connection."""
        if self._single is not None:
            self._single.watch.backend_away()

    def _in_turn(self) -> list[Member]:
        """Return the members as they are to be tried."""
        if self._backend.balance == "order":
            return self._members
        usable = [member for member in self._members if member.usable]
        self._turn += 1
        first = self._turn % len(usable) if usable else 0
        return usable[first:] + usable[:first]

    # -- what changes --------------------------------------------------------------------------------

    @property
    def _watches(self) -> list[RelayWatch]:
        """Of what is not down: what is down is asked when it is back."""
        if self._single is not None:
            return [self._single.watch]
        return [member.watch for member in self._members if member.health.up]

    def _noted(self, member: Member) -> None:
        if self._stopped:
            return
        standing = self.standing
        if member.state == "relays" and standing is not Standing.RELAYS:
            self._unfit({side.user for side in member.connector.usage.sides})
        if standing is self._told:
            return
        if self._told is Standing.SERVE and self.closed_because is not None:
            self._journal.service(f"{self.closed_because}: clients get 421", syslog.LOG_WARNING)
        self._told = standing
        self._changed(standing)

    def _look(self) -> None:
        """Check, once an interval, what no session has found up meanwhile."""
        for member in self._members:
            if self._looks:
                member.look(self._backend.health.interval)
        self._look_later()

    def _look_later(self) -> None:
        if self._members and self._looks and not self._stopped:
            self._timer = self._reactor.callLater(self._backend.health.interval, self._look)
