"""Workers that are killed, and that hang, while clients send mail."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.rig.client import Talk
from tests.rig.wait import wait_until
from tests.workers.support import client_of, is_busy, owner, two_workers, workers_of

from .load import Load, marks
from .mailserver import MailServer
from .process import memory
from .support import FORMS, HeldGuard, ends, greeted, is_quiet, returns, serves

SESSIONS = 40
"""limits.sessions."""
KILLED = re.compile(r"ConnectionResetError|the end, to .*|BrokenPipeError")
"""What clients of a worker see that is killed."""
BUSY = re.compile(r"421 4\.3\.2 \S+ Too many connections, try again later to the connection")


@FORMS
def test_workers_that_are_killed_under_load(tmp_path: Path, long: bool) -> None:
    """Sessions of the others go on; no message comes twice or in part; every place is given back; each is replaced."""
    kills = 10 if long else 4
    settings = {"workers": 2, "limits": {"sessions": SESSIONS}, "timeouts": {"shutdown": 5}}
    with MailServer() as server, HeldGuard(tmp_path, server.address, settings) as guard, ExitStack() as stack:
        serves(guard)
        before = memory(guard.pid)
        with Load(guard.port, 8) as load:
            for number in range(kills):
                workers = two_workers(guard)
                dying, living = workers[number % 2], workers[1 - number % 2]
                other = stack.enter_context(client_of(guard, living, "127.0.0.1"))
                done = load.sessions
                began = time.monotonic()
                os.kill(dying, signal.SIGKILL)
                assert other.say("NOOP") == "250 2.0.0 OK"
                wait_until(lambda done=done: load.sessions > done + 20, "mail to go on")  # type: ignore[misc]
                two_workers(guard, other_than=dying)
                assert time.monotonic() - began < 20
                assert other.say("QUIT").startswith("221 ")
                assert other.closed()
            load.stop()
        found = marks(server.accepted)
        assert not [mark for mark, count in found.items() if count > 1], "a message twice"
        assert load.told <= set(found), "a 250, and no message"
        assert set(found) - load.told - {b"afterwards"} <= load.unsure
        assert not [text for text in load.failed if not KILLED.fullmatch(text)]
        assert sum(load.failed.values()) <= 8 * kills, "no more than were with those that died"
        told = [
            line for line in guard.lines() if "was killed by SIGKILL, and its sessions with it; another one" in line
        ]
        assert len(told) == kills
        # All places are there again, and not one more.
        wait_until(lambda: server.open == 0, "all to go")
        clients = [stack.enter_context(Talk("127.0.0.1", guard.port, "127.0.0.1")) for _ in range(SESSIONS)]
        assert not any(map(is_busy, clients))
        with Talk("127.0.0.1", guard.port, "127.0.0.1") as further:
            assert is_busy(further)
        for client in clients:
            client.close()
        wait_until(lambda: server.open == 0, "all to go")
        is_quiet(guard)
        serves(guard)
        returns(guard, before)
        ends(guard, 15)


@pytest.mark.long
def test_a_worker_that_hangs_is_killed_and_replaced(tmp_path: Path) -> None:
    """The other one serves meanwhile, and mail that it accepted is there once."""
    settings = {"workers": 2, "timeouts": {"shutdown": 3}}
    with MailServer() as server, HeldGuard(tmp_path, server.address, settings) as guard, ExitStack() as stack:
        (client,) = greeted(guard, stack, 1)
        hung = owner(guard, client)
        (living,) = set(workers_of(guard)) - {hung}
        os.kill(hung, signal.SIGSTOP)
        try:
            with client_of_living(guard, living) as other:
                assert other.say("NOOP") == "250 2.0.0 OK"
            guard.wait_line(rf"worker [12] \(process {hung}\) hangs: killed", 60)
            two_workers(guard, other_than=hung)
            assert client.closed()
        finally:
            if hung in workers_of(guard):
                os.kill(hung, signal.SIGKILL)
        for _ in range(10):
            serves(guard)
        ends(guard, 15)


def client_of_living(guard: HeldGuard, living: int) -> Talk:
    """Return a client of the worker that does not hang; the kernel gives others to the one that does, and they wait."""
    for _ in range(60):
        client = Talk("127.0.0.1", guard.port, "127.0.0.1", greet=False)
        try:
            if owner(guard, client) == living:
                assert client.reply().startswith(b"220 ")
                return client
        except AssertionError:
            pass
        client.close()
    raise AssertionError("60 clients, and none of them came to it")
