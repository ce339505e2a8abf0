"""What rules in shadow would have decided, counted as it happens in sessions.

Contract: an Observer (observing.py).  What was counted is told by the reporter (smtpguard.office).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..ledger.shadow_tally import ShadowTally
from ..policy.networks import Peer
from ..smtp.effects import Judged, Note

if TYPE_CHECKING:
    from .session import Session

NO_ADDRESS: Final = "no address"
"""The source of clients of which a PROXY header tells none."""


class ShadowWatch:
    """Of one process."""

    def __init__(self, tally: ShadowTally, now: Callable[[], float] = time.time) -> None:
        self._tally = tally
        self._now = now

    def began(self, session: Session, listener: str) -> None:
        """Nothing has been said yet."""

    def turned_away(self, peer: Peer, why: str) -> None:
        """Nothing was said."""

    def noted(self, session: Session, note: Note) -> None:
        if isinstance(note, Judged) and note.verdict.would is not None:
            journal = session.journal
            address = journal.peer.text if journal.peer.family else NO_ADDRESS
            self._tally.noted(note, address, journal.host, self._now())

    def ended(self, session: Session, counts: dict[bytes, list[int]], seconds: float) -> None:
        """It was noted when it was said."""
