"""A reload of a service of several workers: a new generation, and nothing in between.

Contract: the supervisor reads and checks, and starts a generation that has what was read.  When all of it could
serve, it listens at the sockets of the one before, which then stops listening and goes when its last session has
ended.  With a fault in what was read, or a worker that does not get that far, the one before has never stopped
serving: the reload is refused.  What is asked for meanwhile is done once, behind it.  A plain state machine; the
supervisor's loop calls `step`.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import Final

from attrs import evolve

from ..journal.journal import Journal, Sink
from ..journal.opening import new_sinks, rewrite
from ..lifecycle import systemd
from ..lifecycle.configuration import Configuration, Read, in_place
from ..lifecycle.reloading import LastReload, refused, reloaded, same_question, why
from .crew import Crew
from .processes import Process

PREPARE_SECONDS: Final = 90.0
"""For a generation to get ready: a mail server that does not answer keeps it for a minute (relay_check.ASK_SECONDS)."""
SETTLE_SECONDS: Final = 20.0
"""Then, for every new worker to listen and every old one to stop; a worker that dies meanwhile is replaced."""
GRACE_SECONDS: Final = 5.0
"""Beyond `timeouts.shutdown`, after which a worker that has not ended is killed; systemd's own time is longer
(TimeoutStopSec)."""


class Renewal:
    """Knows the configuration that is served, and brings the next."""

    def __init__(
        self,
        crew: Crew,
        journal: Journal,
        configuration: Configuration,
        sinks: list[Sink],
        again: Read,
        tell: Callable[[str], None],
    ) -> None:
        """`tell` tells systemd the status, and what it is given."""
        self.configuration = configuration
        self.sinks = sinks
        self.last: LastReload | None = None
        self.wanted = False
        """A reload was asked for, and has not begun."""
        self.due = float("inf")
        """When a step is due, whatever happens."""
        self._crew = crew
        self._journal = journal
        self._again = again
        self._tell = tell
        self._warnings: list[str] = []
        self._settling = False

    def step(self) -> None:
        """Do what can be done now."""
        if self._crew.coming:
            if all(one.prepared for one in self._crew.coming):
                self._take_over()
            elif time.monotonic() >= self.due:
                self._refuse((f"the new workers were not ready within {PREPARE_SECONDS:g} s",))
        elif self._settling:
            if self._settled or time.monotonic() >= self.due:
                self._finish()
        elif self.wanted and self._crew.has_room:
            self.wanted = False
            self._begin()

    def died(self, process: Process, how: str) -> bool:
        """One of the generation that was to come has died: refuse it; False if it was none of them."""
        if process not in self._crew.coming:
            return False
        self._refuse(tuple(process.faults) or (f"{process.name} {how} before it could serve",))
        return True

    def cannot_start(self, process: Process, error: OSError) -> None:
        """One of them could not even be started."""
        self._refuse((f"{process.name} cannot be started: {error.strerror}",))

    def stop(self) -> None:
        """The service ends: nothing comes any more."""
        self.wanted = self._settling = False
        self.due = float("inf")
        self._crew.give_up(time.monotonic() + GRACE_SECONDS)

    # -- the steps -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        systemd.reloading()
        old = self.configuration
        try:
            new, self._warnings = in_place(old, self._again())
            new = self._within_the_board(new)
            sinks = new_sinks(old.settings.log, new.settings.log)
        except Exception as error:  # noqa: BLE001 - whatever it is, the service goes on as it was
            self._refuse(why(error))
            return
        # What was frozen for the sake of the workers (processes.py) may be garbage by now: a policy of long ago.
        gc.unfreeze()
        gc.collect()
        known = same_question(old, new)
        self._crew.coming = self._crew.generation(new, self.sinks if sinks is None else sinks)
        self.due = time.monotonic() + PREPARE_SECONDS
        for process in list(self._crew.coming):
            process.believes = known and self._crew.current[process.number].shut == ""
            try:
                self._crew.start(process)
            except OSError as error:
                self.cannot_start(process, error)
                return

    def _within_the_board(self, new: Configuration) -> Configuration:
        limits, most = new.settings.limits, self._crew.board.places
        if limits.sessions <= most or limits == self.configuration.settings.limits:
            return new
        text = f"limits.sessions: workers have room for {most} until the next start"
        self._warnings.append(new.warning(("limits", "sessions"), text))
        limits = limits.model_copy(update={"sessions": most})
        return evolve(new, settings=new.settings.model_copy(update={"limits": limits}))

    def _take_over(self) -> None:
        first = self._crew.coming[0]
        self._crew.take_over(time.monotonic() + self.configuration.settings.timeouts.shutdown + GRACE_SECONDS)
        self.configuration = first.configuration
        rewrite(self._journal, self.configuration.settings.log, None if first.sinks is self.sinks else first.sinks)
        self.sinks = first.sinks
        self._settling = True
        self.due = time.monotonic() + SETTLE_SECONDS

    @property
    def _settled(self) -> bool:
        return all(one.was_ready for one in self._crew.current) and all(
            one.listens_no_more for one in self._crew.leaving
        )

    def _finish(self) -> None:
        """All that come now come to the new generation: only then it is true."""
        self._settling = False
        self.due = float("inf")
        warnings = [*map(str, self.configuration.warnings), *self._warnings]
        self.last = reloaded(self._journal, warnings, self.configuration)
        self._tell("READY=1")

    def _refuse(self, faults: Sequence[str]) -> None:
        self.due = float("inf")
        self._crew.give_up(time.monotonic() + GRACE_SECONDS)
        self.last = refused(self._journal, tuple(dict.fromkeys(faults)), self.configuration)
        self._tell("READY=1")
