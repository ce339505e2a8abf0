"""What changes a whole process: which reactor it has, signals, sockets from systemd, and descriptors that run out."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.rig.wait import wait_until

from .running import SECONDS

ROOT = Path(__file__).parents[2]
INSTALLED = {"stock": "False", "uvloop": "True", "auto": "True"}
FEW = 40
"""Descriptors of a process that soon has none left."""


@contextmanager
def apart(
    kind: str, text: str, before: Callable[[], Any] | None = None, pass_fds: tuple[int, ...] = ()
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the echo, and return it and its port."""
    command = [sys.executable, "-m", "tests.transport.apart", kind, text]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=before,
        pass_fds=pass_fds,
    )
    assert process.stdout is not None
    try:
        said = process.stdout.readline().split()
        assert said[0] == "listening", said
        assert said[2] == INSTALLED[kind]
        yield process, int(said[1])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def echoes(client: socket.socket, octets: bytes = b"x") -> bool:
    client.sendall(octets)
    return client.recv(100) == octets


@pytest.mark.parametrize("kind", INSTALLED)
def test_the_reactor_is_the_one_that_was_asked_for_and_ends_at_a_signal(kind: str) -> None:
    with apart(kind, "tcp:0:interface=127.0.0.1") as (process, port):
        with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
            assert echoes(client)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0


@pytest.mark.parametrize("kind", ["stock", "uvloop"])
@pytest.mark.parametrize("which", ["name=smtp", "index=0"])
def test_a_socket_from_systemd(kind: str, which: str) -> None:
    """sd_listen_fds(3): descriptors from 3 on, and who they are for in the environment."""
    with socket.create_server(("127.0.0.1", 0), backlog=5) as given:
        number = given.fileno()

        def before() -> None:
            os.dup2(number, 3)
            os.set_inheritable(3, True)
            os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="smtp")

        # The environment is made before `before` runs, but for this one, which tells it in the process.
        command = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.argv[1], sys.argv[1:])"
        environment = {**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "smtp"}
        echo = [sys.executable, "-m", "tests.transport.apart", kind, f"systemd:domain=INET:{which}"]
        with subprocess.Popen(
            [sys.executable, "-c", command, *echo],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=(3,),
            preexec_fn=before,
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline().split()[:2] == ["listening", str(given.getsockname()[1])]
                with socket.create_connection(given.getsockname(), SECONDS) as client:
                    assert echoes(client)
            finally:
                process.kill()


@pytest.mark.parametrize("kind", ["stock", "uvloop"])
def test_who_runs_out_of_descriptors_neither_spins_nor_stops_for_good(kind: str) -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, FEW))

    with apart(kind, "tcp:0:interface=127.0.0.1", few) as (process, port), ExitStack() as held:
        served = []
        for _ in range(FEW):
            client = held.enter_context(socket.create_connection(("127.0.0.1", port), SECONDS))
            client.settimeout(SECONDS)
            try:
                if not echoes(client):
                    break
            except ConnectionError:
                break
            served.append(client)
        assert FEW // 2 < len(served) < FEW  # and the next was closed, at once
        before = cpu_seconds(process.pid)
        for client in served:
            assert echoes(client)
        with socket.create_connection(("127.0.0.1", port), SECONDS) as shed, suppress(ConnectionError):
            assert shed.recv(1) == b""
        assert cpu_seconds(process.pid) - before < 0.2
        served.pop().close()

        def again() -> bool:
            with socket.create_connection(("127.0.0.1", port), SECONDS) as late:
                try:
                    return echoes(late)
                except ConnectionError:
                    return False

        wait_until(again, "a place to be free again")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
