"""Places for clients: how many are taken, and by whom.

Contract: who asks whether there is room has taken a place before, and gives it back if there was none;
so where several processes share the limits (smtpguard.workers.places), two that ask at the same time see
each other.  A peer without an address (a unix socket) is counted with all others, not by itself.
"""

from __future__ import annotations

from typing import Protocol

from ..policy.networks import Peer


class Places(Protocol):
    """What a reception knows of its service's clients."""

    def came(self) -> None:
        """A connection was made."""

    def went(self) -> None:
        """It is over."""

    def connections(self) -> int:
        """Return how many there are, with a place or without."""

    def take(self, peer: Peer) -> None:
        """Take a place for a client."""

    def give_back(self, peer: Peer) -> None:
        """Give back what was taken for it."""

    def taken(self) -> int:
        """Return how many places are taken."""

    def taken_by(self, peer: Peer) -> int:
        """Return how many of them by clients with this address."""


class OwnPlaces:
    """The places of a service that is one process."""

    def __init__(self) -> None:
        self._connections = 0
        self._taken = 0
        self._of: dict[str, int] = {}
        """By the text of the address, which has one form only, and whose hash is kept with it."""

    def came(self) -> None:
        self._connections += 1

    def went(self) -> None:
        self._connections -= 1

    def connections(self) -> int:
        return self._connections

    def take(self, peer: Peer) -> None:
        self._taken += 1
        if peer.family:
            self._of[peer.text] = self._of.get(peer.text, 0) + 1

    def give_back(self, peer: Peer) -> None:
        self._taken -= 1
        if not peer.family:
            return
        left = self._of[peer.text] - 1
        if left:
            self._of[peer.text] = left
        else:
            del self._of[peer.text]

    def taken(self) -> int:
        return self._taken

    def taken_by(self, peer: Peer) -> int:
        return self._of.get(peer.text, 0) if peer.family else 0
