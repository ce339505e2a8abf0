"""A client whose backend fails is served by the next one, and sees one banner."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.rig.client import Talk
from tests.rig.wait import wait_until

from .support import DENIED, QUICK, Scripted, free_address, guard_for, wait_asked, wait_log, wait_quiet

SLOW = {**QUICK, "interval": 600, "fall": 100}
"""Nothing is checked, and nobody is down by what is soft: each client finds out for itself."""


def _greeted_by(port: int) -> str:
    with Talk("127.0.0.1", port) as client:
        name = client.banner.split()[1]
        assert client.say("EHLO me.test").startswith(f"250 2.0.0 {name}")
        assert client.say("QUIT").startswith("221 ")
        assert client.closed()
        return name


def test_who_cannot_be_connected_to_is_left_for_the_next_one_at_once(tmp_path: Path) -> None:
    """Within one session; and the log says it once."""
    with Scripted("second") as second, guard_for(tmp_path, [free_address(), second.address]) as guard:
        began = time.monotonic()
        assert [_greeted_by(guard.port) for _ in range(5)] == ["second"] * 5
        assert time.monotonic() - began < 2
        wait_log(guard, "is down: cannot connect: ")
        assert sum("is down" in line for line in guard.lines()) == 1


@pytest.mark.parametrize(
    "banner",
    [b"", b"421 4.3.2 too busy\r\n", b"450-4.3.2 later\r\n450 4.3.2 please\r\n", b"hello\r\n", b"250 ok\r\n"],
    ids=["closes", "421", "450", "no reply", "250"],
)
def test_who_does_not_greet_is_left_for_the_next_one(tmp_path: Path, banner: bytes) -> None:
    """Nothing of it reaches the client, and nothing of the client's reaches it."""
    with (
        Scripted("first", banner) as first,
        Scripted("second") as second,
        guard_for(tmp_path, [first.address, second.address], health=SLOW) as guard,
    ):
        assert [_greeted_by(guard.port) for _ in range(3)] == ["second"] * 3
        assert all(said in ([], ["QUIT"]) for said in first.sessions())
        assert second.clients() == [["EHLO", "QUIT"]] * 3


def test_a_refusal_of_the_last_one_is_passed_on_as_it_is(tmp_path: Path) -> None:
    """As if there were one only."""
    with (
        Scripted("first", b"421 4.3.2 first\r\n") as first,
        Scripted("second", b"450-4.3.2 second\r\n450 4.3.2 really\r\n") as second,
        guard_for(tmp_path, [first.address, second.address], health=SLOW) as guard,
        Talk("127.0.0.1", guard.port) as client,
    ):
        assert client.banner == "450-4.3.2 second\n450 4.3.2 really"
        assert client.say("MAIL FROM:<>").startswith("503 5.5.1 ")
        assert client.say("QUIT").startswith("221 ")


def test_a_refusal_for_good_is_no_reason_to_go_on(tmp_path: Path) -> None:
    """It is about this client, and the next server would say the same."""
    with (
        Scripted("first", b"554 5.7.1 we do not want you\r\n") as first,
        Scripted("second") as second,
        guard_for(tmp_path, [first.address, second.address], health=SLOW) as guard,
        Talk("127.0.0.1", guard.port) as client,
    ):
        assert client.banner == "554 5.7.1 we do not want you"
        assert second.clients() == []


def test_who_keeps_silent_is_left_after_the_time_that_health_says(tmp_path: Path) -> None:
    """And is then down, so that the next client need not wait."""
    with (
        Scripted("first") as first,
        Scripted("second") as second,
        guard_for(tmp_path, [first.address, second.address], health={**QUICK, "interval": 600}) as guard,
    ):
        wait_quiet(first, second)
        first.silent = True
        began = time.monotonic()
        assert _greeted_by(guard.port) == "second"
        assert 1.0 <= time.monotonic() - began < 10.0  # and not the time for a banner
        wait_log(guard, "is down: no banner within 1 second")
        took = []
        for _ in range(3):
            began = time.monotonic()
            assert _greeted_by(guard.port) == "second"
            took.append(time.monotonic() - began)
        assert min(took) < 0.9, took  # the others may have shared the machine


def test_who_keeps_silent_is_left_after_the_time_for_a_banner_if_that_is_shorter(tmp_path: Path) -> None:
    """Each of them, by one client; and for the last that time begins anew, and then it is a 421."""
    health = {"interval": 600, "timeout": 30, "rise": 1, "fall": 1}
    with Scripted("first") as first, Scripted("second") as second, Scripted("third") as third:
        backends = [first.address, second.address, third.address]
        with guard_for(tmp_path, backends, {"timeouts": {"banner": 2}}, health=health) as guard:
            wait_quiet(first, second, third)
            first.silent = second.silent = True
            began = time.monotonic()
            assert _greeted_by(guard.port) == "third"
            assert 4.0 <= time.monotonic() - began < 7.0
            wait_log(guard, "is down: no banner within 2 seconds", 2)
            third.silent = True
            began = time.monotonic()
            with Talk("127.0.0.1", guard.port, greet=False) as client:
                assert client.reply().startswith(b"421 4.4.2 ")
            assert 2.0 <= time.monotonic() - began < 3.8


def test_the_last_one_may_take_its_time_to_greet(tmp_path: Path) -> None:
    """Better late than never: `health.timeout` is for who has another one."""
    with (
        Scripted("first", b"") as first,
        Scripted("second") as second,
        guard_for(tmp_path, [first.address, second.address], {"timeouts": {"banner": 4}}, health=SLOW) as guard,
        Talk("127.0.0.1", guard.port, greet=False) as client,
    ):
        second.silent = True
        with Talk("127.0.0.1", guard.port, greet=False) as client:
            assert client.quiet(2.5)
            assert client.reply().startswith(b"421 4.4.2 ")


def test_what_a_client_sends_early_reaches_the_one_that_greets(tmp_path: Path) -> None:
    """It is held meanwhile, and not shown to the others."""
    with (
        Scripted("first", b"421 4.3.2 no\r\n") as first,
        Scripted("second", rcpt=b"250 2.1.5 ok\r\n") as second,
        guard_for(tmp_path, [first.address, second.address], health=SLOW) as guard,
        Talk("127.0.0.1", guard.port, greet=False) as client,
    ):
        client.send(b"EHLO me.test\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nQUIT\r\n")
        codes = [client.reply()[:3] for _ in range(5)]
        assert codes == [b"220", b"250", b"250", b"250", b"221"]
        assert second.clients() == [["EHLO", "MAIL", "RCPT", "QUIT"]]
        assert first.clients() == []


def test_a_client_that_leaves_while_it_waits_leaves_nothing_behind(tmp_path: Path) -> None:
    """The connection that was being tried is closed, and no other is made."""
    with (
        Scripted("first") as first,
        Scripted("second") as second,
        guard_for(tmp_path, [first.address, second.address], health={**SLOW, "timeout": 60}) as guard,
    ):
        wait_quiet(first, second)
        first.silent, before = True, len(first.connects)
        with Talk("127.0.0.1", guard.port, greet=False) as client:
            wait_until(lambda: len(first.connects) > before, "the first to be tried", 10)
            client.reset()  # one that only ends its own direction may still want to read the banner
        wait_until(lambda: not first.connected(), "the connection to end", 10)
        assert second.clients() == []
        first.silent = False
        assert _greeted_by(guard.port) == "first"


def test_when_all_are_down_clients_are_told_at_once(tmp_path: Path) -> None:
    """421 4.3.2, and nobody is connected to for it."""
    with (
        Scripted("first") as first,
        Scripted("second") as second,
        guard_for(tmp_path, [first.address, second.address]) as guard,
    ):
        assert _greeted_by(guard.port) == "first"
        first.go_away()
        second.go_away()
        wait_log(guard, "no mail server may be used (2 down): clients get 421")
        took = []
        for _ in range(5):
            began = time.monotonic()
            with Talk("127.0.0.1", guard.port) as client:
                took.append(time.monotonic() - began)
                assert client.banner.startswith("421 4.3.2 ")
                assert client.closed()
        assert min(took) < 0.1, took  # the others may have shared the machine
        second.come_back()
        wait_log(guard, "is up again after ")
        assert _greeted_by(guard.port) == "second"


def test_order_prefers_the_first_and_returns_to_it(tmp_path: Path) -> None:
    """Once a check has found it up again."""
    with (
        Scripted("first") as first,
        Scripted("second") as second,
        guard_for(tmp_path, [first.address, second.address]) as guard,
    ):
        assert [_greeted_by(guard.port) for _ in range(4)] == ["first"] * 4
        first.go_away()
        assert [_greeted_by(guard.port) for _ in range(4)] == ["second"] * 4
        first.come_back()
        wait_log(guard, "is up again after ")
        assert [_greeted_by(guard.port) for _ in range(4)] == ["first"] * 4


def test_round_robin_spreads_evenly_over_those_that_are_up(tmp_path: Path) -> None:
    """With one of three down, each of the others has half."""
    with Scripted("a") as a, Scripted("b") as b, Scripted("c") as c:
        backends = [one.address for one in (a, b, c)]
        with guard_for(tmp_path, backends, balance="round-robin") as guard:
            assert sorted(_greeted_by(guard.port) for _ in range(9)) == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
            b.go_away()
            wait_log(guard, "is down: ")
            assert sorted(_greeted_by(guard.port) for _ in range(8)) == ["a"] * 4 + ["c"] * 4


def test_one_that_relays_is_not_used_and_the_other_serves(tmp_path: Path) -> None:
    """The relay check holds for each by itself; nobody is turned away for it."""
    with (
        Scripted("first", rcpt=b"250 2.1.5 ok\r\n") as first,
        Scripted("second", rcpt=DENIED) as second,
        guard_for(tmp_path, [first.address, second.address], {"relay_check": "enforce"}) as guard,
    ):
        wait_asked(guard)
        assert any("would relay mail from" in line for line in guard.lines())
        assert [_greeted_by(guard.port) for _ in range(3)] == ["second"] * 3
        assert first.clients() == []


def test_one_that_comes_back_as_a_relay_is_not_used(tmp_path: Path) -> None:
    """Being up is not enough: it is asked again before it gets a client."""
    with (
        Scripted("first") as first,
        Scripted("second") as second,
        guard_for(tmp_path, [first.address, second.address], {"relay_check": "enforce"}) as guard,
    ):
        wait_asked(guard)
        assert _greeted_by(guard.port) == "first"
        first.go_away()
        assert _greeted_by(guard.port) == "second"
        first.rcpt = b"250 2.1.5 ok\r\n"
        first.come_back()
        wait_log(guard, "would relay mail from")
        assert [_greeted_by(guard.port) for _ in range(3)] == ["second"] * 3
        assert len(first.clients()) == 1
        first.rcpt = DENIED
        wait_log(guard, "is up again after ")
        assert _greeted_by(guard.port) == "first"


def test_sessions_at_one_that_becomes_a_relay_end_and_those_at_others_go_on(tmp_path: Path) -> None:
    """It is found when a connection to it breaks: then it is asked again."""
    with (
        Scripted("first") as first,
        Scripted("second") as second,
        guard_for(
            tmp_path,
            [first.address, second.address],
            {"relay_check": "enforce", "relay_check_interval": 1},
            balance="round-robin",
        ) as guard,
        ExitStack() as clients,
    ):
        wait_asked(guard)
        one, other = (clients.enter_context(Talk("127.0.0.1", guard.port)) for _ in range(2))
        at_first, at_second = (one, other) if "first" in one.banner else (other, one)
        first.rcpt = b"250 2.1.5 ok\r\n"
        assert at_first.reply().startswith(b"421 4.3.2 ")
        assert at_second.say("NOOP").startswith("250 2.0.0 second")
        assert at_second.say("QUIT").startswith("221 ")
