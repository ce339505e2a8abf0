"""The one backend, where there are not several.

Contract: every client is connected to it, whatever became of the one before, and the relay watch alone says whether
clients are turned away; what was found is kept for operators, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.python.failure import Failure

from .backend import Attempt, BackendConnector, Client
from .backend_side import BackendUser
from .blame import CANNOT_CONNECT
from .circumstances import Circumstances
from .relay_check import Answer
from .relay_watch import RelayWatch, Standing


class Single:
    """One backend."""

    def __init__(
        self, circumstances: Circumstances, connector: BackendConnector, changed: Callable[[Standing], None]
    ) -> None:
        self.connector = connector
        self.watch = RelayWatch(circumstances, connector, changed)
        self.watch.heard = self._heard
        connector.usage.broke = partial(self.watch.backend_away, False)
        self._reactor = circumstances.reactor
        self._fault = ""
        self._failures = 0
        self._made_before: int | None = None
        """How many connections there had been when one could not be made; None if the last one could."""
        self._state, self._since = self.state, self._reactor.seconds()

    def begin(self, user: BackendUser, client: Client, failed: Callable[[Failure], None]) -> Attempt | None:
        """Connect for `client` (smtpguard.sessions.listener.Connector)."""
        return self.connector.begin(user, client, partial(self._failed, failed))

    def believe(self, other: Single) -> None:
        """Begin with what is known of the same backend, which is asked the same."""
        self.watch.standing = other.watch.standing
        self.connector.usage = other.connector.usage  # its sessions go on, and are counted on
        self.connector.usage.broke = partial(self.watch.backend_away, False)
        self._since, self._state = other._since, other._state
        self._fault, self._failures, self._made_before = other._fault, other._failures, other._made_before

    def snapshot(self) -> dict[str, object]:
        """Return what an operator wants to know; as of a member (member.py)."""
        now, state = self._reactor.seconds(), self.state
        if state != self._state:
            self._state, self._since = state, now
        return {
            "endpoint": self.connector.endpoint,
            "state": state,
            "for_seconds": round(now - self._since, 3),
            "fault": self._fault,
            "sessions": len(self.connector.usage.sides),
            "connections": self.connector.usage.made,
            "failures": self._failures,
            "next_try_seconds": None,
        }

    @property
    def state(self) -> str:
        """As of a member."""
        if self.watch.standing is Standing.RELAYS:
            return "relays"
        if self._made_before == self.connector.usage.made:
            return "down"
        return "checking" if self.watch.standing is Standing.WAIT else "up"

    def _failed(self, failed: Callable[[Failure], None], failure: Failure) -> None:
        self._found_away(failure.getErrorMessage())
        failed(failure)

    def _found_away(self, why: str) -> None:
        self._fault = CANNOT_CONNECT + why
        self._failures += 1
        self._made_before = self.connector.usage.made

    def _heard(self, answers: list[Answer]) -> None:
        away = next((answer for answer in answers if answer.away), None)
        if away is None:
            self._made_before = None
        else:
            self._found_away(away.said.removeprefix(CANNOT_CONNECT))
