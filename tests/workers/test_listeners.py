"""Every kind of listener, served by several workers, on either reactor."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.rig.client import Talk
from tests.rig.guard import ROOT, Guard
from tests.rig.manager import Manager, start_with_sockets
from tests.rig.sendmail import RealSendmail
from tests.sendmail.support import NO_VRFY, hello, server_endpoint
from tests.sendmail.test_service import UnixTalk

from .support import two_workers, workers_guard, workers_of

REACTORS = pytest.mark.parametrize("reactor", ["uvloop", "stock"])


def on(guard: Guard, reactor: str) -> Guard:
    """Return the same guard, to be run on that reactor."""
    command = [*guard.command(), "--reactor", reactor]
    guard.command = lambda: command  # type: ignore[method-assign]
    return guard


@REACTORS
def test_every_address_is_served_by_all_workers(server: RealSendmail, tmp_path: Path, reactor: str) -> None:
    """Of both families, each at one port for all of them."""
    listen = ["127.0.0.1", "127.0.0.3", "::1"]
    settings = {"listen": [server_endpoint(address) for address in listen]}
    guard = workers_guard(tmp_path, server, settings, listen=listen)
    with on(guard, reactor):
        assert [address for address, _ in guard.listeners] == listen
        for address, port in guard.listeners:
            with ExitStack() as stack:
                clients = [stack.enter_context(hello(port, host=address)) for _ in range(6)]
                assert [client.say("VRFY george") for client in clients] == [NO_VRFY] * 6


@REACTORS
def test_a_unix_socket_is_served_by_all_workers_with_the_rights_it_was_given(
    server: RealSendmail, tmp_path: Path, reactor: str
) -> None:
    """It is there as long as the service is, whichever worker dies, and removed at its end."""
    path = tmp_path / "smtp.sock"
    settings = {"listen": [server_endpoint("127.0.0.1"), f"unix:{path}:mode=600"]}
    with on(workers_guard(tmp_path, server, settings), reactor) as guard:
        guard.wait_line(f"listening on unix:{path}")
        assert path.stat().st_mode & 0o777 == 0o600
        dying, _ = workers_of(guard)
        os.kill(dying, signal.SIGKILL)
        two_workers(guard, other_than=dying)
        with ExitStack() as stack:
            clients = [stack.enter_context(UnixTalk(path)) for _ in range(6)]
            for client in clients:
                assert client.say("VRFY george").startswith("252 ")
        assert path.stat().st_mode & 0o777 == 0o600
        guard.signal(signal.SIGTERM)
        assert guard.wait_end() == os.EX_OK
        assert not [line for line in guard.lines() if "Traceback" in line]
    assert not path.exists()
    assert not Path(f"{path}.lock").is_symlink()


def test_a_unix_socket_that_a_dead_service_has_left_is_taken_over(server: RealSendmail, tmp_path: Path) -> None:
    """As one process does it; one that is alive keeps it."""
    path = tmp_path / "smtp.sock"
    settings = {"listen": [server_endpoint("127.0.0.1"), f"unix:{path}"]}
    with workers_guard(tmp_path, server, settings) as first:
        first.wait_line("listening on unix:")
        command = [sys.executable, "-m", "smtpguard", "run", "--workers", "2", "--relay-check", "off"]
        command += ["--listen", f"unix:{path}", "--backend", "tcp:127.0.0.1:1"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
        assert done.returncode == os.EX_UNAVAILABLE
        assert f"cannot listen at unix:{path}: Cannot acquire lock" in done.stderr
        first.signal(signal.SIGKILL)
        first.wait_end()
    with workers_guard(tmp_path, server, settings) as second:
        second.wait_line("listening on unix:")
        with UnixTalk(path) as client:
            assert client.say("VRFY george").startswith("252 ")


@pytest.mark.parametrize(("reactor", "chosen"), [("uvloop", "name=smtp"), ("stock", "index=0")])
def test_a_socket_of_systemd_is_served_by_all_workers(tmp_path: Path, reactor: str, chosen: str) -> None:
    """What systemd does for smtpguard.socket, and READY=1 from the supervisor once, STOPPING=1 once."""
    errors = tmp_path / "stderr"
    with (
        Manager(tmp_path) as manager,
        socket.create_server(("127.0.0.1", 0), backlog=50) as passed,
        ExitStack() as stack,
    ):
        guard = [sys.executable, "-m", "smtpguard", "run", "--relay-check", "off", "--workers", "2"]
        guard += ["--listen", f"systemd:domain=INET:{chosen}", "--backend", "tcp:127.0.0.1:1", "--reactor", reactor]
        process = start_with_sockets(guard, {"smtp": passed}, errors, {"NOTIFY_SOCKET": str(manager.path)})
        try:
            manager.wait("READY=1", detail=errors.read_text)
            port = passed.getsockname()[1]
            for _ in range(10):
                client = stack.enter_context(Talk("127.0.0.1", port))
                assert client.banner.startswith("421 "), "the backend is away"
            process.terminate()
            manager.wait("STOPPING=1")
            assert process.wait(20) == 0
            assert manager.states() == ["READY=1", "STOPPING=1"]
            # systemd still holds it: who comes now waits for the next start.
            with socket.create_connection(("127.0.0.1", port), 5):
                pass
        finally:
            process.kill()
            process.wait()
        assert errors.read_text().count("listening on") == 1


def test_a_socket_that_systemd_does_not_have_ends_with_69() -> None:
    command = [sys.executable, "-m", "smtpguard", "run", "--workers", "2", "--relay-check", "off"]
    command += ["--listen", "systemd:domain=INET:name=smtp", "--backend", "tcp:127.0.0.1:1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.returncode == os.EX_UNAVAILABLE
    assert "cannot listen at systemd:domain=INET:name=smtp: systemd has passed no such socket" in done.stderr
