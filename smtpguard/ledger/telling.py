"""From what happens in sessions to deeds: what is told of it, and how much of that is told one by one.

Contract: without I/O, time is an argument.  Of an address the first SAMPLES deeds of a kind in a second are told with
what was said; of more, how many there were.  So a flood costs little here, and nothing on the way.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ..journal.lines import as_shown, printable
from ..smtp.effects import Authenticated, Judged, Note, RecipientRefused, Refused, TooSlow
from ..smtp.tally import named
from ..smtp.verbs import DISCLOSING, PROBES
from ..smtp.verdict import Action
from .deeds import Deed, Kind
from .sources import prefix_of

SAMPLES: Final = 10
"""Of one kind and address, told with their text between two calls of `take`."""
TOLD: Final = 1000
"""Deeds between two calls of `take`; limits have counted what is more."""
FORWARDED: Final = "forwarded"
"""The verdict of a command that discloses something and was allowed to."""
CLOSED: Final = "closed"


def kind_of(note: Note) -> Kind | None:
    """Return what kind of deed a note tells of; None if of none."""
    if isinstance(note, Judged):
        return None if is_shadow_only(note) else Kind.PROBE
    if isinstance(note, Refused):
        return Kind.MALFORMED
    if isinstance(note, RecipientRefused):
        return Kind.RECIPIENT
    if isinstance(note, Authenticated):
        return None if note.accepted else Kind.AUTH
    return Kind.SLOW if isinstance(note, TooSlow) else None


def is_forwarded(note: Note) -> bool:
    """True for a command that discloses something and was allowed to."""
    return isinstance(note, Judged) and note.verdict.action in (Action.FORWARD, Action.STARTTLS)


def is_shadow_only(note: Note) -> bool:
    """True for a command of which nothing would be told but for a rule in shadow, so that it is no deed yet."""
    return (
        isinstance(note, Judged)
        and note.verdict.would is not None
        and is_forwarded(note)
        and note.command.verb not in DISCLOSING
        and note.command.verb not in PROBES
    )


def would_be_probe(note: Note) -> bool:
    """True for a command that is no deed yet, and would be refused if nothing were in shadow."""
    if not isinstance(note, Judged) or note.verdict.would is None or not is_shadow_only(note):
        return False
    return note.verdict.would.action not in (Action.FORWARD, Action.STARTTLS)  # it would only be delayed


def deed_of(note: Note, kind: Kind, address: str, when: float, session: str) -> Deed:
    """Return the deed; `kind` is of `kind_of`."""
    if isinstance(note, Judged):
        verb = named(note.command.verb)
        verdict = note.verdict
        if is_forwarded(note):
            came = FORWARDED
        elif verdict.reply is not None:
            came = str(verdict.reply.code)
        else:
            came = CLOSED
        return Deed(kind, address, when, session, verb, as_shown(note.command.line), came, verdict.rule)
    if isinstance(note, Refused):
        shown = as_shown(note.octets) or printable(note.what.encode())
        return Deed(kind, address, when, session, "", shown, CLOSED if note.closed else "500")
    if isinstance(note, RecipientRefused):
        return Deed(kind, address, when, session, "RCPT", printable(note.recipient), str(note.code))
    if isinstance(note, Authenticated):
        return Deed(kind, address, when, session, "AUTH", note.mechanism, "535")
    if isinstance(note, TooSlow):
        return Deed(kind, address, when, session, "", f"{note.octets} octets in {note.seconds:g} s", CLOSED)
    return Deed(kind, address, when, session)


class Telling:
    """What is to be told with the next report."""

    def __init__(self) -> None:
        self._deeds: list[Deed] = []
        self._seen: dict[tuple[Kind, str], int] = {}
        self._more: dict[tuple[Kind, str], int] = {}
        self.lost = 0
        """Deeds that there was no room for."""

    def wants(self, kind: Kind, address: str) -> bool:
        """True if the next deed is to be told by `add`; otherwise by `more`."""
        key = kind, address
        seen = self._seen.get(key, 0)
        if seen >= SAMPLES or len(self._deeds) >= TOLD:
            return False
        self._seen[key] = seen + 1
        return True

    def wants_more(self, kind: Kind, address: str) -> bool:
        """True if `wants` would say so again."""
        return self._seen.get((kind, address), 0) < SAMPLES and len(self._deeds) < TOLD

    def add(self, deed: Deed) -> None:
        """Tell of one with what it said."""
        self._deeds.append(deed)

    def more(self, kind: Kind, address: str, times: int = 1) -> None:
        """Tell that there were more."""
        key = kind, address
        before = self._more.get(key)
        if before is not None:
            self._more[key] = before + times
        elif len(self._more) < TOLD:
            self._more[key] = times
        else:
            self.lost += times

    def take_of(self, keys: Collection[str], prefixes: tuple[int, int], now: float) -> list[Deed]:
        """Return what there is of clients with these keys (smtpguard.ledger.measures), and leave the rest."""

        def is_theirs(address: str) -> bool:
            return address in keys or prefix_of(address, *prefixes) in keys

        theirs = [deed for deed in self._deeds if is_theirs(deed.address)]
        if theirs:
            self._deeds = [deed for deed in self._deeds if not is_theirs(deed.address)]
        for kind, address in [key for key in self._more if is_theirs(key[1])]:
            theirs.append(Deed(kind, address, now, times=self._more.pop((kind, address))))
        return theirs

    def take(self, now: float) -> list[Deed]:
        """Return what there is, and begin anew."""
        deeds = self._deeds + [Deed(kind, address, now, times=times) for (kind, address), times in self._more.items()]
        self._deeds = []
        self._seen.clear()
        self._more.clear()
        return deeds
