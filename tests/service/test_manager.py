"""What systemd is told: that the service serves, reloads, stops, and that it lives."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from tests.rig.guard import ROOT
from tests.rig.manager import Manager, start_with_sockets
from tests.rig.wait import wait_until
from tests.sendmail.support import write_settings

from .sink import Sink
from .support import faulty, numbered

WATCHDOG_SECONDS = 1.0
WORKERS = pytest.mark.parametrize("workers", [1, 2])


@contextmanager
def watched(folder: Path, manager: Manager, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command that systemd would end if it said nothing for a second."""
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1e6))}
    errors = folder / "stderr"
    process = start_with_sockets(command, {}, errors, environment)
    try:
        manager.wait("READY=1", detail=errors.read_text)
        yield process
    finally:
        process.kill()
        process.wait()


def guard(folder: Path, sink: Sink, workers: int = 1) -> list[str]:
    """Return the command line of a guard with a numbered policy."""
    config = write_settings(folder, sink.address, numbered(0), {"workers": workers})
    return [sys.executable, "-m", "smtpguard", "run", "--config", str(config)]


def quiet_since(manager: Manager, when: float, seconds: float) -> None:
    """Wait until nothing has come for so long, and hold that nothing came since `when` but what was under way."""
    wait_until(lambda: time.monotonic() - max([when, *manager.fed()]) > seconds, f"{seconds} s without a sign of life")
    assert len([fed for fed in manager.fed() if fed > when]) <= 1


@WORKERS
def test_it_tells_that_it_lives_twice_as_often_as_it_must(sink: Sink, tmp_path: Path, workers: int) -> None:
    """And not while it is stopped, as one that hangs is."""
    with Manager(tmp_path) as manager, watched(tmp_path, manager, guard(tmp_path, sink, workers)) as process:
        wait_until(lambda: len(manager.fed()) >= 5, "signs of life")
        gaps = [later - earlier for earlier, later in pairwise(manager.fed())]
        assert median(gaps) < WATCHDOG_SECONDS, gaps  # one may be longer on a busy machine
        os.kill(process.pid, signal.SIGSTOP)
        stopped = time.monotonic()
        quiet_since(manager, stopped, 2 * WATCHDOG_SECONDS)
        os.kill(process.pid, signal.SIGCONT)
        wait_until(lambda: manager.fed()[-1] > stopped + 2 * WATCHDOG_SECONDS, "a sign of life")
        process.terminate()
        assert process.wait(20) == 0
        assert manager.states() == ["READY=1", "STOPPING=1"]


BLOCKED = """
import sys, time
from smtpguard.cli.run import load, serve

def block(reactor, service):
    reactor.callLater(0.6, time.sleep, 3)

sys.exit(serve(load(sys.argv[1], {}), started=block))
"""


def test_an_event_loop_that_is_stuck_gives_no_sign_of_life(sink: Sink, tmp_path: Path) -> None:
    """The process runs, and nobody is served: what a watchdog is for."""
    config = guard(tmp_path, sink)[-1]
    with (
        Manager(tmp_path) as manager,
        watched(tmp_path, manager, [sys.executable, "-c", BLOCKED, config]) as process,
    ):
        began = time.monotonic()

        def gap() -> bool:
            fed = manager.fed()
            return any(later - earlier > 2.5 for earlier, later in pairwise(fed))

        wait_until(gap, "a gap, and life behind it")
        assert time.monotonic() - began > 2.5
        process.terminate()
        assert process.wait(20) == 0


def test_the_watchdog_of_another_process_is_not_fed(sink: Sink, tmp_path: Path) -> None:
    """WATCHDOG_PID names another process, as in what a service starts."""
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}
    with Manager(tmp_path) as manager:
        process = start_with_sockets(guard(tmp_path, sink), {}, tmp_path / "stderr", environment)
        try:
            manager.wait("READY=1")
            process.terminate()
            assert process.wait(20) == 0
            assert manager.fed() == []
        finally:
            process.kill()
            process.wait()


@WORKERS
def test_reloads_and_their_outcome_are_told(sink: Sink, tmp_path: Path, workers: int) -> None:
    """RELOADING and READY, refused or not; the status names the policy, the first fault and the sessions."""
    with Manager(tmp_path) as manager, watched(tmp_path, manager, guard(tmp_path, sink, workers)) as process:
        backend = f"tcp:host=127.0.0.1:port={sink.port}"
        first = re.fullmatch(rf"serving {backend} under policy (\w{{8}}); 0 sessions", manager.status())
        assert first is not None, manager.status()
        (tmp_path / "policy.yaml").write_text(faulty(0))
        os.kill(process.pid, signal.SIGHUP)
        manager.wait("READY=1", 2)
        refused = rf"serving {backend} under policy {first[1]}; 0 sessions; "
        refused += rf"reload refused at \d\d:\d\d: 1 fault, first: {tmp_path}/policy.yaml:\d+:\d+: .+"
        assert re.fullmatch(refused, manager.status()), manager.status()
        (tmp_path / "policy.yaml").write_text(numbered(1))
        os.kill(process.pid, signal.SIGHUP)
        manager.wait("READY=1", 3)
        now = re.fullmatch(rf"serving {backend} under policy (\w{{8}}); 0 sessions", manager.status())
        assert now is not None, manager.status()
        assert now[1] != first[1]
        assert manager.states() == ["READY=1", "RELOADING=1", "READY=1", "RELOADING=1", "READY=1"]
        for message in manager.told():
            if "RELOADING=1" in message:
                assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", message)
        with socket.create_connection(("127.0.0.1", listening(tmp_path))):
            wait_until(lambda: manager.status().endswith("; 1 session"), "the session", 20, manager.status)


def test_a_mail_server_that_is_away_is_told(tmp_path: Path) -> None:
    """In the status, as long as clients get 421."""
    settings = {"relay_check": "enforce", "workers": 1}
    config = write_settings(tmp_path, ("127.0.0.1", 1), numbered(0), settings)
    command = [sys.executable, "-m", "smtpguard", "run", "--config", str(config)]
    with Manager(tmp_path) as manager, watched(tmp_path, manager, command):
        assert manager.status().endswith("; clients get 421: relay check without an answer yet")


def listening(folder: Path) -> int:
    """Return the port that a guard said it listens on."""
    found = re.search(r"listening on 127\.0\.0\.1:(\d+)", (folder / "stderr").read_text())
    assert found is not None
    return int(found[1])


def test_the_units_have_the_watchdog_and_a_reload() -> None:
    """What the guard is prepared for."""
    text = (ROOT / "systemd" / "smtpguard.service").read_text()
    assert re.search(r"^WatchdogSec=30$", text, re.MULTILINE)
    assert re.search(r"^ExecReload=/bin/kill -HUP \$MAINPID$", text, re.MULTILINE)
    assert re.search(r"^Type=notify$", text, re.MULTILINE)
