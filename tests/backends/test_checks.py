"""How backends are checked: seldom, quietly, and for longer and longer not at all."""

from __future__ import annotations

import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from statistics import mean

import pytest

from tests.rig.client import Talk
from tests.rig.sendmail import RealSendmail
from tests.rig.wait import wait_until
from tests.sendmail.support import mail

from .support import PROBE, QUICK, Scripted, free_address, guard_for, wait_log


def _visit(port: int) -> None:
    with Talk("127.0.0.1", port) as client:
        client.say("EHLO me.test")
        client.say("QUIT")


def test_one_that_nobody_uses_is_checked_once_an_interval(tmp_path: Path) -> None:
    """The second in order gets no client, and yet it is known whether it is up."""
    with (
        Scripted("first") as first,
        Scripted("second") as second,
        guard_for(tmp_path, [first.address, second.address]) as guard,
    ):
        wait_until(lambda: second.probes() >= 5, "five checks", 20)
        apart = [after - before for before, after in pairwise(second.connects[1:])]
        assert mean(apart) > 0.4, apart  # one of them may have been seen late on a busy machine
        assert max(apart) < 5, apart
        assert all(said in (PROBE, PROBE[:2], PROBE[:1], []) for said in second.sessions())
        second.banner = b"421 4.3.2 no\r\n"
        wait_log(guard, "is down: banner: 421 4.3.2 no")


def test_one_that_is_in_use_is_not_checked(tmp_path: Path) -> None:
    """Its clients' sessions tell enough."""
    with (
        Scripted("first") as first,
        Scripted("second") as second,
        guard_for(tmp_path, [first.address, second.address], health={**QUICK, "interval": 1}) as guard,
    ):
        wait_until(lambda: second.probes() >= 1, "the first checks", 20)
        before = first.probes()
        while second.probes() < 4:
            _visit(guard.port)
        assert first.probes() == before
        assert len(first.clients()) > 10


def test_one_that_is_down_is_left_alone_for_longer_and_longer(tmp_path: Path) -> None:
    """However many clients come meanwhile."""
    with (
        Scripted("first", b"") as first,
        Scripted("second") as second,
        guard_for(tmp_path, [first.address, second.address]) as guard,
    ):
        wait_log(guard, "is down: connection lost ")
        down = time.monotonic()
        while time.monotonic() < down + 8:
            _visit(guard.port)
        tries = [moment - down for moment in first.connects if moment > down]
        # After 1, 2 and 4 seconds, each a quarter less at most: at 1, 2.5 to 3, and 5.5 to 7; later on a busy machine.
        assert len(tries) in (2, 3), tries
        waits = [later - earlier for earlier, later in pairwise([0.0, *tries])]
        assert all(wait > least for wait, least in zip(waits, (0.7, 1.4, 2.9), strict=False)), waits
        assert len(second.clients()) > 50


def test_rise_and_fall_are_counted(tmp_path: Path) -> None:
    """Two refusals are no outage, and one greeting is no recovery."""
    health = {"interval": 0.5, "timeout": 1, "rise": 3, "fall": 3}
    with (
        Scripted("first", b"421 4.3.2 no\r\n") as first,
        Scripted("second") as second,
        guard_for(tmp_path, [first.address, second.address], health=health) as guard,
    ):
        wait_log(guard, "is down: banner: 421 4.3.2 no")
        assert len(first.connects) == 3
        first.banner = b"220 first ESMTP\r\n"
        wait_log(guard, "is up again after ")
        assert first.probes() in (3, 4)  # a busy machine may have had time for one more


def test_a_single_backend_is_not_checked(tmp_path: Path) -> None:
    """Nothing would follow from it."""
    with Scripted("one") as one, guard_for(tmp_path, [one.address]) as guard:
        _visit(guard.port)
        began = time.monotonic()
        while time.monotonic() < began + 2:
            _visit(guard.port)
        assert one.probes() == 0


def test_of_several_workers_one_checks(tmp_path: Path) -> None:
    """What is up is checked once an interval for the service, not for each process."""
    settings = {"workers": 2}
    with (
        Scripted("first") as first,
        Scripted("second") as second,
        guard_for(tmp_path, [first.address, second.address], settings, health={**QUICK, "interval": 1}),
    ):
        wait_until(lambda: second.probes() >= 4, "four checks", 30)
        apart = [after - before for before, after in pairwise(second.connects[1:])]
        assert mean(apart) > 0.75, apart  # of two that check, about half of the interval


@pytest.mark.parametrize("privacy", ["", "needmailhelo,needexpnhelo,needvrfyhelo", "goaway,authwarnings"])
def test_sendmail_does_not_log_that_it_is_checked(tmp_path: Path, privacy: str) -> None:
    """At its usual LogLevel there is no line for a check, while a bare QUIT has one; and mail leaves its own."""
    with (
        ExitStack() as stack,
        RealSendmail(log_level=9, privacy_options=privacy) as server,
        Scripted("second") as second,
    ):
        started = server.wait_log("starting daemon") and server.log()
        guard = stack.enter_context(
            guard_for(tmp_path, [(server.address, server.port), second.address], profile="sendmail")
        )
        wait_until(lambda: server.traffic().count("<<< QUIT") >= 4, "four checks", 20, server.log)
        assert server.traffic().count("<<< MAIL\r") >= 4
        assert server.log() == started
        with Talk(server.address, server.port) as client:
            client.say("QUIT")
        server.wait_log("did not issue MAIL/EXPN/VRFY/ETRN")
        mail(guard.port, b"Subject: x\r\n\r\nx\r\n")
        assert server.deliveries(1)
        assert "is down" not in "\n".join(guard.lines())


def test_other_servers_are_only_greeted_and_left(tmp_path: Path) -> None:
    """A MAIL without a sender would be a client's error to them."""
    with Scripted("second") as second:
        with guard_for(tmp_path, [free_address(), second.address], profile="postfix"):
            wait_until(lambda: second.sessions().count(["QUIT"]) >= 3, "three checks", 20)
        assert second.probes() == 0
