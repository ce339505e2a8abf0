"""No descriptors left: for more clients, for the mail server, or for anything."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.rig.client import Talk
from tests.rig.wait import wait_until

from .mailserver import MailServer
from .process import descriptors, may_have, memory
from .support import (
    ALL_WAYS,
    FORMS,
    KINDS,
    WAYS,
    HeldGuard,
    ends,
    finish,
    is_quiet,
    lines_of,
    returns,
    serves,
    transferring,
)

BUSY = re.compile(rb"421 4\.3\.2 \S+ Too many connections, try again later\r\n")
AWAY = re.compile(rb"421 4\.3\.2 \S+ Mail server not available, try again later\r\n")
BANNER = re.compile(rb"220 backend\.test ESMTP\r\n")
FEW = 248
"""Descriptors, with which the guard says that it has room for 28 clients: two each, and 192 beside."""
ROOM = 28


def knock(guard: HeldGuard, stack: ExitStack, count: int, source: str = "127.0.0.1") -> list[bytes]:
    """Connect, and stay; return what each client is told first: a reply, or nothing where it is closed."""
    said = []
    for _ in range(count):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", guard.port), 20, (source, 0)))
        try:
            said.append(client.recv(500))
        except ConnectionError:
            said.append(b"")
    return said


@FORMS
@pytest.mark.parametrize("kind", KINDS)
def test_more_clients_than_there_are_descriptors_for_are_told_so(tmp_path: Path, kind: str, long: bool) -> None:
    """As many as fit are served, whatever limits.sessions says; all others get 421 at once, a line each in the log."""
    more = 1000 if long else 60
    wrapper = ["prlimit", f"--nofile={FEW}:{FEW}"]
    with MailServer() as server, HeldGuard(tmp_path, server.address, None, ["--reactor", kind], wrapper) as guard:
        said = guard.wait_line("limits.sessions is")
        assert said == f"limits.sessions is 2000, which takes 4192 descriptors; there may be {FEW}, for {ROOM}"
        serves(guard)
        before = memory(guard.pid)
        with ExitStack() as stack:
            busy = transferring(guard, stack, 10)
            with lines_of(guard) as lines:
                with ExitStack() as crowd:
                    assert all(map(BANNER.fullmatch, knock(guard, crowd, ROOM - 10)))
                    for _ in range(more // 20):  # who lingers has a descriptor, too
                        with ExitStack() as away:
                            assert all(map(BUSY.fullmatch, knock(guard, away, 20)))
                    is_quiet(guard)
                finish(busy)
                wait_until(lambda: _served(guard), "a place")
        turned_away = f": {ROOM} sessions, as many as there are descriptors for (limits.sessions)"
        assert sum(line.endswith(turned_away) for line in lines) >= more
        assert not any("Traceback" in line or "cannot connect" in line for line in lines)
        returns(guard, before)
        serves(guard)


def _served(guard: HeldGuard) -> bool:
    with ExitStack() as stack:
        return BANNER.fullmatch(knock(guard, stack, 1)[0]) is not None


@FORMS
@pytest.mark.parametrize("flags", ALL_WAYS)
def test_without_any_descriptor_nobody_hangs_and_nothing_spins(
    tmp_path: Path, flags: Sequence[str], long: bool
) -> None:
    """Clients are closed, at most one gets as far as a 421; sessions go on; with descriptors all is as before."""
    more = 500 if long else 40
    with MailServer() as server, HeldGuard(tmp_path, server.address, None, flags) as guard, ExitStack() as stack:
        serves(guard)
        before = memory(guard.pid)
        busy = transferring(guard, stack, 10)
        had = {pid: may_have(pid, descriptors(pid) + 11) for pid in guard.serving}
        with lines_of(guard) as lines:
            with ExitStack() as crowd:
                said = knock(guard, crowd, more)
                served = sum(BANNER.fullmatch(one) is not None for one in said)
                unconnected = sum(AWAY.fullmatch(one) is not None for one in said)
                assert served + unconnected + said.count(b"") == more
                assert served >= 2
                # The last descriptor is a client's, and none is left for the server; when it has gone, another's.
                assert 1 <= unconnected <= more // 10
                is_quiet(guard)
            finish(busy)
            for pid, (soft, _) in had.items():
                may_have(pid, soft)
        faults = [line for line in lines if "cannot connect" in line]
        assert len(faults) == unconnected
        assert all(line.endswith("cannot connect: Couldn't bind: 24: Too many open files.") for line in faults)
        assert len(lines) <= more + len(busy) + 5, "a line a client, no more"
        assert not any("Traceback" in line for line in lines)
        returns(guard, before)
        for _ in range(10):
            serves(guard)
        assert not [line for line in guard.lines() if "mail server is away" in line]


@pytest.mark.parametrize("flags", WAYS)
def test_it_ends_in_order_without_descriptors(tmp_path: Path, flags: Sequence[str]) -> None:
    """SIGTERM: the message in transfer gets through, and the status is 0."""
    with MailServer() as server, HeldGuard(tmp_path, server.address, None, flags) as guard, ExitStack() as stack:
        (client,) = transferring(guard, stack, 1)
        for pid in guard.serving:
            may_have(pid, descriptors(pid))
        knock(guard, stack, 5)
        guard.signal(signal.SIGTERM)
        guard.wait_line("stopping; 1 session")
        assert client.say(".") == "250 2.0.0 Accepted"
        assert client.reply().startswith(b"421 4.3.2 ")
        ends(guard, 20)


def test_a_client_of_one_that_is_full_may_come_back(tmp_path: Path) -> None:
    """The place of a session that has ended is another's, at once."""
    wrapper = ["prlimit", f"--nofile={FEW}:{FEW}"]
    with MailServer() as server, HeldGuard(tmp_path, server.address, wrapper=wrapper) as guard, ExitStack() as stack:
        clients = [stack.enter_context(Talk("127.0.0.1", guard.port, "127.0.0.1")) for _ in range(ROOM)]
        for client in clients[:5]:
            assert client.say("QUIT").startswith("221 ")
            assert client.closed()
            wait_until(lambda: _served(guard), "its place")
