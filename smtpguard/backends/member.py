"""One of several backends: whether sessions may go there.

Contract: a `Member` is used while it is up (health.py) and its relay check does not speak against it (relay_watch.py).
What sessions find counts as if it had been checked, so a backend that is in use is not checked besides.  One that is
down is looked at now and then (probe.py) and, once it is up, asked whether it relays before it is used again.  Each
change is logged, once.
"""

from __future__ import annotations

import secrets
import syslog
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Final

from twisted.internet.interfaces import IDelayedCall

from .backend import BackendConnector
from .circumstances import Circumstances
from .health import Health
from .probe import Finding, commands_for, probe
from .relay_check import Answer
from .relay_watch import RelayWatch, Standing

DOUBT_SECONDS: Final = 10.0
"""A client may be to blame for what goes wrong in its session, so no more than one in this time leads to a check."""
SHOWN_FAULT: Final = 300
"""Characters of a fault, in the log and for operators."""


def _lot() -> float:
    return secrets.randbelow(1 << 20) / (1 << 20)


class Member:
    """One backend."""

    def __init__(
        self, circumstances: Circumstances, connector: BackendConnector, changed: Callable[[Member], None]
    ) -> None:
        """`changed` is told whenever it may be used, or may not, and is not as it was."""
        reactor, settings = circumstances.reactor, circumstances.settings
        self.connector = connector
        self.health = Health(settings.backend.health.rise, settings.backend.health.fall, reactor.seconds(), _lot)
        self.watch = RelayWatch(circumstances, connector, self._watched)
        self.watch.heard = self._heard
        connector.usage.broke = self._broke
        self._reactor = reactor
        self._journal = circumstances.journal
        self._changed = changed
        self._commands = commands_for(settings.backend.profile, circumstances.host)
        self._seconds = settings.greeting_seconds
        self._asks = settings.relay_check != "off"
        # Under `transparent` it may be that only this one client cannot be connected for.
        self._client_matters = settings.backend.identity != "none"
        self._one_way = settings.backend.identity != "transparent"
        self._probing = False
        self._probed_at = float("-inf")
        self._timer: IDelayedCall | None = None
        self._stopped = False
        self._away_since: float | None = None
        self._state, self._state_since = self.state, reactor.seconds()

    @property
    def serves(self) -> bool:
        """True if the relay check does not speak against it."""
        return self.watch.standing is Standing.SERVE

    @property
    def usable(self) -> bool:
        """True if sessions may go there."""
        return self.health.up and self.serves

    @property
    def state(self) -> str:
        """One of `up`, `down`, `checking`, `relays`."""
        if not self.health.up:
            return "down"
        return {Standing.SERVE: "up", Standing.WAIT: "checking", Standing.RELAYS: "relays"}[self.watch.standing]

    def snapshot(self) -> dict[str, object]:
        """Return what an operator wants to know."""
        now = self._reactor.seconds()
        down = not self.health.up
        return {
            "endpoint": self.connector.endpoint,
            "state": self.state,
            "for_seconds": round(now - self._state_since, 3),
            "fault": self.health.fault,
            "sessions": len(self.connector.usage.sides),
            "connections": self.connector.usage.made,
            "failures": self.health.failures,
            "next_try_seconds": round(max(self.health.next_try - now, 0.0), 3) if down else None,
        }

    def believe(self, other: Member) -> None:
        """Begin with what is known of the same backend, which is asked the same."""
        self.health = copy(other.health)  # sessions that begin at the other one go on
        self.watch.standing = other.watch.standing
        # Its sessions go on, and are counted on.
        self.connector.usage = other.connector.usage
        self.connector.usage.broke = self._broke
        self._away_since = other._away_since
        self._state, self._state_since = other._state, other._state_since
        if not self.health.up:
            self._probe_later()

    def stop(self) -> None:
        """Look and ask no more."""
        self._stopped = True
        self.watch.stop()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    # -- what sessions find --------------------------------------------------------------------------

    def passed_session(self) -> None:
        """It has greeted a client."""
        self.health.passed(self._reactor.seconds(), checked=False)

    def failed_session(self, why: str, *, away: bool = False) -> None:
        """It has not, or there was no connection at all."""
        if self._client_matters and not (away and self._one_way):
            self.doubt()
        else:
            self._failed(why, checked=False, certain=away)

    def doubt(self) -> None:
        """Something went wrong that may be due to the client: look."""
        self.health.doubt()
        if self._reactor.seconds() - self._probed_at >= DOUBT_SECONDS:
            self.probe()

    def _broke(self) -> None:
        if not self.health.up:
            return
        self.health.doubt()
        if self._asks:
            self.watch.backend_away(False)  # what broke may be back as another one
        else:
            self.doubt()

    # -- what checks find ----------------------------------------------------------------------------

    def look(self, seconds: float) -> None:
        """Check it if sessions may go there, and none has found it up within `seconds`; else it is asked anyway."""
        if self.usable and not self.health.found_within(seconds, self._reactor.seconds()):
            self.probe()

    def probe(self) -> None:
        """Check it now."""
        if self._probing or self._stopped:
            return
        self._probing = True
        self._probed_at = self._reactor.seconds()
        connect = partial(self.connector.connect, client=self.watch.outsider)
        probe(self._reactor, connect, self._commands, self._seconds).addCallback(self._probed)

    def _probed(self, finding: Finding) -> None:
        self._probing = False
        if self._stopped:
            return
        if finding.ours:  # nothing was found
            self.health.put_off(self._reactor.seconds())
        elif finding.up:
            self._passed()
        else:
            self._failed(finding.said, checked=True, certain=finding.away)
        self._probe_later()

    def _probe_later(self) -> None:
        """If it is down."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if not self.health.up and not self._stopped:
            seconds = max(self.health.next_try - self._reactor.seconds(), 0.0)
            self._timer = self._reactor.callLater(seconds, self.probe)

    def _heard(self, answers: list[Answer]) -> None:
        """The relay check is a check, too."""
        if all(answer.greeted for answer in answers):
            self._passed()
            return
        failed = next(answer for answer in answers if not answer.greeted)
        self._failed(failed.said, checked=True, certain=failed.away)

    # -- what follows --------------------------------------------------------------------------------

    def _passed(self) -> None:
        if self.health.passed(self._reactor.seconds(), checked=True) and self._asks:
            self.watch.ask()  # it may be back as another one; under `enforce` it is not used before it has answered
        self._note()

    def _failed(self, why: str, *, checked: bool, certain: bool) -> None:
        why = why if len(why) <= SHOWN_FAULT else why[: SHOWN_FAULT - 3] + "..."
        now = self._reactor.seconds()
        if not self.health.failed(now, why, checked=checked, certain=certain):
            return
        if self._away_since is None:
            self._away_since = now
        self._journal.service(f"backend {self.connector.endpoint} is down: {why}", syslog.LOG_WARNING)
        self.watch.rest()
        self._probe_later()
        self._note()

    def _watched(self, _standing: Standing) -> None:
        self._note()

    def _note(self) -> None:
        """Tell if it is not as it was."""
        now, state = self._reactor.seconds(), self.state
        if state == self._state:
            return
        self._state, self._state_since = state, now
        if state == "up" and self._away_since is not None:
            away, self._away_since = now - self._away_since, None
            self._journal.service(f"backend {self.connector.endpoint} is up again after {away:.0f} s")
        self._changed(self)
