"""The clerk: what it knows of all workers, and that nobody needs it to serve."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from smtpguard.cli.asking import NoAnswer, ask
from smtpguard.config.admin import parse_admin
from smtpguard.ledger.bans import BANS
from smtpguard.ledger.measures import Hardness, Measure
from smtpguard.ledger.store import Changes, Store
from tests.rig.client import Talk
from tests.rig.guard import Guard
from tests.rig.sendmail import RealSendmail
from tests.rig.wait import wait_until
from tests.sendmail.support import ConfiguredGuard

from .support import clerk_of, client_of, two_workers

LIMITED = yaml.safe_dump(
    {
        "rulesets": {"check_vrfy": [{"action": "reply"}]},
        "limits": {
            "scanners": {"count": "probes", "rate": "6/minute", "then": [{"ban": "1 hour"}]},
            "crowd": {"count": "parallel", "most": 3, "then": [{"close": True}]},
        },
    }
)
SENT_AWAY = "421 4.7.0 "


@pytest.fixture(scope="module")
def server() -> Iterator[RealSendmail]:
    """A sendmail."""
    with RealSendmail() as running:
        yield running


class Clerked(ConfiguredGuard):
    """A guard of two workers with an admin endpoint and a state file, unless `state` says otherwise."""

    def __init__(self, folder: Path, server: RealSendmail, state: str = "", policy: str = LIMITED) -> None:
        """All limits hold for everybody."""
        self._place = parse_admin(f"unix:{folder}/admin.sock")
        settings = {"workers": 2, "admin": self._place.text, "state": state or f"{folder}/state.db"}
        super().__init__(folder, (server.address, server.port), policy, settings)

    def status(self) -> dict[str, Any]:
        """Return the status document; nothing while nobody answers."""
        try:
            document: dict[str, Any] = ask(self._place, "/status.json")
        except NoAnswer:
            return {}
        return document

    def lift(self, address: str) -> Any:
        """Let a client off."""
        return ask(self._place, "/bans/lift", {"address": address})


def probe_both(guard: Guard, each: int, source: str) -> list[Talk]:
    """Have each of two workers asked so often by one client; return the sessions, which are open."""
    clients = [client_of(guard, pid, source) for pid in two_workers(guard)]
    for client in clients:
        for number in range(each):
            assert client.say(f"VRFY user{number}").startswith("252 ")
    return clients


def says_away(client: Talk) -> bool:
    """Tell what a session gets that is there."""
    return client.say("VRFY more").startswith(SENT_AWAY)


def is_sent_away(guard: Guard, source: str) -> bool:
    """Tell what a new client gets."""
    with Talk("127.0.0.1", guard.port, source) as client:
        return client.banner.startswith(SENT_AWAY)


def known(guard: Clerked) -> dict[str, Any]:
    """Return the status once a ban and what led to it are in it."""
    document: dict[str, Any] = guard.status()
    return document if document.get("bans") and document.get("incidents") else {}


def test_probes_add_up_over_workers_to_a_ban_that_all_of_them_keep(tmp_path: Path, server: RealSendmail) -> None:
    """Four with one worker, four with the other: none of the two has counted more than six."""
    with Clerked(tmp_path, server) as guard:
        clients = probe_both(guard, 4, "127.0.0.7")
        wait_until(lambda: is_sent_away(guard, "127.0.0.7"), "a ban", 10)
        for client in clients:
            wait_until(partial(says_away, client), "the end of a session", 10)
            client.close()
        document = wait_until(lambda: known(guard), "the clerk to know of it", 10)
        assert [ban["key"] for ban in document["bans"]] == ["127.0.0.7"]
        assert {one["name"]: one["crossed"] for one in document["limits"]} == {"scanners": 1, "crowd": 0}
        (incident,) = document["incidents"]
        assert incident["sessions"] >= 2
        assert incident["banned"]
        assert not is_sent_away(guard, "127.0.0.8")
        guard.lift("127.0.0.7")
        wait_until(lambda: not is_sent_away(guard, "127.0.0.7"), "the end of the ban", 10)


def test_who_is_sent_away_is_listed_and_let_off_with_its_network(tmp_path: Path, server: RealSendmail) -> None:
    """Over workers; the log says so once, and the clerk is listed with the workers."""
    policy = LIMITED.replace("ban: 1 hour", "close: true")
    assert policy != LIMITED
    with Clerked(tmp_path, server, policy=policy) as guard:
        for client in probe_both(guard, 4, "127.0.0.7"):
            client.close()
        wait_until(lambda: is_sent_away(guard, "127.0.0.7"), "to be sent away", 10)
        (row,) = wait_until(lambda: guard.status().get("standing"), "it to be listed", 10)
        assert (row["key"], row["step"], row["limit"]) == ("127.0.0.7", "close", "scanners")
        assert guard.status()["processes"][-1]["state"] == "keeping the books"
        assert guard.lift("127.0.0.0/24") == {"lifted": True, "number": 1, "keys": ["127.0.0.7"]}
        guard.wait_line("let off, no longer slowed or sent away: 127.0.0.7")
        wait_until(lambda: not is_sent_away(guard, "127.0.0.7"), "to be let in", 10)
        wait_until(lambda: not guard.status()["standing"], "nobody to be listed", 10)


def test_sessions_at_once_are_counted_over_workers(tmp_path: Path, server: RealSendmail) -> None:
    """By prefix, three of one and no more, whichever worker they came to."""
    with Clerked(tmp_path, server) as guard:
        clients = [Talk("127.0.0.1", guard.port, "127.0.0.9") for _ in range(6)]
        served = [client for client in clients if client.banner.startswith("220 ")]
        assert len(served) == 3
        served[0].say("QUIT")
        for client in clients:
            client.close()
        wait_until(lambda: not is_sent_away(guard, "127.0.0.9"), "a place", 10)


def test_a_clerk_that_is_killed_is_replaced_and_knows_the_bans(tmp_path: Path, server: RealSendmail) -> None:
    """Out of its file; sessions go on, and what is banned stays so."""
    with Clerked(tmp_path, server) as guard:
        for client in probe_both(guard, 4, "127.0.0.7"):
            client.close()
        wait_until(lambda: guard.status().get("bans"), "a ban", 10)
        before = wait_until(lambda: clerk_of(guard), "a clerk")
        with Talk("127.0.0.1", guard.port) as client:
            os.kill(before, signal.SIGKILL)
            wait_until(lambda: clerk_of(guard) not in (None, before), "another clerk", 10)
            assert client.say("NOOP").startswith("250 ")
        document = wait_until(
            lambda: guard.status().get("bans") and guard.status(),
            "a clerk that answers",
            15,
            lambda: "\n".join(guard.lines()),
        )
        assert [ban["key"] for ban in document["bans"]] == ["127.0.0.7"]
        wait_until(lambda: len(guard.status().get("processes", ())) == 3, "both workers, and the clerk", 10)
        assert is_sent_away(guard, "127.0.0.7")
        killed = [line for line in guard.lines() if "clerk (process " in line]
        assert len(killed) == 1
        assert killed[0].endswith("was killed by SIGKILL: workers go on, and another one starts now")


def test_without_a_file_workers_tell_the_next_clerk_who_is_banned(tmp_path: Path, server: RealSendmail) -> None:
    """No incident begins with that; a worker that begins then knows it, too, and so does who asks; it can be lifted."""
    with Clerked(tmp_path, server, "memory") as guard:
        for client in probe_both(guard, 4, "127.0.0.7"):
            client.close()
        (before,) = wait_until(lambda: guard.status().get("bans"), "a ban", 10)
        clerk = wait_until(lambda: clerk_of(guard), "a clerk")
        os.kill(clerk, signal.SIGKILL)
        wait_until(lambda: clerk_of(guard) not in (None, clerk), "another clerk", 10)
        (after,) = wait_until(lambda: guard.status().get("bans"), "the ban", 15, lambda: "\n".join(guard.lines()))
        assert after == before
        assert guard.status()["incidents"] == []
        for worker in two_workers(guard):
            os.kill(worker, signal.SIGKILL)
            two_workers(guard, worker)
        for _ in range(20):
            assert is_sent_away(guard, "127.0.0.7")
        assert not is_sent_away(guard, "127.0.0.8")
        guard.lift("127.0.0.7")
        wait_until(lambda: not any(is_sent_away(guard, "127.0.0.7") for _ in range(10)), "the end of the ban", 10)
        assert guard.status()["bans"] == []


def test_a_worker_knows_who_is_banned_before_its_first_client(tmp_path: Path, server: RealSendmail) -> None:
    """All of them are replaced at once, with bans as many as there may be; clients wait for the first one."""
    now = time.time()
    keys = [f"127.1.{number // 250}.{1 + number % 250}" for number in range(BANS)]
    store = Store(f"{tmp_path}/state.db", 1 << 26, 100)
    store.load()
    store.write(Changes(bans={key: Measure(Hardness.BAN, key, now + 3600, "scanners", now) for key in keys}))
    store.close()
    with Clerked(tmp_path, server) as guard:
        assert is_sent_away(guard, keys[0])
        assert is_sent_away(guard, keys[-1])
        for _ in range(3):
            workers = two_workers(guard)
            for worker in workers:
                os.kill(worker, signal.SIGKILL)
            assert is_sent_away(guard, keys[-1])
            for worker in workers:
                two_workers(guard, worker)


def test_all_bans_reach_workers_however_many_there_are(tmp_path: Path, server: RealSendmail) -> None:
    """More than a socket has room for: those of the file at the start, and then those that a reload brings."""
    now = time.time()
    keys = [f"127.1.{number // 250}.{1 + number % 250}" for number in range(BANS)]
    store = Store(f"{tmp_path}/state.db", 1 << 26, 100)
    store.load()
    bans: dict[str, Measure | None] = {key: Measure(Hardness.BAN, key, now + 3600, "scanners", now) for key in keys}
    store.write(Changes(bans=bans))
    store.close()
    some = [key for key in (*keys[:: BANS // 5], keys[-1]) for _ in range(4)]  # so often that both workers are met

    def all_are_away() -> bool:
        return all(is_sent_away(guard, key) for key in some)

    with Clerked(tmp_path, server) as guard:
        two_workers(guard)
        wait_until(all_are_away, "all bans at the start", 20)
        guard.signal(signal.SIGHUP)
        wait_until(lambda: any("reloaded: policy" in line for line in guard.lines()), "the reload", 20)
        wait_until(all_are_away, "all bans behind a reload", 20)
        assert guard.status()["bans_total"] == BANS
        assert not is_sent_away(guard, "127.0.0.8")


def test_a_clerk_that_hangs_makes_no_client_wait(tmp_path: Path, server: RealSendmail) -> None:
    """Each worker keeps to the limits by itself."""
    with Clerked(tmp_path, server) as guard:
        clerk = wait_until(lambda: clerk_of(guard), "a clerk")
        os.kill(clerk, signal.SIGSTOP)
        (pid, _) = two_workers(guard)
        with client_of(guard, pid, "127.0.0.7") as client:
            for number in range(6):
                assert client.say(f"VRFY user{number}").startswith("252 ")
            client.say("VRFY once-more")
            assert client.say("VRFY more").startswith(SENT_AWAY)
        os.kill(clerk, signal.SIGCONT)
        wait_until(lambda: guard.status().get("bans"), "the ban, which was reported meanwhile", 10)


def test_at_the_end_the_clerk_writes_down_what_was_reported_last(tmp_path: Path, server: RealSendmail) -> None:
    """And goes behind the workers."""
    with Clerked(tmp_path, server) as guard:
        wait_until(lambda: guard.status().get("ready"), "a clerk that answers", 10)
        for client in probe_both(guard, 4, "127.0.0.7"):
            client.close()
        guard.signal(signal.SIGTERM)
        assert guard.wait_end() == os.EX_OK
    with Clerked(tmp_path, server) as guard:
        document = wait_until(lambda: guard.status().get("incidents") and guard.status(), "the incident", 10)
        assert document["incidents"][0]["key"] == "127.0.0.7"
