"""How many sessions there are at once of one customer's addresses.

Contract: as places.py counts addresses, but for prefixes, whose lengths the policy says and may change while clients
are there; nothing is counted under a policy that does not ask.  With places that several processes share
(smtpguard.workers.places) it counts over all of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..policy.limits import Prefixes
from ..policy.networks import Peer
from .places import OwnPlaces, Places


class PrefixPlaces:
    """The counts."""

    def __init__(self, places: Places | None = None) -> None:
        """`places` are for prefixes alone: the first address of one may be a client's."""
        self._places = places or OwnPlaces()
        self._prefixes: Prefixes | None = None

    def become(self, prefixes: Prefixes | None, here: Iterable[Peer]) -> None:
        """Count by these lengths from now on, or not at all; `here` are the clients that there are already."""
        if prefixes == self._prefixes:
            return
        clients = list(here)
        for peer in clients:
            self.give_back(peer)
        self._prefixes = prefixes
        for peer in clients:
            self.take(peer)

    def take(self, peer: Peer) -> None:
        """A client comes."""
        if self._prefixes is not None:
            self._places.take(_prefix(peer, self._prefixes))

    def give_back(self, peer: Peer) -> None:
        """A client that came is gone."""
        if self._prefixes is not None:
            self._places.give_back(_prefix(peer, self._prefixes))

    def taken_by(self, peer: Peer) -> int:
        """Return how many there are of the prefix that an address is in."""
        return 0 if self._prefixes is None else self._places.taken_by(_prefix(peer, self._prefixes))


def _prefix(peer: Peer, prefixes: Prefixes) -> Peer:
    bits, length = (32, prefixes.ipv4) if peer.family == 4 else (128, prefixes.ipv6)
    if not peer.family or length >= bits:
        return peer
    value = peer.value >> (bits - length) << (bits - length)
    return Peer(peer.family, value, f"{peer.family}:{value:x}")
