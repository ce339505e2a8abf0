"""A reload while there are several backends: what is known of them is kept, and the list may change."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.rig.client import Talk
from tests.rig.guard import Guard, client_endpoint
from tests.rig.wait import wait_until
from tests.sendmail.support import ConfiguredGuard

from .support import QUICK, Scripted, guard_for, wait_asked, wait_log, wait_quiet


def _reload(guard: Guard, count: int = 1) -> None:
    guard.signal(signal.SIGHUP)
    wait_until(lambda: sum("reloaded: policy" in line for line in guard.lines()) >= count, "the reload", 20)


@contextmanager
def _greeted_by_the_first(guard: ConfiguredGuard) -> Iterator[Talk]:
    """Talk to the first one, once both may be used."""
    wait_asked(guard)
    with Talk("127.0.0.1", guard.port) as client:
        assert client.banner.startswith("220 first")
        yield client


def test_what_is_down_stays_down_and_is_still_looked_at(tmp_path: Path) -> None:
    """A reload is no news of the servers: nobody is sent to one that is away, and it is back when it is back."""
    with (
        Scripted("first") as first,
        Scripted("second") as second,
        guard_for(tmp_path, [first.address, second.address], health={**QUICK, "interval": 600}) as guard,
    ):
        first.go_away()
        with Talk("127.0.0.1", guard.port) as client:
            assert client.banner.startswith("220 second")
            wait_log(guard, "is down: ")
            _reload(guard)
            assert client.say("NOOP") == "250 2.0.0 second"
        assert sum("is down: " in line for line in guard.lines()) == 1
        first.come_back()
        wait_log(guard, "is up again after ")
        with Talk("127.0.0.1", guard.port) as client:
            assert client.banner.startswith("220 first")


def test_the_list_may_change(tmp_path: Path) -> None:
    """Sessions stay where they are; who comes now goes where the settings say now."""
    with (
        Scripted("first") as first,
        Scripted("second") as second,
        Scripted("third") as third,
        guard_for(tmp_path, [first.address, second.address], {"relay_check": "enforce"}) as guard,
        _greeted_by_the_first(guard) as old,
    ):
        settings = tmp_path / "smtpguard.yaml"
        settings.write_text(
            settings.read_text().replace(client_endpoint(*first.address), client_endpoint(*third.address))
        )
        _reload(guard)
        wait_asked(guard, 4)  # once more each of those that the list has now
        with Talk("127.0.0.1", guard.port) as new:
            assert new.banner.startswith("220 third")
            assert old.say("NOOP") == "250 2.0.0 first"
        before = len(first.connects)
        third.go_away()
        with Talk("127.0.0.1", guard.port) as new:
            assert new.banner.startswith("220 second")
        assert len(first.connects) == before


def test_a_client_that_waits_for_a_banner_while_the_list_changes_gets_one(tmp_path: Path) -> None:
    """It goes on by the list of its beginning, and what is found of servers that are no more in it harms nobody."""
    with (
        Scripted("first") as first,
        Scripted("second") as second,
        Scripted("third") as third,
        guard_for(tmp_path, [first.address, second.address], health={**QUICK, "timeout": 3, "interval": 600}) as guard,
    ):
        wait_quiet(first, second)
        first.silent = True
        with Talk("127.0.0.1", guard.port, greet=False) as waiting:
            waiting.send(b"EHLO me.test\r\n")
            wait_until(lambda: first.connected(), "the first one to be tried")
            settings = tmp_path / "smtpguard.yaml"
            text = settings.read_text()
            for gone in (first, second):
                text = text.replace(client_endpoint(*gone.address), client_endpoint(*third.address), 1)
            settings.write_text(text.replace(f"- {client_endpoint(*third.address)}\n", "", 1))
            _reload(guard)
            with Talk("127.0.0.1", guard.port) as new:
                assert new.banner.startswith("220 third")
                assert waiting.reply().startswith(b"220 second")
                assert waiting.reply().startswith(b"250")
                assert waiting.say("NOOP") == "250 2.0.0 second"
                assert new.say("NOOP") == "250 2.0.0 third"
            waiting.say("QUIT")
            assert waiting.rest() == b""
        with Talk("127.0.0.1", guard.port) as client:
            assert client.banner.startswith("220 third")


def test_workers_fail_over_too(tmp_path: Path) -> None:
    """Each for itself; none sends a client to one that is away, and each finds it when it is back."""
    with (
        Scripted("first") as first,
        Scripted("second") as second,
        guard_for(tmp_path, [first.address, second.address], {"workers": 2}) as guard,
    ):

        def banners(count: int) -> set[str]:
            found = set()
            for _ in range(count):
                with Talk("127.0.0.1", guard.port) as client:
                    found.add(client.banner.split()[1])
            return found

        assert banners(10) == {"first"}
        first.go_away()
        assert banners(20) == {"second"}
        first.come_back()
        wait_until(lambda: banners(20) == {"first"}, "both workers to find the first again", 20)
