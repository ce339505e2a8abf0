"""Counting what happens in sessions, for smtpguard.metrics.

Contract: an Observer.  Keys are made beforehand, so that a session costs a few additions; measured in tests/metrics.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..backends.blame import CANNOT_CONNECT
from ..metrics import catalogue
from ..metrics.catalogue import SESSION_SECONDS, word
from ..metrics.counts import Counts, key_of
from ..policy.networks import Peer
from ..smtp.effects import (
    Authenticated,
    BackendFault,
    Judged,
    Normalized,
    Note,
    OverBudget,
    RecipientRefused,
    Refused,
    TooSlow,
    Uninspected,
)
from ..smtp.grammar import Fault
from ..smtp.tally import UNKNOWN, named
from ..smtp.verbs import KNOWN_VERBS

if TYPE_CHECKING:
    from .session import Session

_VERBS: Final = {
    verb: (key_of(catalogue.PASSED, verb.decode("ascii")), key_of(catalogue.COMMANDS, verb.decode("ascii")))
    for verb in KNOWN_VERBS | {UNKNOWN}
}
_FAULTS: Final = {fault: key_of(catalogue.MALFORMED, word(fault.name)) for fault in Fault}
_OUT_OF_TURN: Final = key_of(catalogue.MALFORMED, "out_of_turn")
_BUCKETS: Final = tuple(key_of(catalogue.SECONDS, f"{bound:g}") for bound in (*SESSION_SECONDS, float("inf")))
"""Not cumulative; an exposition adds them up."""
_SECONDS: Final = key_of(catalogue.SECONDS, "sum")
_TLS: Final = key_of(catalogue.TLS_SESSIONS)
_ALONE: Final[dict[type, str]] = {
    Normalized: key_of(catalogue.NORMALIZED),
    OverBudget: key_of(catalogue.OVER_BUDGET),
    RecipientRefused: key_of(catalogue.RECIPIENTS),
    TooSlow: key_of(catalogue.SLOW),
    Uninspected: key_of(catalogue.UNINSPECTED),
}


class SessionMetrics:
    """An observer that counts."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._listeners: dict[str, str] = {}
        self._told: dict[type, Callable[[Any], None]] = {
            Judged: self._judged,
            Refused: self._refused,
            Authenticated: self._authenticated,
            BackendFault: self._backend_fault,
        }

    # smtpguard.sessions.observing.Observer

    def began(self, session: Session, listener: str) -> None:
        key = self._listeners.get(listener)
        if key is None:  # a settings file has a few
            key = self._listeners[listener] = key_of(catalogue.SESSIONS_BEGUN, listener)
        self._counts.add(key)

    def turned_away(self, peer: Peer, why: str) -> None:
        self._counts.count(catalogue.TURNED_AWAY, why)

    def noted(self, session: Session, note: Note) -> None:
        kind = type(note)
        tell = self._told.get(kind)
        if tell is not None:
            tell(note)
        elif kind in _ALONE:
            self._counts.add(_ALONE[kind])

    def ended(self, session: Session, counts: dict[bytes, list[int]], seconds: float) -> None:
        add = self._counts.add
        for verb, (passed, sent) in counts.items():
            passed_key, sent_key = _VERBS[verb]
            add(sent_key, sent)
            if passed:
                add(passed_key, passed)
        add(_BUCKETS[bisect_left(SESSION_SECONDS, seconds)])
        add(_SECONDS, seconds)
        if session.dialogue.encrypted:
            add(_TLS)

    # -- notes -------------------------------------------------------------------------------------

    def _judged(self, note: Judged) -> None:
        verdict = note.verdict
        self._counts.verdict(verdict.rule, verdict.action.value)
        if verdict.would is not None:
            self._counts.shadowed(verdict.would.rule, named(note.command.verb))

    def _refused(self, note: Refused) -> None:
        self._counts.add(_OUT_OF_TURN if note.fault is None else _FAULTS[note.fault])

    def _authenticated(self, note: Authenticated) -> None:
        self._counts.count(catalogue.AUTH, "accepted" if note.accepted else "failed")

    def _backend_fault(self, note: BackendFault) -> None:
        kind = "unreachable" if note.what.startswith(CANNOT_CONNECT) else "protocol"
        self._counts.count(catalogue.BACKEND_FAULTS, kind)
