"""The parts of a supervisor: what is written once, when the dead are replaced, what is said and how many there are."""

from __future__ import annotations

import os
import signal
import syslog
from pathlib import Path

import pytest

from smtpguard.config import settings
from smtpguard.config.faults import Faulty
from smtpguard.config.fields import MOST_WORKERS
from smtpguard.workers import channel
from smtpguard.workers.channel import LONGEST, WAITING, Done, Order, Outgoing, Said, Shut, Told
from smtpguard.workers.processes import how_it_ended
from smtpguard.workers.restarts import LIVED_SECONDS, PAUSES, Restarts
from smtpguard.workers.sayings import REMEMBERED, SAME_SECONDS, Sayings

# -- what is written once --------------------------------------------------------------------------


def test_what_all_workers_find_out_is_written_once() -> None:
    sayings = Sayings()
    assert [sayings.is_new(worker, "the backend is away", worker) for worker in range(4)] == [True, False, False, False]


def test_what_one_worker_says_again_is_written_again() -> None:
    """It has happened twice, to it and to all."""
    sayings = Sayings()
    heard = [sayings.is_new(worker, "away", now) for now, worker in enumerate((0, 1, 0, 1))]
    assert heard == [True, False, True, False]


def test_what_is_said_much_later_is_another_event() -> None:
    sayings = Sayings()
    assert sayings.is_new(0, "away", 100.0)
    assert sayings.is_new(1, "away", 100.0 + SAME_SECONDS + 1)


def test_what_is_remembered_is_bounded() -> None:
    """The oldest goes first."""
    sayings = Sayings()
    for number in range(REMEMBERED + 1):
        assert sayings.is_new(0, f"line {number}", 0.0)
    assert sayings.is_new(1, "line 0", 0.0)
    assert not sayings.is_new(1, f"line {REMEMBERED}", 0.0)


# -- restarts --------------------------------------------------------------------------------------


def test_a_worker_that_goes_on_dying_waits_longer_and_longer() -> None:
    restarts = Restarts()
    assert [restarts.pause_after(0.1) for _ in range(len(PAUSES) + 2)] == [*PAUSES, PAUSES[-1], PAUSES[-1]]


def test_one_that_has_lived_is_replaced_at_once() -> None:
    restarts = Restarts()
    for _ in range(3):
        restarts.pause_after(0.1)
    assert restarts.pause_after(LIVED_SECONDS) == 0
    assert restarts.pause_after(0.1) == PAUSES[1]


def test_how_a_process_ended_is_told_in_words() -> None:
    assert how_it_ended(3 << 8) == "ended with status 3"
    assert how_it_ended(signal.SIGSEGV) == "was killed by SIGSEGV"
    assert how_it_ended(signal.SIGRTMIN + 3) == f"was killed by signal {signal.SIGRTMIN + 3}"


# -- the channel -----------------------------------------------------------------------------------


def test_orders_and_reports_arrive_whole_and_in_order() -> None:
    """Any text that a log line may have, names of files that are no UTF-8 included."""
    ours, theirs = channel.pair()
    with ours, theirs:
        odd = Said(syslog.LOG_ERR, f"certificate {os.fsdecode(bytes([0xE9]))}é 5 of 6:\n missing")
        fields = {"client": "192.0.2.7", "deeds": {"probes": 3}, "until": None, "banned": True}
        limit = Said(syslog.LOG_NOTICE, "limit a: 192.0.2.7: 3 probes", "limit", fields)
        told = (*Done, odd, limit, Shut("the mail server is away é"), Shut(""))
        for report in told:
            assert channel.report(theirs, report)
        assert list(channel.reports(ours)) == list(told)
        for what in Order:
            channel.order(ours, what)
        assert list(channel.orders(theirs)) == list(Order)
        assert list(channel.orders(theirs)) == []


def test_the_end_of_the_other_is_read_even_if_it_died_with_something_unread() -> None:
    ours, theirs = channel.pair()
    with ours:
        channel.order(ours, Order.PING)
        channel.report(theirs, Said(syslog.LOG_INFO, "last words"))
        theirs.close()
        heard = list(channel.reports(ours))
        assert heard[-1] is None
        channel.order(ours, Order.DRAIN)


def test_what_has_no_room_is_not_waited_for() -> None:
    """The worker then writes the line itself."""
    ours, theirs = channel.pair()
    with ours, theirs:
        assert not channel.report(theirs, Said(syslog.LOG_INFO, "x" * LONGEST))
        told = 0
        while channel.report(theirs, Said(syslog.LOG_INFO, "x" * 1000)):
            told += 1
        assert len(list(channel.reports(ours))) == told
        assert channel.report(theirs, Done.READY)


def test_what_must_arrive_waits_for_room_and_keeps_its_order() -> None:
    """All bans that there may be, and an order behind them, to one who reads only now."""
    ours, theirs = channel.pair()
    with ours, theirs:
        outgoing = Outgoing()
        told = [b"[%06d]" % number + b" " * 20_000 for number in range(60)]
        assert all(outgoing.send(ours, octets) for octets in told)
        assert outgoing.send(ours, Order.SERVE.value, must=True)
        assert outgoing.waits
        heard: list[object] = []
        while outgoing.waits:
            heard += channel.orders(theirs)
            outgoing.flush(ours)
        heard += channel.orders(theirs)
        assert heard == [*map(Told, told), Order.SERVE]


def test_what_waits_is_bounded_and_an_order_waits_all_the_same() -> None:
    """Nobody reads; and what waits for who has died is gone at once."""
    ours, theirs = channel.pair()
    with ours:
        outgoing = Outgoing()
        octets = b"[" + b" " * (LONGEST - 1)
        sent = 0
        while outgoing.send(ours, octets):
            sent += 1
        assert WAITING - LONGEST <= sent * LONGEST <= WAITING + (1 << 20)
        assert not outgoing.send(ours, octets + b" ")
        assert outgoing.send(ours, Order.DRAIN.value, must=True)
        theirs.close()
        outgoing.flush(ours)
        assert not outgoing.waits


# -- how many --------------------------------------------------------------------------------------

FILE = "listen: tcp:25\nbackend: tcp:127.0.0.1:2525\nworkers: {}\n"


@pytest.mark.parametrize("number", ["1", "2", str(MOST_WORKERS), "auto"])
def test_a_number_of_workers_is_a_number_or_auto(tmp_path: Path, number: str) -> None:
    path = tmp_path / "smtpguard.yaml"
    path.write_text(FILE.format(number))
    assert str(settings.load(path, {}).settings.workers) == number


@pytest.mark.parametrize("number", ["0", "-1", str(MOST_WORKERS + 1), "many", "1.5", "true", "'2'", "[2]"])
def test_any_other_number_is_a_fault_with_its_place(tmp_path: Path, number: str) -> None:
    path = tmp_path / "smtpguard.yaml"
    path.write_text(FILE.format(number))
    with pytest.raises(Faulty) as caught:
        settings.load(path, {})
    (fault,) = caught.value.faults
    assert str(fault).startswith(f"{path}:3:")
    assert f"workers: must be a number from 1 to {MOST_WORKERS}, or auto" in str(fault)
