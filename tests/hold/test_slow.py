"""Who does not read: a mail server in the middle of large messages, and clients that ask and ask."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.rig.client import Talk
from tests.rig.wait import wait_until

from .load import Load, percentile
from .mailserver import SMALL_OCTETS, MailServer, never_reading, well
from .process import memory
from .support import FORMS, KINDS, LEFT_MB, HeldGuard, ends, is_quiet, lines_of, serves, transferring, writable

SECONDS = 2
"""timeouts.data_block, and those of a client that does not read."""
SESSION = 500_000
"""Octets that a session may hold in the middle of a message: a read, and what a transport takes until it is full."""
STUCK_SECONDS = 0.5
"""Nothing that was taken in that time, and nothing is any more."""
LATE = re.compile(r"421 4\.4\.2 \S+ Time-out waiting for the mail server")
LINE = b"X" * 78 + b"\r\n"


def pour(clients: Sequence[Talk], octets: int) -> None:
    """Send a message on each connection, until none takes any more."""
    message = memoryview(LINE * (octets // len(LINE)))
    wires = {client._socket: 0 for client in clients}
    for wire in wires:
        wire.setblocking(False)
    while ready := writable(wires, STUCK_SECONDS):
        for wire in ready:
            wires[wire] += wire.send(message[wires[wire] : wires[wire] + 1_000_000])
            assert wires[wire] < len(message), "all of it was taken"
    for wire in wires:
        wire.settimeout(60)


@FORMS
@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_stops_reading_a_message(tmp_path: Path, kind: str, long: bool) -> None:
    """The client is stopped, nobody else is; when timeouts.data_block is over it is told that it was the server."""
    count, octets = (50 if long else 8), 20_000_000
    settings = {"timeouts": {"data_block": SECONDS + (20 if long else 0), "shutdown": 2}}
    with (
        MailServer(small_buffers=True) as server,
        HeldGuard(tmp_path, server.address, settings, ["--reactor", kind]) as guard,
    ):
        serves(guard)
        before = memory(guard.pid)
        server.manner = never_reading
        with ExitStack() as stack, lines_of(guard) as lines:
            clients = transferring(guard, stack, count)
            server.manner = well
            pour(clients, octets)
            assert (memory(guard.pid) - before) / count < SESSION
            with Load(guard.port, 4) as load:
                wait_until(lambda: load.sessions >= 100, "mail of others")
                load.stop()
            assert not load.failed
            assert percentile(load.seconds, 0.99) < 1
            for client in clients:
                assert LATE.fullmatch(client.reply().decode("ascii").rstrip("\r\n"))
            wait_until(lambda: _told(guard) >= count, "all to be told", 60)
        assert sum("mail server: no reply in time (data_block)" in line for line in lines) == count
        assert not [body for body in server.accepted if b"in the middle" in body], "no part of it became a message"
        is_quiet(guard)
        assert memory(guard.pid) <= before + LEFT_MB * 2**20
        serves(guard)
        ends(guard, 10)


def _told(guard: HeldGuard) -> int:
    return sum("(time-out)" in line for line in guard.lines())


@FORMS
@pytest.mark.parametrize("kind", KINDS)
def test_clients_that_ask_and_never_read(tmp_path: Path, kind: str, long: bool) -> None:
    """HELP, whose replies are long: the server is not blamed, nobody else waits, and their time ends them."""
    count = 50 if long else 10
    settings = {"timeouts": {"command": SECONDS, "reply": SECONDS, "shutdown": 2}}
    rules = "budgets: off\nrulesets: {}\n"
    with (
        MailServer() as server,
        HeldGuard(tmp_path, server.address, settings, ["--reactor", kind], rules=rules) as guard,
    ):
        serves(guard)
        before = memory(guard.pid)
        with ExitStack() as stack, lines_of(guard) as lines:
            clients = []
            for _ in range(count):
                client = stack.enter_context(socket.socket())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_OCTETS)
                client.settimeout(20)
                client.connect(("127.0.0.1", guard.port))
                assert client.recv(100).startswith(b"220 ")
                client.setblocking(False)
                client.send(b"HELP\r\n" * 2000)
                clients.append(client)
            with Load(guard.port, 4) as load:
                wait_until(lambda: load.sessions >= 100, "mail of others", 60)
                load.stop()
            assert not load.failed
            assert percentile(load.seconds, 0.99) < 2
            assert (memory(guard.pid) - before) / count < SESSION
            wait_until(lambda: _told(guard) >= count, "all to be told", 60)
        assert not [line for line in lines if "mail server: " in line]
        assert sum("(time-out)" in line for line in lines) == count
        is_quiet(guard)
        assert memory(guard.pid) <= before + LEFT_MB * 2**20
        serves(guard)
        ends(guard, 10)
