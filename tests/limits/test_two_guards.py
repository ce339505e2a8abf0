"""Two guards that share a real Redis, before one sendmail."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from smtpguard.ledger.sharing import CALL_SECONDS
from tests.rig.client import Talk
from tests.rig.guard import Guard
from tests.rig.sendmail import RealSendmail
from tests.sendmail.support import hello

from .redis_server import RedisServer
from .support import ELSEWHERE, LIMITED, OUTSIDE, count_of, guarded, turned_away, until

LIMITS = "limits: {scanners: {count: probes, rate: 10/hour, then: {ban: 1 hour}}}"


def folder(parent: Path, name: str) -> Path:
    """Make a folder."""
    (parent / name).mkdir()
    return parent / name


def probe(guard: Guard, times: int, source: str = OUTSIDE) -> list[str]:
    """Ask so often; return the codes of the answers."""
    with hello(guard.port, source) as talk:
        talk.send(b"VRFY george\r\n" * times + b"QUIT\r\n")
        return [line[:3].decode() for line in talk.rest().split(b"\r\n")[:-1]]


def test_their_counts_add_up_and_a_ban_of_one_is_a_ban_of_both(sendmail: RealSendmail, tmp_path: Path) -> None:
    """Six probes at each of them are more than ten; who is idle at the other one is sent away too."""
    backend = sendmail.address, sendmail.port
    with RedisServer(folder(tmp_path, "redis")) as server:
        state = {"state": {"shared": server.url, "file": "memory"}}
        with (
            guarded(folder(tmp_path, "one"), backend, LIMITS, state) as one,
            guarded(folder(tmp_path, "other"), backend, LIMITS, state) as other,
            hello(one.port, OUTSIDE) as idle,
        ):
            assert probe(one, 6) == ["252"] * 6 + ["221"]
            assert probe(other, 6) == ["252"] * 6 + ["221"]
            assert idle.reply().startswith(LIMITED.encode())
            until(lambda: turned_away(one, OUTSIDE), "the ban at the one")
            until(lambda: turned_away(other, OUTSIDE), "the ban at the other")
            assert not turned_away(one, ELSEWHERE)
            for guard in (one, other):
                # The probes of one session may be told in two reports.
                guard.wait_line(r"limit scanners: 127\.0\.0\.2: 1[12] in all, banned for 1 hour")
                assert count_of(guard, "limit scanners") == 1


def test_a_redis_killed_under_load_keeps_nobody_waiting(sendmail: RealSendmail, tmp_path: Path) -> None:
    """Each guard goes on by itself, says so once, and counts with the others again when it is back."""
    backend = sendmail.address, sendmail.port
    with RedisServer(folder(tmp_path, "redis")) as server:
        state = {"state": {"shared": server.url, "file": "memory"}}
        with (
            guarded(folder(tmp_path, "one"), backend, LIMITS, state) as one,
            guarded(folder(tmp_path, "other"), backend, LIMITS, state) as other,
            hello(one.port, ELSEWHERE) as steady,
        ):
            slowest = 0.0

            def load(seconds: float) -> None:
                nonlocal slowest
                ends = time.monotonic() + seconds
                while time.monotonic() < ends:
                    began = time.monotonic()
                    assert steady.say("???").startswith("500 ")
                    slowest = max(slowest, time.monotonic() - began)

            load(1.5)
            server.kill()
            load(3.0)
            one.wait_line("every process counts by itself until it is back")
            # By itself it has ten, and no more.
            assert probe(one, 12) == ["252"] * 11 + ["421"]
            assert turned_away(one, OUTSIDE)
            assert not turned_away(other, OUTSIDE)
            load(2.0)
            server.start()
            one.wait_line("is back; clients are counted together again", 60)
            load(1.0)
            # What it banned meanwhile is told then.
            until(lambda: turned_away(other, OUTSIDE), "the ban at the other", 30)
            assert count_of(one, "every process counts by itself") == 1
            assert count_of(one, "is back; clients") == 1
            assert slowest < CALL_SECONDS, "as long as one call of Redis may take"


@pytest.mark.parametrize("workers", [2])
def test_several_workers_count_together_without_a_redis(sendmail: RealSendmail, tmp_path: Path, workers: int) -> None:
    """Whichever of them a client comes to; and too many at once are too many, over all of them."""
    limits = (
        "limits:\n"
        "  scanners: {count: probes, rate: 10/hour, then: close}\n"
        "  crowd: {count: parallel, most: 6, then: close}\n"
        "prefixes: {ipv4: 24}\n"
    )
    with guarded(tmp_path, (sendmail.address, sendmail.port), limits, {"workers": workers}) as guard:
        crowd = [hello(guard.port, f"127.0.0.{20 + number}") for number in range(6)]
        with Talk("127.0.0.1", guard.port, "127.0.0.30") as seventh:
            assert seventh.banner.startswith(LIMITED)
        for talk in crowd:
            talk.close()
        until(lambda: not turned_away(guard, "127.0.0.40"), "their places to be free")
        for _ in range(12):
            probe(guard, 1, "127.0.0.40")
        until(lambda: turned_away(guard, "127.0.0.40"), "all workers to know")
        assert all(turned_away(guard, "127.0.0.40") for _ in range(8))
