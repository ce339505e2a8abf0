"""One incident: what one source did, over all its sessions and all processes that serve.

Contract: without I/O; the same deeds make the same incident in whatever order they are told, as long as no bound is
reached.  Every text in it is printable, and everything is bounded.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from .deeds import Deed, Kind
from .firsts import Firsts
from .measures import Hardness, Measure
from .suspicion import name_tried, verdict, weight, word

NAMES: Final = 50
"""Names tried that are kept, the first ones; of more, the number."""
ADDRESSES: Final = 16
"""Addresses of a prefix that are kept."""
EVIDENCE_A_KIND: Final = 6
"""Samples of each kind of deed, the first ones, so that many of one kind push out none of another."""
SHOWN: Final = 160
"""Characters of a sample; a longer one loses its end."""
NAME: Final = 80
"""Characters of a name."""
SESSIONS_TOLD_APART: Final = 128
"""Sessions of one source that may go on at once and are still counted once each."""
MEASURE: Final = "measure"
"""The kind of evidence that a limit was crossed."""
_KINDS: Final = (*(kind.value for kind in Kind), MEASURE)


@frozen(order=True)
class Evidence:
    """A sample of what was done."""

    when: float
    session: str
    shown: str
    verdict: str


class Incident:
    """What one source did."""

    def __init__(self, number: int, key: str, opened: float) -> None:
        self.id = number
        self.key = key
        self.opened = opened
        self.last = opened
        self.closed: float | None = None
        self.deeds: dict[str, int] = {}
        """How many, by Kind.value."""
        self.sessions = 0
        self.banned = False
        self.names = Firsts(NAMES)
        self.addresses = Firsts(ADDRESSES)
        self._tally: dict[str, int] = {}
        self._evidence: dict[str, list[Evidence]] = {}
        self._sessions: dict[str, None] = {}  # told apart; the one that was heard of last stands last

    @property
    def verdict(self) -> str:
        """What somebody who does this is called (smtpguard.ledger.suspicion)."""
        return verdict(self._tally)

    @property
    def count(self) -> int:
        """How many deeds there are."""
        return sum(self.deeds.values())

    def did(self, deed: Deed) -> None:
        """Note a deed."""
        times = max(1, deed.times)
        self._seen(deed.address, deed.when, times)
        self.deeds[deed.kind.value] = self.deeds.get(deed.kind.value, 0) + times
        self._tally[word(deed)] = self._tally.get(word(deed), 0) + weight(deed)
        if deed.session:
            self._met(deed.session)
        name = name_tried(deed)
        if name:
            self.names.add(_cut(name, NAME), deed.when, times)
        self._show(deed.kind.value, Evidence(deed.when, deed.session, _cut(deed.shown, SHOWN), deed.verdict))

    def measured(self, measure: Measure) -> None:
        """Note what follows for the source."""
        if "/" not in measure.key:
            self._seen(measure.key, measure.since, 1)
        else:
            self.last = max(self.last, measure.since)
        self.banned |= measure.hardness is Hardness.BAN
        text = f"limit {measure.limit}: {measure.count} counted"
        self._show(MEASURE, Evidence(measure.since, "", text, measure.hardness.value))

    def _seen(self, address: str, when: float, times: int) -> None:
        self.addresses.add(address, when, times)
        self.opened = min(self.opened, when)
        self.last = max(self.last, when)

    def _met(self, session: str) -> None:
        if session in self._sessions:
            del self._sessions[session]
        else:
            self.sessions += 1
            if len(self._sessions) >= SESSIONS_TOLD_APART:
                del self._sessions[next(iter(self._sessions))]
        self._sessions[session] = None

    def _show(self, kind: str, sample: Evidence) -> None:
        samples = self._evidence.setdefault(kind, [])
        if len(samples) < EVIDENCE_A_KIND or sample < samples[-1]:
            insort(samples, sample)
            del samples[EVIDENCE_A_KIND:]

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can carry: for the status, the file and the hook."""
        rows = [(one, kind) for kind, samples in self._evidence.items() for one in samples]
        return {
            "id": self.id,
            "key": self.key,
            "addresses": self.addresses.texts(),
            "addresses_more": self.addresses.more,
            "opened": self.opened,
            "last": self.last,
            "closed": self.closed,
            "verdict": self.verdict,
            "deeds": {kind: self.deeds[kind] for kind in _KINDS if kind in self.deeds},
            "sessions": self.sessions,
            "names": self.names.texts(),
            "names_more": self.names.more,
            "evidence": [
                {"when": one.when, "kind": kind, "session": one.session, "shown": one.shown, "verdict": one.verdict}
                for one, kind in sorted(rows)
            ],
            "banned": self.banned,
            "tally": dict(sorted(self._tally.items())),
        }

    @staticmethod
    def from_dict(kept: Mapping[str, Any]) -> Incident:
        """Read it back; raises ValueError, KeyError, TypeError or AttributeError on anything else."""
        made = Incident(int(kept["id"]), str(kept["key"]), float(kept["opened"]))
        made.last = float(kept["last"])
        made.closed = None if kept["closed"] is None else float(kept["closed"])
        made.deeds = {kind: int(kept["deeds"][kind]) for kind in _KINDS if kind in kept["deeds"]}
        made._tally = {str(one): int(number) for one, number in kept["tally"].items()}
        made.sessions = int(kept["sessions"])
        made.banned = bool(kept["banned"])
        made.names = Firsts(NAMES, map(str, kept["names"]), int(kept["names_more"]))
        made.addresses = Firsts(ADDRESSES, map(str, kept["addresses"]), int(kept["addresses_more"]))
        for one in kept["evidence"]:
            sample = Evidence(float(one["when"]), str(one["session"]), str(one["shown"]), str(one["verdict"]))
            if one["kind"] in _KINDS:
                made._show(one["kind"], sample)
        return made


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
