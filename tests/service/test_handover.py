"""One guard stops and another one starts, at a socket that systemd holds: no client is lost in between."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.rig.client import Talk
from tests.rig.manager import Manager, start_with_sockets
from tests.sendmail.support import write_settings

from .load import Load
from .sink import Sink
from .support import numbered, policy_of

HAND_OVERS = 3


class Unit:
    """What systemd does for smtpguard.service and smtpguard.socket."""

    def __init__(self, folder: Path, sink: Sink, held: socket.socket, workers: int, reactor: str = "auto") -> None:
        """`held` is the socket."""
        self.errors = folder / "stderr"
        self._held = held
        listen = {"listen": ["systemd:domain=INET:name=smtp"], "workers": workers, "timeouts": {"linger": 2.0}}
        config = write_settings(folder, sink.address, numbered(0), listen)
        self._command = [sys.executable, "-m", "smtpguard", "run", "--config", str(config), "--reactor", reactor]

    @contextmanager
    def started(self, manager: Manager, times: int) -> Iterator[subprocess.Popen[bytes]]:
        """Start it, wait until it has said so `times` times, and stop it at the end."""
        environment = {"NOTIFY_SOCKET": str(manager.path)}
        process = start_with_sockets(self._command, {"smtp": self._held}, self.errors, environment)
        try:
            manager.wait("READY=1", times, detail=self.errors.read_text)
            yield process
            process.terminate()
            assert process.wait(30) == 0, self.errors.read_text()
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize(("workers", "reactor"), [(1, "uvloop"), (1, "stock"), (2, "uvloop"), (2, "stock")])
def test_a_restart_under_load_refuses_no_connection_and_loses_no_message(
    sink: Sink, tmp_path: Path, workers: int, reactor: str
) -> None:
    """Who comes in between waits in the queue of the socket; what got a 250 has arrived, once."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as held, Manager(tmp_path) as manager:
        unit = Unit(tmp_path, sink, held, workers, reactor)
        with Load(held.getsockname()[1], clients=6) as load:
            for number in range(1, HAND_OVERS + 1):
                with unit.started(manager, number):
                    load.go_on(30)
            with unit.started(manager, HAND_OVERS + 1):
                load.go_on(30)
                load.end()
    assert load.faults == []
    assert load.unsure == set()
    taken = sink.taken()
    assert set(taken) == load.accepted
    assert set(taken.values()) == {1}
    # Between transactions a client may be told to come again, and comes.
    assert load.turned_away <= 3 * 6 * HAND_OVERS, load.sessions


def test_who_waits_in_the_queue_is_served_by_the_next(sink: Sink, tmp_path: Path) -> None:
    """Nobody serves; clients connect and talk all the same, and are answered when there is somebody."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as held, Manager(tmp_path) as manager:
        unit, port = Unit(tmp_path, sink, held, 1), held.getsockname()[1]
        with unit.started(manager, 1), Talk("127.0.0.1", port) as client:
            assert policy_of(client) == 0
        waiting = [Talk("127.0.0.1", port, greet=False) for _ in range(20)]
        with unit.started(manager, 2):
            for client in waiting:
                with client:
                    assert client.reply().startswith(b"220 ")
                    assert client.say("VRFY george") == "252 2.5.2 policy 0"
    assert manager.states() == ["READY=1", "STOPPING=1"] * 2
