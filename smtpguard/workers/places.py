"""Places for clients that several processes take, in memory that they share.

Contract: smtpguard.sessions.places.Places.  Each worker has a region that it alone writes and all read; who
dies is wiped out by the supervisor.  `limits` hold exactly: a worker counts a client before it looks
whether there was room, so of two that do that at the same time at least one sees the other; both may,
and then both turn a client away, for the last place.  No lock, so that no worker that dies or is stopped
makes another one wait; no system call.

A region is a table of addresses, open for collisions, at most half full.  Addresses whose search begins
at the same slot are found within the `reach` that this slot notes, so that an entry can be given up
without moving others or leaving a mark.
"""

from __future__ import annotations

import mmap
import threading
from typing import Final

from ..policy.networks import Peer

_WORD: Final = 8
"""Octets: what the processors that we run on store at once, if it begins at a multiple of that."""
_LOW: Final = (1 << 64) - 1
_MAPPED: Final = 0xFFFF << 32  # RFC 4291 2.5.5.2: no IPv6 peer has such an address (Peer.parse)

# A region, in words: connections, places, the reach of each slot, then the slots.
_CONNECTIONS: Final = 0
_TAKEN: Final = 1
_REACHES: Final = 2
# A slot.
_HIGH: Final = 0
_LOW_HALF: Final = 1
_COUNT: Final = 2
_SLOT: Final = 3


def slots_for(places: int) -> int:
    """Return how many slots hold that many addresses, and one more that is looked at, without crowding."""
    return 1 << (2 * (places + 1) - 1).bit_length()


def region_words(places: int) -> int:
    """Return how long a region is."""
    return _REACHES + (1 + _SLOT) * slots_for(places)


class Board:
    """The memory, one region a worker; made before the workers are."""

    def __init__(self, workers: int, places: int) -> None:
        """`workers` may there be at once; `places` is how many clients, all together."""
        self.workers: Final = workers
        self.places: Final = places
        self._free = list(range(workers))
        self._length = region_words(places)
        self._words = memoryview(mmap.mmap(-1, workers * self._length * _WORD)).cast("Q")

    @property
    def free(self) -> int:
        """How many regions nobody has."""
        return len(self._free)

    def allot(self) -> int:
        """Return the number of a region that nobody has, and that is blank; raises IndexError if there is none."""
        return self._free.pop(0)

    def take_back(self, worker: int) -> None:
        """Give back a region, and everything that is in it; whoever had it must be dead."""
        self.wipe(worker)
        self._free.append(worker)

    def seen_by(self, worker: int) -> SharedPlaces:
        """Return the places as the worker of that number, from 0, takes them; its region must be blank."""
        return SharedPlaces(self._words, worker, self.workers, self.places)

    def wipe(self, worker: int) -> None:
        """Give back everything that a worker had; it must be dead."""
        self.region(worker)[:] = memoryview(bytes(self._length * _WORD)).cast("Q")

    def region(self, worker: int) -> memoryview:
        """Return what a worker has written, in words."""
        return self._words[worker * self._length : (worker + 1) * self._length]

    def taken(self) -> int:
        """Return how many places are taken."""
        return sum(self._words[worker * self._length + _TAKEN] for worker in range(self.workers))


class SharedPlaces:
    """The places as one worker sees them."""

    def __init__(self, words: memoryview, worker: int, workers: int, places: int) -> None:
        length = region_words(places)
        self._words = words
        self._mask = slots_for(places) - 1
        self._base = worker * length
        self._others = [number * length for number in range(workers) if number != worker]
        self._connections = 0
        self._taken = 0
        self._entries: dict[int, list[int]] = {}
        """Of each of our addresses: how many, the word in which that stands, and where the search for it begins."""
        self._with_home: dict[int, int] = {}
        """How many of our addresses begin their search at a slot."""
        self._order = threading.Lock()
        self._order.acquire()

    # -- all together --------------------------------------------------------------------------------

    def came(self) -> None:
        self._connections += 1
        self._words[self._base + _CONNECTIONS] = self._connections

    def went(self) -> None:
        self._connections -= 1
        self._words[self._base + _CONNECTIONS] = self._connections

    def connections(self) -> int:
        self._publish()
        words, count = self._words, self._connections
        for base in self._others:
            count += words[base + _CONNECTIONS]
        return count

    def taken(self) -> int:
        words, count = self._words, self._taken
        for base in self._others:
            count += words[base + _TAKEN]
        return count

    # -- by address ----------------------------------------------------------------------------------

    def take(self, peer: Peer) -> None:
        words = self._words
        self._taken += 1
        words[self._base + _TAKEN] = self._taken
        if peer.family:
            address = peer.value if peer.family == 6 else _MAPPED | peer.value
            entry = self._entries.get(address)
            if entry is None:
                self._enter(address)
            else:
                entry[0] += 1
                words[entry[1]] = entry[0]
        self._publish()

    def give_back(self, peer: Peer) -> None:
        words = self._words
        self._taken -= 1
        words[self._base + _TAKEN] = self._taken
        if peer.family:
            address = peer.value if peer.family == 6 else _MAPPED | peer.value
            entry = self._entries[address]
            entry[0] -= 1
            words[entry[1]] = entry[0]
            if not entry[0]:
                self._leave(address)

    def taken_by(self, peer: Peer) -> int:
        if not peer.family:
            return 0
        words = self._words
        address = peer.value if peer.family == 6 else _MAPPED | peer.value
        entry = self._entries.get(address)
        if entry is None:
            count, home = 0, self._home(address)
        else:
            count, _, home = entry
        high, low = address >> 64, address & _LOW
        for base in self._others:
            for step in range(words[base + _REACHES + home]):
                at = self._slot(base, home + step)
                if words[at + _LOW_HALF] == low and words[at + _HIGH] == high and words[at + _COUNT]:
                    count += words[at + _COUNT]
                    break
        return count

    def _enter(self, address: int) -> None:
        words, base = self._words, self._base
        home = self._home(address)
        reach = 1
        while words[(at := self._slot(base, home + reach - 1)) + _COUNT]:
            reach += 1  # ends, as at most half of the slots are taken
        words[at + _HIGH] = address >> 64
        words[at + _LOW_HALF] = address & _LOW
        if words[base + _REACHES + home] < reach:
            words[base + _REACHES + home] = reach
        words[at + _COUNT] = 1  # last: what has no count is not looked at
        self._entries[address] = [1, at + _COUNT, home]
        self._with_home[home] = self._with_home.get(home, 0) + 1

    def _leave(self, address: int) -> None:
        home = self._entries.pop(address)[2]
        left = self._with_home[home] - 1
        if left:
            self._with_home[home] = left
        else:
            del self._with_home[home]
            self._words[self._base + _REACHES + home] = 0

    def _home(self, address: int) -> int:
        """Return the slot where the search for an address begins."""
        # Of octets, as their hash is keyed: else who has many IPv6 addresses could take some that collide.  All workers
        # have the key of the process that they are copies of.
        return hash(address.to_bytes(16, "big")) & self._mask

    def _slot(self, base: int, number: int) -> int:
        return base + _REACHES + self._mask + 1 + (number & self._mask) * _SLOT

    def _publish(self) -> None:
        """Let others see what was written before anything is read; a processor may put that off.

        To let go of a lock and take it again is the one thing in Python that a processor takes for such an order.
        """
        self._order.release()
        self._order.acquire()
