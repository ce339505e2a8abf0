"""Syslog that does not read, stderr that nobody reads, a disk that is full: clients notice nothing.

A write that waited would stop the event loop, and every session with it.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.rig.client import Talk
from tests.rig.guard import ROOT
from tests.rig.wait import wait_until
from tests.sendmail.support import policy, resident, write_settings

from .reading import rsyslogd
from .support import guard, mail_server

QUESTIONS = 500
"""Of a session; it may be refused 1,000 times (`budgets`)."""
PAD = "x" * 150
COMMANDS = 2_500
"""More than a sink keeps (256 KB) and a pipe or socket holds, so that some are lost."""
OTHER_LINES = 4
"""Lines of other kinds, as of an incident, that may be among those that are lost."""
PATIENCE = 1.0
"""Seconds for one answer.  It takes some 0.2 ms; the machine is shared."""
MEMORY = 8 << 20
"""Octets that the guard may grow by: what waits is bounded by 256 KB a sink."""

_NUMBER = re.compile(r"VRFY number-(\d+) x{150} \[rejected\]")
_LOST = re.compile(r"log: (\d+) lines? lost here, as nobody took them")


@pytest.fixture(scope="module")
def backend() -> Iterator[tuple[str, int]]:
    """A mail server that takes everything."""
    with mail_server() as address:
        yield address


def ask(port: int, first: int, count: int) -> float:
    """Say so many VRFYs, each when the one before is answered; return the longest time that an answer took."""
    longest = 0.0
    for start in range(first, first + count, QUESTIONS):
        with Talk("127.0.0.1", port) as client:
            for number in range(start, min(start + QUESTIONS, first + count)):
                began = time.monotonic()
                assert client.say(f"VRFY number-{number} {PAD}").startswith("252 ")
                longest = max(longest, time.monotonic() - began)
    return longest


def check(lines: list[str], count: int, some_lost: bool = True) -> None:
    """Hold that of `count` numbered lines each is there once and in its order, or told to be missing at its place."""
    expected = missing = 0
    for line in lines:
        if match := _LOST.search(line):
            missing = int(match[1])
        elif match := _NUMBER.search(line):
            most = expected + missing
            assert most - (OTHER_LINES if missing else 0) <= int(match[1]) <= most, line
            expected, missing = int(match[1]) + 1, 0
    assert expected == count
    assert any(_LOST.search(line) for line in lines) == some_lost


# -- syslog ----------------------------------------------------------------------------------------------


def test_a_syslog_daemon_that_does_not_read_is_waited_for_by_nobody(backend: tuple[str, int], tmp_path: Path) -> None:
    """When it reads again it gets what waited, then how many lines are missing, then the rest; memory is bounded."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "log"))
        daemon.settimeout(20)
        with guard(tmp_path, backend, {"to": "both", "syslog_socket": str(tmp_path / "log"), "level": 6}) as running:
            ask(running.port, 0, 10)
            before = resident(running.pid)
            assert ask(running.port, 10, COMMANDS) < PATIENCE
            assert resident(running.pid) - before < MEMORY
            lines: list[str] = []
            while not (lines and _LOST.search(lines[-1])):
                lines.append(daemon.recv(8192).decode())
            ask(running.port, COMMANDS + 10, 5)
            while f"number-{COMMANDS + 14} " not in lines[-1]:
                lines.append(daemon.recv(8192).decode())
            check(lines, COMMANDS + 15)
            # The other sink lost nothing.
            wait_until(lambda: f"number-{COMMANDS + 14} " in "".join(running.lines()[-3:]), "the last line")
            check(running.lines(), COMMANDS + 15, some_lost=False)


def test_rsyslogd_stopped_and_started_anew_loses_no_line(backend: tuple[str, int], tmp_path: Path) -> None:
    """A stop of the process (as under a debugger, or on a stalled disk), then an end and a new start."""
    with rsyslogd(tmp_path, "RSYSLOG_FileFormat") as daemon:
        settings = {"to": "both", "syslog_socket": str(daemon.socket), "level": 6}
        with guard(tmp_path, backend, settings) as running:
            ask(running.port, 0, 100)
            daemon.process.send_signal(signal.SIGSTOP)
            try:
                assert ask(running.port, 100, 1_000) < PATIENCE
            finally:
                daemon.process.send_signal(signal.SIGCONT)
            wait_until(lambda: "number-1099 " in daemon.log.read_text(), "the line of the last command")
            check(daemon.log.read_text().splitlines(), 1_100, some_lost=False)
            first = daemon.log.read_text()
            daemon.process.terminate()
            daemon.process.wait(20)
            assert ask(running.port, 1_100, 500) < PATIENCE
            daemon.socket.unlink(missing_ok=True)
            with rsyslogd(tmp_path, "RSYSLOG_FileFormat"):
                wait_until(lambda: "number-1599 " in daemon.log.read_text(), "the line of the last command")
            check(daemon.log.read_text().splitlines(), 1_600, some_lost=False)
            assert daemon.log.read_text().startswith(first)


def test_a_guard_without_a_syslog_daemon_serves_and_tells_the_first_that_comes(
    backend: tuple[str, int], tmp_path: Path
) -> None:
    """At start it says so on stderr."""
    path = tmp_path / "log"
    with guard(tmp_path, backend, {"to": "both", "syslog_socket": str(path), "level": 6}) as running:
        running.wait_line(f"log: there is no {path}: lines wait")
        ask(running.port, 0, 3)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
            daemon.bind(str(path))
            daemon.settimeout(20)
            lines = [daemon.recv(8192).decode()]
            while "number-2 " not in lines[-1]:
                lines.append(daemon.recv(8192).decode())
    assert "]: listening on 127.0.0.1:" in lines[0]
    check(lines, 3, some_lost=False)


# -- stderr ----------------------------------------------------------------------------------------------


def pipe() -> tuple[int, int]:
    return os.pipe()


def stream_socket() -> tuple[int, int]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return one.detach(), other.detach()


@contextmanager
def unread(command: list[str], make: Callable[[], tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Run a guard whose stderr is read only by whom it is given to; yield its port, process id and that end."""
    reading, writing = make()
    running = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=writing)
    os.close(writing)
    try:
        text = ""
        while "serves" not in text:
            text += os.read(reading, 65536).decode()
        match = re.search(r"listening on 127.0.0.1:(\d+)", text)
        assert match, text
        yield int(match[1]), running.pid, reading
    finally:
        running.terminate()
        running.wait(20)
        os.close(reading)


def read_until(descriptor: int, text: str, enough: Callable[[str], object]) -> str:
    """Return `text` and what comes, when it is enough."""
    while not enough(text):
        assert select.select([descriptor], [], [], 20)[0], text[-2000:]
        text += os.read(descriptor, 65536).decode()
    return text


def told(text: str) -> int:
    """Return how many lines there are, or are told to be missing."""
    return len(_NUMBER.findall(text)) + sum(map(int, _LOST.findall(text)))


@pytest.mark.parametrize("make", [pipe, stream_socket])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_stderr_that_nobody_reads_is_waited_for_by_nobody(
    backend: tuple[str, int], tmp_path: Path, make: Callable[[], tuple[int, int]], workers: int
) -> None:
    """A pipe, and the socket that systemd gives; several processes may share it."""
    settings = {"dns": {"names": False}, "workers": workers, "log": {"level": 6}}
    path = write_settings(tmp_path, backend, policy(internal=("192.0.2.0/24",)), settings)
    command = [sys.executable, "-m", "smtpguard", "run", "--config", str(path)]
    with unread(command, make) as (port, pid, reading):
        before = resident(pid)
        assert ask(port, 0, COMMANDS) < PATIENCE
        assert resident(pid) - before < MEMORY
        text = read_until(reading, "", lambda text: told(text) >= COMMANDS)
        ask(port, COMMANDS, 5)
        text = read_until(reading, text, lambda text: told(text) >= COMMANDS + 5)
    numbers = _NUMBER.findall(text)
    assert len(numbers) == len(set(numbers)), "none is there twice"
    if workers == 1:  # several keep the order each for itself, and more between them
        check(text.splitlines(), COMMANDS + 5)


# -- a file ----------------------------------------------------------------------------------------------


def test_a_full_disk_is_noticed_by_nobody_but_who_reads_the_log(backend: tuple[str, int], tmp_path: Path) -> None:
    """When there is room again, the file goes on with whole lines, and tells how many are missing."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        log, ballast = disk / "guard.log", disk / "ballast"
        with guard(tmp_path, backend, {"to": ["stderr", "file"], "file": str(log), "level": 6}) as running:
            ask(running.port, 0, 10)
            ballast.write_bytes(bytes((1 << 20) - (128 << 10)))
            before = resident(running.pid)
            assert ask(running.port, 10, COMMANDS) < PATIENCE
            assert resident(running.pid) - before < MEMORY
            full = log.read_text()
            assert full.endswith("\n")
            assert not _LOST.search(full)
            ballast.unlink()
            wait_until(lambda: _LOST.search(log.read_text()), "what is missing", 20)
            ask(running.port, COMMANDS + 10, 5)
            wait_until(lambda: f"number-{COMMANDS + 14} " in log.read_text(), "the last line")
            text = log.read_text()
        assert text.startswith(full)
        check(text.splitlines(), COMMANDS + 15)
        assert all(re.match(r"\d{4}-\d\d-\d\dT\S+ \S+ smtpguard\[\d+\]: ", line) for line in text.splitlines())
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
