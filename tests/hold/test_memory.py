"""What clients can make the guard hold, and what happens when there is no memory at all."""

from __future__ import annotations

import resource
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.rig.client import Talk
from tests.rig.wait import wait_until

from .mailserver import SMALL_OCTETS, Connection, MailServer, well
from .process import memory, virtual_memory
from .support import FORMS, KINDS, LEFT_MB, HeldGuard, ends, is_quiet, lines_of, returns, serves, writable

QUEUE = 65536
"""Octets: limits.queue."""
READ = 256_000
"""Octets of one read on libuv, by which the queue may be overrun."""
SESSION = 40_000
"""Octets of a session with nothing in it, more than measured."""
PRESSURE_SECONDS = 1.0
REPLY_SECONDS = 3
"""timeouts.reply: until then a session is kept whose client sends and whose server says nothing."""


async def deaf(connection: Connection) -> None:
    """Greet, and then neither answer nor close."""
    await connection.say("220 backend.test ESMTP")
    await connection.line()
    await connection.say("250 backend.test")
    await connection.reader.read()


def pressing(guard: HeldGuard, stack: ExitStack, count: int) -> list[socket.socket]:
    """Connect clients that will not be read to the end, and have a command that is not answered."""
    clients = []
    for _ in range(count):
        client = stack.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_OCTETS)
        client.settimeout(20)
        client.connect(("127.0.0.1", guard.port))
        clients.append(client)
        with suppress(ConnectionError):  # without memory it may be closed
            if client.recv(500):
                client.sendall(b"EHLO client.test\r\n")
                client.recv(500)
        client.setblocking(False)
    return clients


def press(clients: list[socket.socket], octets: bytes, seconds: float = PRESSURE_SECONDS) -> None:
    """Send as much as is taken, for a while."""
    until = time.monotonic() + seconds
    open_ = set(clients)
    while open_ and (left := until - time.monotonic()) > 0:
        for client in writable(open_, left):
            try:
                client.send(octets)
            except ConnectionError:
                open_.discard(client)


@FORMS
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_client_sends_and_nobody_reads_is_bounded(tmp_path: Path, kind: str, long: bool) -> None:
    """Each fills its queue, and is read no further; when their time is over the memory is there for the next."""
    count = 1000 if long else 60
    settings = {"timeouts": {"reply": REPLY_SECONDS + (20 if long else 0), "shutdown": 1}}
    with MailServer() as server, HeldGuard(tmp_path, server.address, settings, ["--reactor", kind]) as guard:
        serves(guard)
        before = memory(guard.pid)
        left = []
        for turn in (1, 2):
            server.manner = deaf
            with ExitStack() as stack:
                press(pressing(guard, stack, count), b"NOOP\r\n" * 100_000, PRESSURE_SECONDS)
                each = (memory(guard.pid) - before) / count
                assert each < QUEUE + READ + SESSION
                assert turn > 1 or each > QUEUE / 2, "else nothing was held"
                server.manner = well
                serves(guard)
                wait_until(lambda all_=turn * count: _given_up(guard) >= all_, "all to end", 60)  # type: ignore[misc]
            is_quiet(guard)
            left.append(memory(guard.pid))
        assert _given_up(guard) == 2 * count, "a line each"
        # An allocator keeps what is in pieces, but it is used again.
        assert left[1] <= left[0] + LEFT_MB * 2**20
        serves(guard)


def _given_up(guard: HeldGuard) -> int:
    return sum(line.endswith("mail server: no reply in time (reply): NOOP") for line in guard.lines())


@pytest.mark.parametrize("kind", KINDS)
def test_replies_that_are_not_read_are_bounded_and_keep_nobody_waiting(tmp_path: Path, kind: str) -> None:
    """Lines that the guard answers itself, without a budget: no more is read while the replies do not leave.

    And what came in one piece is not answered in one go.
    """
    # Long, so that the kernel's own buffers are soon full of it.
    rules = f"budgets: off\nrulesets: {{check_vrfy: [{{action: reply, reply: 252 2.5.2 {'X' * 490}}}]}}\n"
    settings = {"timeouts": {"command": 3, "shutdown": 1}}
    count = 8
    with (
        MailServer() as server,
        HeldGuard(tmp_path, server.address, settings, ["--reactor", kind], rules=rules) as guard,
    ):
        serves(guard)
        before = memory(guard.pid)
        with ExitStack() as stack:
            clients = pressing(guard, stack, count)
            trips = []
            with Talk("127.0.0.1", guard.port, "127.0.0.1") as other, lines_of(guard) as lines:
                other.say("EHLO other.test")
                for _ in range(5):
                    press(clients, b"VRFY x\r\n" * 30_000, 0.2)
                    began = time.monotonic()
                    assert other.say("NOOP") == "250 2.0.0 OK"
                    trips.append(time.monotonic() - began)
                assert max(trips) < 1.5, trips
                assert (memory(guard.pid) - before) / count < QUEUE + READ + SESSION
                is_quiet(guard)
                serves(guard)
                wait_until(lambda: sum("(time-out)" in line for line in guard.lines()) >= count, "all to end", 60)
        assert not [line for line in lines if "mail server: " in line], "it is not the server that does not read"
        returns(guard, before)


@pytest.mark.parametrize("kind", KINDS)
def test_without_memory_sessions_end_and_the_service_does_not(tmp_path: Path, kind: str) -> None:
    """The log says so, not once for each; as soon as there is memory new clients are served."""
    settings = {"timeouts": {"reply": REPLY_SECONDS, "shutdown": 1}}
    with MailServer() as server, HeldGuard(tmp_path, server.address, settings, ["--reactor", kind]) as guard:
        serves(guard)
        before = memory(guard.pid)
        server.manner = deaf
        ceiling = virtual_memory(guard.pid) + 12 * 2**20
        with ExitStack() as stack, lines_of(guard) as lines:
            clients = pressing(guard, stack, 50)
            resource.prlimit(guard.pid, resource.RLIMIT_AS, (ceiling, resource.RLIM_INFINITY))
            clients += pressing(guard, stack, 150)
            press(clients, b"NOOP\r\n" * 100_000)
            is_quiet(guard)
            assert memory(guard.pid) < before + 20 * 2**20
            server.manner = well
        assert lines.count("no memory: sessions end where it was needed") == 1
        assert not [line for line in lines if "Traceback" in line]
        # The sessions that hold what there is end when their time is over.
        wait_until(lambda: "220 " in _banner(guard), "a place in memory", 30)
        serves(guard)
        resource.prlimit(guard.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
        for _ in range(5):
            serves(guard)
        returns(guard, before)
        ends(guard, 10)


def _banner(guard: HeldGuard) -> str:
    with socket.create_connection(("127.0.0.1", guard.port), 20, ("127.0.0.1", 0)) as client:
        try:
            return client.recv(500).decode("ascii")
        except ConnectionError:
            return ""
