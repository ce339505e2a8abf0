"""The clock is set a day ahead, and a day back, while clients send mail.

libfaketime stands between the guard and the clock on the wall; the one that only counts seconds stays the kernel's.
What is remembered by the clock on the wall, as bans are, is looked at elsewhere; `Wall` is there for that, too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.rig.client import Talk
from tests.rig.wait import wait_until

from .load import Load, marks
from .mailserver import MailServer
from .support import ALL_WAYS, WAYS, HeldGuard, ends, greeted, is_quiet, lines_of, serves

TIMEOUT = 2
"""timeouts.command: what must not end early, nor late."""
DAY = 86400


class Wall:
    """The clock on the wall, as a process sees it that is given `environment`."""

    def __init__(self, folder: Path) -> None:
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
        self._file = folder / "clock"
        self.set(0)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds: int) -> None:
        """Be so many seconds ahead."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n", "ascii")
        new.replace(self._file)


@pytest.mark.parametrize("flags", [*ALL_WAYS[:2], WAYS[2]])
def test_no_time_out_follows_the_clock_on_the_wall(tmp_path: Path, flags: Sequence[str]) -> None:
    """A session that waits goes on when the clock jumps, and ends when its own seconds are over; mail gets through."""
    wall = Wall(tmp_path)
    settings = {"timeouts": {"command": TIMEOUT, "shutdown": 3}, "log": {"format": "json"}}
    with (
        MailServer() as server,
        HeldGuard(tmp_path, server.address, settings, flags, environment=wall.environment) as guard,
    ):
        serves(guard)
        with Load(guard.port, 4) as load, ExitStack() as stack:
            for jump in (DAY, -DAY):
                done = load.sessions
                began = time.monotonic()
                (client,) = greeted(guard, stack, 1)
                wall.set(jump)
                _day(guard, jump)
                wait_until(lambda done=done: load.sessions > done + 20, "mail to go on")  # type: ignore[misc]
                assert client.reply().startswith(b"421 4.4.2 ")
                assert TIMEOUT <= time.monotonic() - began < TIMEOUT + 20, "neither early nor a day late"
            load.stop()
        assert not load.failed
        assert load.told == set(marks(server.accepted)) - {b"afterwards"}
        assert max(load.seconds) < TIMEOUT
        ids = [json.loads(line)["session"] for line in guard.lines() if '"event": "disconnect"' in line]
        assert len(set(ids)) == len(ids) >= load.sessions
        is_quiet(guard)
        serves(guard)
        wall.set(DAY)
        ends(guard, 10)


def _day(guard: HeldGuard, jump: int) -> None:
    """Hold that the guard has seen the jump, in the time of a line that it writes."""
    with lines_of(guard) as lines, Talk("127.0.0.1", guard.port, "127.0.0.1") as client:
        assert client.say("QUIT").startswith("221 ")
    del lines
    today = time.strftime("%Y-%m-%d", time.gmtime(time.time() + jump))
    guard.wait_line(f'"time": "{today}')
