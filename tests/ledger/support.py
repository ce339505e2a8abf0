"""What the tests of this folder share: deeds, a loop that is turned by hand, a ledger in it."""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from smtpguard.config.incidents import IncidentSettings
from smtpguard.config.state import State
from smtpguard.ledger.deeds import Deed, Kind
from smtpguard.ledger.ledger import Ledger
from smtpguard.ledger.measures import Hardness, Measure
from smtpguard.ledger.reports import Orders, Report
from smtpguard.ledger.together import Partner
from tests.rig.wait import wait_until

NOW = 1_800_000_000.0


def vrfy(name: str = "root", address: str = "192.0.2.7", when: float = NOW, session: str = "s1") -> Deed:
    """Return somebody's VRFY."""
    return Deed(Kind.PROBE, address, when, session, "VRFY", f"VRFY {name}", "252", "no-vrfy")


def wiz(address: str = "192.0.2.7", when: float = NOW, session: str = "s1") -> Deed:
    """Return a knock at an old hole."""
    return Deed(Kind.PROBE, address, when, session, "WIZ", "WIZ", "500", "old-holes")


def rcpt(name: str, address: str = "192.0.2.7", when: float = NOW, session: str = "s1") -> Deed:
    """Return a recipient that there is not."""
    return Deed(Kind.RECIPIENT, address, when, session, "RCPT", name, "550")


def auth(address: str = "192.0.2.7", when: float = NOW, session: str = "s1") -> Deed:
    """Return a wrong password."""
    return Deed(Kind.AUTH, address, when, session, "AUTH", "AUTH PLAIN ***", "535")


def ban(key: str = "192.0.2.7", seconds: float = 3600, limit: str = "scanners", since: float = NOW) -> Measure:
    """Return a ban."""
    return Measure(Hardness.BAN, key, since + seconds, limit, since, count=60)


class Stage:
    """A ledger, a clock that is set by hand, and what it said and ordered."""

    def __init__(
        self, path: Path | str | None = None, partner: Partner | None = None, now: float = NOW, **settings: Any
    ) -> None:
        self.now = now
        self.said: list[tuple[str, int]] = []
        self.told: list[tuple[str, dict[str, Any] | None]] = []
        """The event of each line, and its fields."""
        self.orders: list[Orders] = []
        self._handed_back: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        state = State(file=str(path) if path is not None else "memory")
        wanted = IncidentSettings.model_validate(settings)
        self.ledger = Ledger(
            lambda: self.now,
            wanted,
            state,
            self.say,
            self.orders.append,
            self._handed_back.put,
            partner=partner,
        )
        self.ledger.start()

    def say(self, text: str, priority: int, event: str = "service", fields: dict[str, Any] | None = None, /) -> None:
        """Write a line."""
        self.said.append((text, priority))
        self.told.append((event, fields))

    def turn(self) -> None:
        """Do in the loop what threads have handed back."""
        with suppress(queue.Empty):
            while True:
                self._handed_back.get_nowait()()

    def until(self, predicate: Callable[[], object], what: str) -> None:
        """Let the loop turn, and its clock tick, until that is so."""

        def so() -> object:
            self.turn()
            found = predicate()
            if not found:
                self.ledger.tick()
            return found

        wait_until(so, what, 20, lambda: "\n".join(map(str, self.said)))

    def did(self, *deeds: Deed, worker: int = 0, measures: tuple[Measure, ...] = ()) -> None:
        """Have a process report."""
        self.ledger.told(Report(worker, deeds, measures=measures))

    def settle(self) -> None:
        """Wait until the file has been read and has everything, as far as it can be used."""
        keeping = self.ledger._keeping
        assert keeping is not None
        self.until(lambda: self.ledger._held is None, "the file to be read")
        self.until(
            lambda: not self.ledger._touched and not keeping._changes and not keeping._busy, "the file to be written"
        )

    def close(self) -> None:
        """End it as a service ends."""
        self.turn()
        self.ledger.close()
        self.turn()

    def texts(self) -> list[str]:
        """Return what it said."""
        return [text for text, _ in self.said]
