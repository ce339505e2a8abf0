"""Places that workers share: counted right whatever they do, whoever dies, and never given twice."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from smtpguard.policy.networks import UNIX_PEER, Peer
from smtpguard.sessions.places import OwnPlaces, Places
from smtpguard.workers.places import Board, slots_for
from tests.rig.guard import ROOT

WORKERS = 3
LIMIT = 5
"""Few slots, so that addresses collide."""
PEERS = [*map(Peer.parse, ("192.0.2.1", "192.0.2.2", "::c000:201", "2001:db8::1", "2001:db8:0:1::", "::1"))]
MORE_PEERS = [Peer.parse(f"203.0.113.{number}") for number in range(40)]

steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "give back", "came", "went", "die"]),
        st.integers(0, WORKERS - 1),
        st.sampled_from([*PEERS, *MORE_PEERS, UNIX_PEER]),
    ),
    max_size=80,
)


@given(steps)
def test_every_worker_counts_what_all_have(history: list[tuple[str, int, Peer]]) -> None:
    """Against a counter of what each has; a worker that dies has nothing, and the next one begins there."""
    board = Board(WORKERS, LIMIT)
    workers: list[Places] = [board.seen_by(number) for number in range(WORKERS)]
    places: list[Counter[Peer]] = [Counter() for _ in range(WORKERS)]
    connections = [0] * WORKERS
    for what, number, peer in history:
        held, worker = places[number], workers[number]
        if what == "take" and held.total() <= LIMIT:
            worker.take(peer)
            held[peer] += 1
        elif what == "give back" and held[peer]:
            worker.give_back(peer)
            held[peer] -= 1
        elif what == "came":
            worker.came()
            connections[number] += 1
        elif what == "went" and connections[number]:
            worker.went()
            connections[number] -= 1
        elif what == "die":
            board.wipe(number)
            workers[number] = board.seen_by(number)
            places[number], connections[number] = Counter(), 0
        all_places = sum(places, Counter())
        assert board.taken() == all_places.total()
        for one in workers:
            assert one.taken() == all_places.total()
            assert one.connections() == sum(connections)
            for other in (*PEERS, peer):
                assert one.taken_by(other) == (all_places[other] if other.family else 0)


@given(steps)
def test_one_process_counts_the_same(history: list[tuple[str, int, Peer]]) -> None:
    """What a service without workers has instead."""
    alone, held = OwnPlaces(), Counter[Peer]()
    for what, _, peer in history:
        if what == "take":
            alone.take(peer)
            held[peer] += 1
        elif what == "give back" and held[peer]:
            alone.give_back(peer)
            held[peer] -= 1
        assert alone.taken() == held.total()
        assert alone.taken_by(peer) == (held[peer] if peer.family else 0)


RACE = """
import mmap, os, sys, time
from smtpguard.policy.networks import Peer
from smtpguard.workers.places import Board

board, inside, peer = Board(2, 4), mmap.mmap(-1, 64), Peer.parse("192.0.2.1")
parent = os.getpid()
child = os.fork()
me = 0 if child else 1
places = board.seen_by(me)
end = time.monotonic() + float(sys.argv[1])
had = both = 0
while time.monotonic() < end:
    for _ in range(1000):
        places.take(peer)
        if places.taken() <= 1 and places.taken_by(peer) <= 1:
            had += 1
            inside[me] = 1
            both += inside[1 - me]
            inside[me] = 0
        places.give_back(peer)
if not child:
    os._exit(3 if both else 0 if had else 4)
_, status = os.waitpid(child, 0)
sys.exit(3 if both else os.waitstatus_to_exitcode(status) if had else 4)
"""


def test_the_last_place_is_never_given_twice() -> None:
    """Two processes that do nothing but ask for it; each gets it at times, and never both at once."""
    done = subprocess.run([sys.executable, "-c", RACE, "1.0"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_address_is_looked_for_where_it_may_be_and_no_further() -> None:
    """Many come and go, and the search for one that is not there costs no more afterwards than before."""
    board = Board(2, 64)
    busy, looking = board.seen_by(0), board.seen_by(1)
    for number in range(5000):
        peer = Peer.parse(f"2001:db8::{number:x}")
        busy.take(peer)
        assert looking.taken_by(peer) == 1
        busy.give_back(peer)
        assert looking.taken_by(peer) == 0
    assert board.taken() == 0
    assert not any(board.region(0)[2 : 2 + slots_for(64)]), "how far to look, from each slot"


def test_a_region_is_given_to_one_at_a_time_and_is_blank() -> None:
    """The dead leave nothing to whoever gets theirs."""
    board = Board(2, LIMIT)
    first, second = board.allot(), board.allot()
    assert {first, second} == {0, 1}
    assert board.free == 0
    board.seen_by(first).take(PEERS[0])
    assert board.taken() == 1
    board.take_back(first)
    assert (board.free, board.taken()) == (1, 0)
    assert board.allot() == first
    assert board.seen_by(second).taken_by(PEERS[0]) == 0
