"""Thousands of idle sessions, and busy ones among them."""

from __future__ import annotations

import re
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.rig.wait import wait_until

from .load import Load, percentile
from .mailserver import MailServer
from .process import memory
from .support import FORMS, KINDS, HeldGuard, ends, greeted, is_quiet, returns, serves, transferring

SESSION_KB = 12.0
"""What an idle session may hold; docs/operations.md says so."""
SLOWER = 3.0
"""How much longer the slowest hundredth of sessions may take where idle ones are beside them: a machine that is shared
measures coarsely, and what each idle session cost at every turn would be tenfold."""
UNMEASURED_SECONDS = 0.25
"""Below that a slowest hundredth is the machine's, not the guard's."""


def busy(guard: HeldGuard, clients: int, sessions: int) -> float:
    """Return how long the slowest hundredth of sessions takes at least."""
    with Load(guard.port, clients) as load:
        wait_until(lambda: load.sessions >= sessions, "sessions", 120)
        load.stop()
    assert not load.failed
    return percentile(load.seconds, 0.99)


@FORMS
@pytest.mark.parametrize("kind", KINDS)
def test_idle_sessions_cost_memory_and_nothing_else(tmp_path: Path, kind: str, long: bool) -> None:
    """Busy ones beside them are as fast as without; at SIGTERM each is told, and mail in transfer gets through."""
    idle, clients, sessions = (5000, 200, 5000) if long else (1000, 100, 700)
    settings = {"limits": {"sessions": 6000}, "timeouts": {"shutdown": 60}}
    with MailServer() as server, HeldGuard(tmp_path, server.address, settings, ["--reactor", kind]) as guard:
        alone = busy(guard, clients, sessions)
        before = memory(guard.pid)
        with ExitStack() as stack:
            crowd = greeted(guard, stack, idle)
            each = (memory(guard.pid) - before) / idle / 1024
            assert each < SESSION_KB
            is_quiet(guard)
            beside = busy(guard, clients, sessions)
            assert beside < max(SLOWER * alone, UNMEASURED_SECONDS)
            senders = transferring(guard, stack, 5)
            guard.signal(signal.SIGTERM)
            guard.wait_line(f"stopping; {idle + 5} sessions")
            for client in crowd:
                assert re.fullmatch(rb"421 4\.3\.2 \S+ Service is shutting down, try again later\r\n", client.reply())
                assert client.closed()
                client.close()
            for client in senders:
                assert client.say(".") == "250 2.0.0 Accepted"
                assert client.reply().startswith(b"421 4.3.2 ")
            ends(guard, 20)
        assert not [line for line in guard.lines() if "Traceback" in line]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_crowd_held_is_given_back(tmp_path: Path, kind: str) -> None:
    """When it has gone."""
    with MailServer() as server, HeldGuard(tmp_path, server.address, None, ["--reactor", kind]) as guard:
        serves(guard)
        before = memory(guard.pid)
        with ExitStack() as stack:
            for client in greeted(guard, stack, 800):
                client.close()
        wait_until(lambda: server.open == 0, "all to go")
        is_quiet(guard)
        returns(guard, before)
        serves(guard)
