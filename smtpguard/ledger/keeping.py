"""When the file is opened and written: seen from the event loop, which never waits for it.

Contract: one load or one transaction is under way at a time, in the thread; of what changes meanwhile the last state
counts.  While the file cannot be used that is said once, all goes on from memory, and it is tried again, later and
later.  What could not be written is written then.
"""

from __future__ import annotations

import syslog
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from ..journal.journal import Say
from .measures import Measure
from .reading import Kept
from .shadowed import Shadowed
from .store import Changes, Store, Unusable
from .thread import WorkThread

AGAIN_SECONDS: Final = (1.0, 5.0, 15.0, 60.0, 300.0)
"""Between tries; the last one goes on."""
CHANGED: Final = 5000
"""Incidents that wait to be written; of more, the oldest are lost to the file."""
BANS_CHANGED: Final = 20_000
"""Bans that wait, or ends of bans; of more, the oldest are lost to the file."""

SHADOW_CHANGED: Final = 10_000
"""Rows of what would have been refused that wait; of more, the oldest are lost to the file."""

InLoop = Callable[[Callable[[], None]], object]
"""Has something done in the event loop; may be called in any thread (IReactorFromThreads.callFromThread)."""


class Keeping:
    """What the file has, or will have."""

    def __init__(
        self,
        store: Store,
        path: str,
        thread: WorkThread,
        in_loop: InLoop,
        say: Say,
        found: Callable[[Kept | None], None],
    ) -> None:
        """`found` is told what the file had, each time that it is to be opened; None if that is not known."""
        self._store = store
        self._path = path
        self._thread = thread
        self._in_loop = in_loop
        self._say = say
        self._found = found
        self._changes = Changes()
        self._busy = self._usable = False
        self._tries = 0
        self._next_try = float("-inf")
        self.fault = ""
        """Why it cannot be used; empty while it can."""
        self.lost = 0
        """Incidents and bans that the file will never have."""

    def incident(self, number: int, document: dict[str, Any]) -> None:
        """Have an incident written."""
        self._changes.incidents[number] = document
        if len(self._changes.incidents) > CHANGED:
            del self._changes.incidents[min(self._changes.incidents)]
            self.lost += 1

    def ban(self, key: str, ban: Measure | None) -> None:
        """Have a ban written, or its end."""
        self._changes.bans[key] = ban
        if len(self._changes.bans) > BANS_CHANGED:
            del self._changes.bans[next(iter(self._changes.bans))]
            self.lost += 1

    def shadow(self, one: Shadowed) -> None:
        """Have it added to what the file has."""
        known = self._changes.shadow.get(one.key)
        self._changes.shadow[one.key] = one if known is None else known.with_(one)
        if len(self._changes.shadow) > SHADOW_CHANGED:
            del self._changes.shadow[next(iter(self._changes.shadow))]
            self.lost += 1

    def is_over(self, key: str) -> bool:
        """True for a ban that has ended, which the file may not know yet."""
        return key in self._changes.bans and self._changes.bans[key] is None

    def tick(self, now: float) -> None:
        """Open or write, if there is something to do."""
        # A time of a try that is further away than any is one of a clock that was set back since.
        if self._busy or self._next_try - AGAIN_SECONDS[-1] <= now < self._next_try:
            return
        if not self._usable:
            self._busy = self._thread.put(partial(self._load, now))
        elif self._changes:
            changes, self._changes = self._changes, Changes()
            self._busy = self._thread.put(partial(self._write, changes, now))
            if not self._busy:
                self._take_back(changes)

    def close(self) -> None:
        """Have the rest written, and the file closed; the thread's end is waited for by who owns it.

        Then `fault` says whether that went well.
        """
        changes, self._changes = self._changes, Changes()
        usable = self._usable

        def last() -> None:
            try:
                # It may have been opened since, by what the thread had to do before this.
                if changes and (usable or self._store.is_open):
                    self._store.write(changes)
            except Unusable as error:
                self.fault = str(error)
            self._store.close()

        self._thread.put(last)

    # -- in the thread -------------------------------------------------------------------------------

    def _load(self, now: float) -> None:
        try:
            kept = self._store.load()
        except Unusable as error:
            self._in_loop(partial(self._failed, error, Changes(), now))
        else:
            self._in_loop(partial(self._loaded, kept))

    def _write(self, changes: Changes, now: float) -> None:
        try:
            if not self._store.is_open:
                raise Unusable("it was removed, or replaced by another one")
            self._store.write(changes)
        except Unusable as error:
            self._in_loop(partial(self._failed, error, changes, now))
        else:
            self._in_loop(self._written)

    # -- and back in the loop ------------------------------------------------------------------------

    def _loaded(self, kept: Kept) -> None:
        self._busy, self._usable = False, True
        self._found(kept)
        if not self._changes:
            self._works()

    def _written(self) -> None:
        self._busy = False
        self._works()

    def _works(self) -> None:
        self._tries = 0
        self._next_try = float("-inf")
        if self.fault:
            self.fault = ""
            self._say(f"state file {self._path}: in use again", syslog.LOG_NOTICE)

    def _failed(self, error: Unusable, changes: Changes, now: float) -> None:
        why = str(error)
        self._busy = self._usable = False
        self._take_back(changes)
        self._next_try = now + AGAIN_SECONDS[min(self._tries, len(AGAIN_SECONDS) - 1)]
        self._tries += 1
        if why != self.fault:
            self.fault = why
            text = f"state file {self._path}: {why}; bans and incidents are in memory only until it can be used"
            self._say(text, syslog.LOG_ERR)
        self._found(error.kept)

    def _take_back(self, changes: Changes) -> None:
        """Put what was not written behind what is newer."""
        later, self._changes = self._changes, Changes()
        for number, document in {**changes.incidents, **later.incidents}.items():
            self.incident(number, document)
        for key, ban in {**changes.bans, **later.bans}.items():
            self.ban(key, ban)
        for one in (*changes.shadow.values(), *later.shadow.values()):
            self.shadow(one)
