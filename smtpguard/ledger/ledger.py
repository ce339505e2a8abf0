"""The ledger of a service: what all its processes have seen of clients, and what follows for all of them.

Contract: there is one, in the only process or in the one that keeps it for the others (smtpguard.workers); it is made
and started behind any fork.  `told` and `tick` are called in the event loop and wait for nothing: the file and Redis
are used in one thread, hooks are run in threads of their own.  What the file or Redis cannot do now is said once, and
everything else goes on.
"""

from __future__ import annotations

import syslog
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, Final

from attrs import evolve

from ..config.incidents import Hook as HookSettings
from ..config.incidents import IncidentSettings
from ..config.state import State
from ..journal.journal import Say
from ..journal.lines import Line
from . import lifting, sayings, shadowed
from .bans import Bans
from .hook import Hook
from .incident import Incident
from .incidents import Event, Incidents
from .keeping import InLoop, Keeping
from .measures import Hardness, Measure
from .ordering import Ordering, messages
from .reading import RECENT, Kept
from .reports import Orders, Report
from .shadow_book import ShadowBook
from .shadowed import Shadowed
from .sources import prefix_of, written
from .standing import Standing
from .steps import LineBudget, Said, ordered
from .store import Store
from .thread import WorkThread
from .together import Heard, Partner, Together

SHOWN: Final = 50
"""Incidents in the status, the newest ones."""
BANS_SHOWN: Final = 200
"""Bans in the status, the newest ones."""
WRITTEN_A_TICK: Final = 100
"""Incidents that are put into words for the file in one turn of the event loop: a few ms."""
HELD: Final = 100
HELD_SECONDS: Final = 5.0
"""Reports wait at the start until the file has been read, so many for so long."""
SLOWED: Final = 10_000
"""Clients that are slowed or sent away, who are known so that it can be said whether one was let off; some 5 MB."""
LAST_SECONDS: Final = 3.0
"""For the file and Redis, when the service ends."""
PREFIXES: Final = (32, 64)
"""Of IPv4 and IPv6, where the policy says nothing."""


class Ledger:
    """Incidents and bans."""

    def __init__(
        self,
        clock: Callable[[], float],
        incidents: IncidentSettings,
        state: State,
        say: Say,
        order: Callable[[Orders], None],
        in_loop: InLoop,
        prefixes: tuple[int, int] = PREFIXES,
        partner: Partner | None = None,
    ) -> None:
        """`clock` is time.time; `say` is called in the event loop alone, and so is `order`.

        `partner` counts for several processes or guards; without one each process that serves counts by itself.
        """
        self._clock = clock
        self._ordering = Ordering(order)
        self._in_loop = in_loop
        self._say = say
        self._bans = Bans()
        self._slowed = Standing(SLOWED)
        self._shadow = ShadowBook()
        self._incidents = Incidents(incidents.quiet, self._changed, prefixes)
        self._recent: deque[dict[str, Any]] = deque(maxlen=RECENT)  # closed; the oldest one first
        self._touched: dict[int, Incident] = {}  # not yet written
        self.opened = 0
        """How many incidents were opened since the service began."""
        self._said = Said()
        self.crossed: Callable[[str, str], None] = lambda _limit, _step: None
        """Told of each step that was decided for all: the limit, and the hardness; gates tell of their own."""
        self.crossed_in_shadow: Callable[[str, str], None] = lambda _limit, _step: None
        """The same of each that would have been."""
        self._lines = LineBudget(say)
        self._thread = WorkThread("ledger", self._broken)
        self._path = state.path() or ""
        self._keeping: Keeping | None = None
        if self._path:
            store = Store(self._path, state.max_bytes, incidents.kept)
            self._keeping = Keeping(store, self._path, self._thread, in_loop, say, self._found)
        self._shared_name = state.shared_shown
        self._together: Together | None = None
        if partner is not None:
            self._together = self._with(partner)
        self._began = float("inf")
        self._held: deque[Report] | None = deque(maxlen=HELD) if self._path else None
        self._hook_settings: HookSettings | None = None
        self._hook: Hook | None = None
        self._set_hook(incidents.hook)

    def start(self) -> None:
        """Begin; what the file has is told by `order` once it has been read."""
        self._began = self._clock()
        self.tick()

    def reload(self, incidents: IncidentSettings, prefixes: tuple[int, int] = PREFIXES) -> None:
        """Go by other settings from now on; what `state` says is for the next start."""
        self._incidents.quiet = incidents.quiet
        self._incidents.prefixes = prefixes
        self._set_hook(incidents.hook)

    def close(self) -> None:
        """Write what is new, and end; takes LAST_SECONDS and those of the hooks at most."""
        self._write(len(self._touched))
        for report in self._held or ():  # the file was not read yet: what only adds to it need not wait for that
            self._take_shadow(report)
        for part in (self._keeping, self._together):
            if part is not None:
                part.close()
        if self._hook is not None:
            self._hook.close()
        if not self._thread.close(LAST_SECONDS):
            self._say("ledger: the state file or Redis does not answer; what was new last is lost", syslog.LOG_WARNING)
        elif self._keeping is not None and self._keeping.fault:
            text = f"state file {self._path}: {self._keeping.fault}; what was new last is lost"
            self._say(text, syslog.LOG_WARNING)

    # -- what is told --------------------------------------------------------------------------------

    def told(self, report: Report) -> None:
        """Take what a process tells."""
        if self._held is not None:
            self._held.append(report)
            return
        now = self._clock()
        for deed in report.deeds:  # first, since they say what an incident is that begins with a measure
            self._incidents.did(deed, now)
            if self._together is not None:
                self._together.did(deed)
        for measure in report.measures:
            self._said.news(measure, now)  # it has said so itself
            if measure.shadow:
                self._shadowed(shadowed.of(measure))
                continue
            self._follows(measure, now, ours=True)
        self._take_shadow(report)
        self._recall(report.recalled, now)

    def tick(self) -> None:
        """Do what there is to do; once a second."""
        now = self._clock()
        if self._held is not None and now > self._began + HELD_SECONDS:
            self._release()
        if self._held is None:
            self._incidents.tick(now)
            for key in self._bans.expire(now):
                self._ended(key)
        self._slowed.expire(now)
        self._write(WRITTEN_A_TICK)
        if self._keeping is not None:
            self._keeping.tick(now)
        if self._together is not None:
            self._together.tick(now)

    def lift(self, text: str, held: Iterable[str] = ()) -> list[str]:
        """Let off an address, or all in a prefix; return whom something stood against, at most lifting.LIFTED.

        `held` are keys of clients that processes have told to be slowed or sent away.
        """
        try:
            wanted = written(text)
        except ValueError:  # it may be anything
            return []
        bans = self._bans.lift(wanted)
        for key in bans:
            self._ended(key)
        self._incidents.lifted(bans, [one.key for one in self._bans])
        known = {**dict.fromkeys(self._slowed.keys()), **dict.fromkeys(held)}
        others = [key for key in lifting.concerned(wanted, known) if key not in bans][: lifting.LIFTED - len(bans)]
        for key in (*bans, *others):
            self._slowed.lift(key)
        # Gates may know of more, and whoever counts for all begins anew.
        gone = [*bans, *others]
        every = [*gone, *({wanted} - {*gone})]
        if self._together is not None:
            for key in every:
                self._together.ban(key, None)
        self._ordering.order(self._clock(), lifted=every)
        for line in lifting.lines(wanted, bans, others):
            self._say(line, syslog.LOG_NOTICE)
        return gone

    # -- what is asked -------------------------------------------------------------------------------

    def bans(self) -> list[dict[str, Any]]:
        """Return the bans that stand, the newest first."""
        return self._bans.rows()

    @property
    def knows(self) -> bool:
        """True once the file was read, or was waited for long enough."""
        return self._held is None

    def standing(self) -> list[Orders]:
        """Return what a process that begins to serve has to know."""
        return list(messages(tuple(self._bans)))

    def incidents(self, most: int = SHOWN) -> list[dict[str, Any]]:
        """Return incidents, the newest first."""
        newest = sorted(self._incidents, key=lambda one: one.id, reverse=True)[:most]
        known = [one.to_dict() for one in newest]
        return sorted([*known, *self._recent], key=itemgetter("id"), reverse=True)[:most]

    def shadow(self) -> list[Shadowed]:
        """Return what would have been decided if nothing were in shadow, as far as this process has been told."""
        return list(self._shadow)

    def status(self) -> dict[str, Any]:
        """Return the parts of the status document that are the ledger's."""
        return {
            "bans": self._bans.rows(BANS_SHOWN),
            "bans_total": len(self._bans),
            "incidents": self.incidents(),
            "incidents_open": len(self._incidents),
            "incidents_total": self.opened,
            "state": self._state(),
            "hook": None if self._hook is None else {"told": self._hook.told, "failed": self._hook.failed},
        }

    def _state(self) -> dict[str, str]:
        fault = "" if self._keeping is None else self._keeping.fault
        shared, counting = "", "here"
        if self._together is not None:
            away = self._together.fault
            if self._shared_name:
                shared = f"redis away since {sayings.moment(self._together.since)}: {away}" if away else "redis ok"
            counting = "here" if away else "together"
        return {"file": self._path, "fault": fault, "shared": shared, "counting": counting}

    # -- incidents -----------------------------------------------------------------------------------

    def _changed(self, incident: Incident, event: Event) -> None:
        self._touched[incident.id] = incident
        if event is Event.WENT_ON:
            return
        if event is Event.OPENED:
            self.opened += 1
            self._write_line(sayings.opened(incident))
        else:
            self._recent.append(incident.to_dict())
            self._write_line(sayings.closed(incident))
        if self._hook is not None:
            self._hook.tell(event.value, incident.to_dict())

    def _write_line(self, line: Line) -> None:
        self._say(line.text, line.priority, line.event, line.fields)

    def _write(self, most: int) -> None:
        for number in list(self._touched)[:most]:
            incident = self._touched.pop(number)
            if self._keeping is not None:
                self._keeping.incident(number, incident.to_dict())

    # -- what is in shadow ---------------------------------------------------------------------------

    def _take_shadow(self, report: Report) -> None:
        for one in report.shadow:
            self._shadowed(evolve(one, source=prefix_of(one.source, *self._incidents.prefixes)))

    def _shadowed(self, one: Shadowed) -> None:
        kept = self._shadow.add(one)
        if self._keeping is not None:
            self._keeping.shadow(kept)

    # -- bans ----------------------------------------------------------------------------------------

    def _follows(self, measure: Measure, now: float, ours: bool) -> None:
        """Do what a measure means; `ours` was decided by a process of this service."""
        self._incidents.measured(measure, now)
        if measure.hardness is not Hardness.BAN:
            if measure.until > now:
                self._slowed.add(measure)
            return
        gone = self._bans.add(measure, now)
        if gone is None:
            return
        for key in gone:
            self._ended(key)
        if self._keeping is not None:
            self._keeping.ban(measure.key, measure)
            self._keeping.tick(now)  # at once, whatever may become of this process
        if ours and self._together is not None:
            self._together.ban(measure.key, measure)
        self._ordering.order(now, (measure,))

    def _recall(self, bans: Sequence[Measure], now: float) -> None:
        """Take bans that stand with a process, and are no news there: a ledger before this one had them kept."""
        news = []
        for ban in bans:
            if self._ordering.was_let_off(ban):
                continue
            gone = self._bans.add(ban, now)
            if gone is None:
                continue
            for key in gone:
                self._ended(key)
            if self._keeping is not None:
                self._keeping.ban(ban.key, ban)
            news.append(ban)
        self._ordering.order(now, news)

    def _ended(self, key: str) -> None:
        if self._keeping is not None:
            self._keeping.ban(key, None)

    # -- what threads hand back ----------------------------------------------------------------------

    def _found(self, kept: Kept | None) -> None:
        """Go on with what the file had, and have it written what it does not have."""
        now = self._clock()
        if kept is not None:
            over = self._keeping.is_over if self._keeping is not None else lambda _: False
            restored = [ban for ban in kept.bans if not over(ban.key) and self._bans.add(ban, now) is not None]
            for ban in kept.bans:
                if ban.until <= now:
                    self._ended(ban.key)
            self._incidents.resume(kept.open, kept.last_id)
            if not self._recent:
                self._recent.extend(one.to_dict() for one in reversed(kept.recent))
            # It may be another file than the one before, or have missed something.
            had = {ban.key: ban for ban in kept.bans}
            for ban in self._bans:
                if had.get(ban.key) != ban and self._keeping is not None:
                    self._keeping.ban(ban.key, ban)
            self._touched.update((one.id, one) for one in self._incidents)
            has = {one.id for one in kept.recent}
            for one in self._recent:
                if one["id"] not in has and self._keeping is not None:
                    self._keeping.incident(one["id"], one)
            self._ordering.order(now, restored)
        self._release()

    def _release(self) -> None:
        held, self._held = self._held, None
        for report in held or ():
            self.told(report)

    def _with(self, partner: Partner) -> Together:
        name = f"state.shared {self._shared_name}" if self._shared_name else "counting over all processes"
        return Together(partner, name, self._thread, self._in_loop, self._say, self._heard, lambda: list(self._bans))

    def _heard(self, heard: Heard) -> None:
        now = self._clock()
        for measure in heard.measures:
            if self._said.news(measure, now):
                self._lines.say(ordered(measure, now), now, measure.shadow)
                (self.crossed_in_shadow if measure.shadow else self.crossed)(measure.limit, measure.hardness.value)
                if measure.shadow:
                    self._shadowed(shadowed.of(measure))
            if measure.shadow:
                continue
            self._follows(measure, now, ours=False)
        others = tuple(one for one in heard.measures if one.hardness is not Hardness.BAN and not one.shadow)
        for key in heard.lifted:
            self._bans.end(key)
            self._slowed.lift(key)
            self._ended(key)
        if heard.lifted:
            self._incidents.lifted(heard.lifted, [one.key for one in self._bans])
        self._ordering.order(now, others, heard.lifted)

    def _broken(self, error: Exception) -> None:
        self._from_thread(f"ledger: internal fault: {type(error).__name__}: {error}")

    def _from_thread(self, text: str) -> None:
        self._in_loop(lambda: self._say(text, syslog.LOG_WARNING))

    # -- the hook ------------------------------------------------------------------------------------

    def _set_hook(self, wanted: HookSettings | None) -> None:
        if wanted == self._hook_settings:
            return
        if self._hook is not None:
            self._hook.close(0)
        self._hook_settings, self._hook = wanted, None
        if wanted is not None:
            self._hook = Hook(self._from_thread, wanted.command, wanted.webhook, wanted.timeout)
