"""Nobody reads, or the disk is full: what waits, what is lost, and how that is told.

With the real thing throughout: pipes, sockets, a disk of 64 KB.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import socket
import subprocess
import sys
import syslog
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smtpguard.journal.journal import Journal
from smtpguard.journal.outlets import LONGEST_LINE
from smtpguard.journal.sinks import BACKLOG_OCTETS, FileSink, QueuedSink, StderrSink, SyslogSink

_HEADER = re.compile(r"<(\d+)>([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) ([\w-]+)\[(\d+)\]: (.*)", re.DOTALL)
_LOST = re.compile(r"log: (\d+) lines lost here, as nobody took them")


def numbered(sink: QueuedSink, first: int, count: int) -> None:
    for number in range(first, first + count):
        sink.write(syslog.LOG_INFO, f"line {number} {'x' * 80}")


def told_numbers(lines: list[str]) -> tuple[list[int], list[int]]:
    """Return the numbers of the lines, and how many were told to be missing; anything else is an error."""
    numbers, lost = [], []
    for line in lines:
        match = re.search(r"line (\d+) x{80}$", line)
        if match:
            numbers.append(int(match[1]))
        else:
            missing = _LOST.search(line)
            assert missing, line
            lost.append(int(missing[1]))
    return numbers, lost


class Daemon:
    """A syslog daemon that reads when it is told to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sinks: list[SyslogSink] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(str(path))

    def read(self) -> list[str]:
        """Return all that has come."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(65536).decode())
            except BlockingIOError:
                return found

    def sink(self, ident: str = "guard") -> SyslogSink:
        """Return a sink, which is closed when the test is over."""
        self._sinks.append(SyslogSink(ident, str(self.path)))
        return self._sinks[-1]

    def end(self) -> None:
        self.socket.close()
        self.path.unlink(missing_ok=True)
        for sink in self._sinks:
            sink.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """One that runs."""
    running = Daemon(tmp_path / "log")
    yield running
    running.end()


def everything(sink: QueuedSink, read: Callable[[], list[str]]) -> list[str]:
    """Let the sink write and the reader read, by turns, until nothing waits."""
    found = read()
    while not sink.flush():
        more = read()
        assert more, "nothing is taken, and nothing is read"
        found += more
    return found + read()


# -- syslog --------------------------------------------------------------------------------------


def test_a_datagram_is_what_syslog_3_sends(daemon: Daemon, tmp_path: Path) -> None:
    """Against what the C library sends for the same line, to the same socket."""
    script = "import syslog as s;s.openlog('sendmail', s.LOG_PID, s.LOG_MAIL);s.syslog(s.LOG_CRIT, 'x')"
    private = 'mount -t tmpfs tmpfs /dev && ln -s "$0" /dev/log && exec "$@"'
    sink = daemon.sink("sendmail")
    for _ in range(3):  # the second may change in between
        python = Path(sys.executable).resolve()
        subprocess.run(["unshare", "-m", "sh", "-c", private, str(daemon.path), str(python), "-c", script], check=True)
        sink.write(syslog.LOG_CRIT, "x")
        real, own = map(_HEADER.fullmatch, daemon.read())
        assert real
        assert own
        assert int(own[4]) == os.getpid()
        if real[2] == own[2]:
            break
    assert real
    assert own
    assert (real[1], real[2], real[3], real[5]) == (own[1], own[2], own[3], own[5]) == ("18", own[2], "sendmail", "x")


def test_a_daemon_that_does_not_read_holds_nobody_up_and_loses_nothing_of_a_burst(daemon: Daemon) -> None:
    """Its socket takes some ten lines; the others wait here."""
    sink = daemon.sink()
    began = time.monotonic()
    numbered(sink, 0, 500)
    assert time.monotonic() - began < 1
    assert sink.waiting
    assert told_numbers(everything(sink, daemon.read)) == (list(range(500)), [])
    assert (sink.lost, sink.waiting) == (0, False)


def test_what_has_no_room_is_counted_and_told_once_where_it_is_missing(daemon: Daemon) -> None:
    """The oldest are kept; behind them stands how many are missing, then comes what is new."""
    sink = daemon.sink()
    numbered(sink, 0, 4000)
    kept, lost = told_numbers(everything(sink, daemon.read))
    assert kept == list(range(len(kept)))
    assert lost == [4000 - len(kept)] == [sink.lost]
    assert BACKLOG_OCTETS / 150 < len(kept) < BACKLOG_OCTETS / 100
    numbered(sink, 4000, 3)
    assert told_numbers(daemon.read()) == ([4000, 4001, 4002], [])
    numbered(sink, 0, 4000)
    assert told_numbers(everything(sink, daemon.read))[1] == [sink.lost - lost[0]], "the second time, only the new"


def test_a_short_line_does_not_slip_in_before_it_is_told_that_longer_ones_are_missing(daemon: Daemon) -> None:
    """There would be room for it: but then it would stand before what was said, and lost, before it."""
    sink = daemon.sink()
    while not sink.lost:
        sink.write(syslog.LOG_INFO, "x" * LONGEST_LINE)
    sink.write(syslog.LOG_INFO, "short")
    assert sink.lost == 2
    assert _LOST.search(everything(sink, daemon.read)[-1])


def test_the_backlog_is_bounded(daemon: Daemon) -> None:
    """However long nobody reads, and however long the lines are."""
    sink = daemon.sink()
    for _ in range(3000):
        sink.write(syslog.LOG_INFO, "x" * 100_000)
    assert sum(map(len, sink._backlog)) == sink._octets <= BACKLOG_OCTETS
    assert max(map(len, daemon.read())) <= LONGEST_LINE


def test_a_daemon_that_is_started_anew_is_found_again(tmp_path: Path) -> None:
    """What is said in between waits; the next daemon gets it, with the time at which it was said."""
    path = tmp_path / "log"
    sink = SyslogSink("guard", str(path))
    assert sink.fault() == "No such file or directory"
    numbered(sink, 0, 2)
    for first in (2, 12, 22):
        daemon = Daemon(path)
        assert told_numbers(everything(sink, daemon.read))[0][-2:] == [first - 2, first - 1]
        numbered(sink, first, 8)
        assert told_numbers(daemon.read()) == (list(range(first, first + 8)), [])
        daemon.end()
        numbered(sink, first + 8, 2)
    assert sink.lost == 0
    sink.close()


def test_a_daemon_that_hangs_and_is_replaced_is_left(daemon: Daemon) -> None:
    """The old one holds a full socket for ever; the name means another one now."""
    sink = daemon.sink()
    numbered(sink, 0, 100)
    daemon.path.unlink()
    other = Daemon(daemon.path)
    told = told_numbers(everything(sink, other.read))
    other.end()
    assert told[0][-1] == 99
    assert told_numbers(daemon.read())[0] + told[0] == list(range(100))


# -- stderr --------------------------------------------------------------------------------------


def lines_in(descriptor: int) -> list[str]:
    """Return what can be read now."""
    found = b""
    while select.select([descriptor], [], [], 0)[0]:
        more = os.read(descriptor, 1 << 20)
        if not more:
            break
        found += more
    return found.decode().splitlines()


def pipe() -> tuple[int, int]:
    return os.pipe()


def stream_socket() -> tuple[int, int]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return one.detach(), other.detach()


@pytest.mark.parametrize("make", [pipe, stream_socket])
def test_a_stderr_that_nobody_reads_holds_nobody_up(make: Callable[[], tuple[int, int]]) -> None:
    """A pipe, and what systemd gives; what is lost is told, and no line is cut or glued to another."""
    reading, writing = make()
    with open(writing, "w") as stream, open(reading):
        sink = StderrSink(stream, with_priority=True)
        began = time.monotonic()
        numbered(sink, 0, 10_000)
        assert time.monotonic() - began < 2
        kept, lost = told_numbers(everything(sink, lambda: lines_in(reading)))
        assert kept == list(range(len(kept)))
        assert lost == [10_000 - len(kept)] == [sink.lost]
        numbered(sink, 0, 1)
        assert lines_in(reading) == [f"<6>line 0 {'x' * 80}"]
        sink.close()


@pytest.mark.parametrize("make", [pipe, stream_socket])
def test_who_shares_our_stderr_is_left_as_it_was(make: Callable[[], tuple[int, int]]) -> None:
    """O_NONBLOCK belongs to what was opened, a shell's terminal for instance."""
    reading, writing = make()
    with open(writing, "w") as stream, open(reading):
        sink = StderrSink(stream, with_priority=False)
        numbered(sink, 0, 5_000)
        assert not fcntl.fcntl(writing, fcntl.F_GETFL) & os.O_NONBLOCK
        sink.close()


def test_a_pipe_that_may_not_be_opened_again_is_asked_before_each_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of another user's."""
    real = os.open

    def refused(path: str, flags: int, mode: int = 0o777) -> int:
        if path.startswith("/proc/self/fd/"):
            raise PermissionError
        return real(path, flags, mode)

    reading, writing = os.pipe()
    with open(writing, "w") as stream, open(reading):
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", refused)
            sink = StderrSink(stream, with_priority=False)
        numbered(sink, 0, 5_000)
        kept, lost = told_numbers(everything(sink, lambda: lines_in(reading)))
        assert (kept, lost) == (list(range(len(kept))), [5_000 - len(kept)])


def test_a_stderr_that_is_a_file_is_written_to_where_it_stands(tmp_path: Path) -> None:
    """`2>file`, without O_APPEND: it is not opened again, or it would be overwritten."""
    path = tmp_path / "file"
    with path.open("w") as stream:
        stream.write("before\n")
        stream.flush()
        StderrSink(stream, with_priority=False).write(syslog.LOG_INFO, "text")
        stream.write("behind\n")
    assert path.read_text() == "before\ntext\nbehind\n"


def test_a_pipe_without_a_reader_and_a_closed_stderr_are_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard goes on, and memory is bounded."""
    reading, writing = os.pipe()
    with open(writing, "w") as stream:
        sink = StderrSink(stream, with_priority=False)
        os.close(reading)
        numbered(sink, 0, 5_000)
        assert sink.lost > 0
        sink.close()
    monkeypatch.setattr(sys, "stderr", None)
    StderrSink(with_priority=False).write(syslog.LOG_INFO, "text")


# -- a file --------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def file_lines(path: Path) -> list[str]:
    """Return the lines of a file, the last of which has an end."""
    text = path.read_text()
    assert text == "" or text.endswith("\n"), text[-200:]
    return text.splitlines()


def test_a_line_of_a_file_has_time_host_and_process() -> None:
    """As rsyslogd writes it, so that what reads its files reads this one."""
    reading, writing = os.pipe()
    with open(reading) as pipe_end, open(writing, "w"):
        FileSink(f"/proc/self/fd/{writing}", "smtpguard", "host").write(syslog.LOG_INFO, "text")
        line = pipe_end.readline()
    assert re.fullmatch(
        rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}[+-]\d\d:\d\d host smtpguard\[{os.getpid()}\]: text\n", line
    )


@pytest.mark.parametrize("append_only", [False, True], ids=["its own", "append only"])
def test_a_full_disk_is_no_fault_and_leaves_no_part_of_a_line_before_another(
    disk: Path, append_only: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When there is room again, what waited is written, and how many lines are missing."""
    if append_only:  # chattr +a, which a tmpfs does not know

        def refused(_descriptor: int, _length: int) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "ftruncate", refused)
    ballast, path = disk / "ballast", disk / "log"
    ballast.write_bytes(bytes(50_000))
    sink = FileSink(str(path), "smtpguard", "host")
    numbered(sink, 0, 4_000)
    assert sink.waiting
    if not append_only:
        file_lines(path)
    ballast.unlink()
    # 64 KB are not room for all that waits: as with logrotate, what is full goes elsewhere, and a new file begins.
    found: list[str] = []
    for _ in range(20):
        done = sink.flush()
        path.rename(disk / "moved")
        assert sink.reopen() == ""
        text = (disk / "moved").read_text()
        if append_only:
            whole = [line for line in text.splitlines() if re.search(r" x{80}$|took them$", line)]
            parts = [line for line in text.splitlines() if line not in whole]
            assert len(parts) <= 2, "only what the disk took when it became full"
            found += whole
        else:
            found += file_lines(disk / "moved")
        (disk / "moved").unlink()
        if done:
            break
    kept, lost = told_numbers(found)
    assert kept == list(range(len(kept)))
    assert lost == [4_000 - len(kept)] == [sink.lost]
    numbered(sink, 0, 1)
    assert told_numbers(file_lines(path)) == ([0], [])
    sink.close()


def test_a_line_that_a_power_cut_tore_is_ended_before_the_next(tmp_path: Path) -> None:
    """Or the two would be one."""
    path = tmp_path / "log"
    path.write_text("whole\nto")
    sink = FileSink(str(path), "smtpguard", "host", bare=True)
    for text in ("one", "two"):
        sink.write(syslog.LOG_INFO, text)
    assert path.read_text() == "whole\nto\none\ntwo\n"


def test_a_file_is_opened_again_by_its_name(tmp_path: Path) -> None:
    """What was written before is in the file that was moved, and nothing is in both or in none."""
    path = tmp_path / "log"
    sink = FileSink(str(path), "smtpguard", "host", bare=True)
    sink.write(syslog.LOG_INFO, "before")
    path.rename(tmp_path / "log.1")
    sink.write(syslog.LOG_INFO, "between")
    assert sink.reopen() == ""
    sink.write(syslog.LOG_INFO, "behind")
    assert (tmp_path / "log.1").read_text() == "before\nbetween\n"
    assert path.read_text() == "behind\n"
    assert path.stat().st_mode & 0o777 & ~0o640 == 0, "no other user reads it"


def test_where_no_new_file_can_be_opened_the_old_one_stays_in_use(tmp_path: Path) -> None:
    """And that is said."""
    folder = tmp_path / "folder"
    folder.mkdir()
    sink = FileSink(str(folder / "log"), "smtpguard", "host", bare=True)
    journal = Journal([sink])
    journal.service("before")
    folder.rename(tmp_path / "elsewhere")
    journal.reopen()
    journal.service("text")
    assert file_lines(tmp_path / "elsewhere/log") == [
        "before",
        "log: cannot be opened again: No such file or directory; what was open stays in use",
        "text",
    ]


def test_a_file_that_cannot_be_opened_yet_gets_its_lines_later(tmp_path: Path) -> None:
    """As on a disk that is mounted late."""
    path = tmp_path / "folder/log"
    sink = FileSink(str(path), "smtpguard", "host", bare=True)
    assert sink.fault() == "No such file or directory"
    sink.write(syslog.LOG_INFO, "early")
    path.parent.mkdir()
    sink.write(syslog.LOG_INFO, "late")
    assert file_lines(path) == ["early", "late"]


# -- the journal ---------------------------------------------------------------------------------


class Later:
    """What a reactor would do."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, seconds: float, act: Callable[[], None]) -> None:
        self.asked.append((seconds, act))

    def go_on(self) -> float:
        (seconds, act), *self.asked = self.asked
        act()
        return seconds


def test_what_was_not_taken_is_tried_again_though_nothing_more_is_said(daemon: Daemon) -> None:
    """Soon at first, then once a second; with one timer, and none when all is written."""
    later = Later()
    journal = Journal([daemon.sink()])
    journal.call_later = later
    for number in range(4000):
        journal.service(f"line {number} {'x' * 80}")
    assert len(later.asked) == 1
    pauses = [later.go_on() for _ in range(9)]
    assert pauses == [0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.0, 1.0]
    found: list[str] = []
    pauses.clear()
    while later.asked:
        found += daemon.read()
        pauses.append(later.go_on())
    assert set(pauses[1:]) == {0.005}, "soon again, as soon as something is read"
    kept, lost = told_numbers(found + daemon.read())
    assert (kept, lost) == (list(range(len(kept))), [journal.lost])
    journal.service("taken at once")
    assert later.asked == []


def test_the_json_form_tells_what_is_missing_as_an_object(daemon: Daemon) -> None:
    """For machines, with the number as a field."""
    sink = daemon.sink()
    journal = Journal([sink], as_json=True)
    for _ in range(4000):
        journal.service("x" * 100)
    *_, last = (json.loads(one.partition("]: ")[2]) for one in everything(sink, daemon.read))
    assert (last["event"], last["lost"]) == ("log", sink.lost)


def test_a_long_object_is_shortened_and_stays_an_object(daemon: Daemon) -> None:
    """A traceback, for instance, full of what JSON writes as several octets."""
    journal = Journal([daemon.sink()], as_json=True)
    for text in ("\\" * 50_000, "\U0001f600" * 9_000, "line | " * 1_000):
        journal.service(text, event="internal")
        (datagram,) = daemon.read()
        told = json.loads(datagram.partition("]: ")[2])
        assert told["event"] == "internal"
        assert told["message"].startswith(text[:50])
        assert told["message"].endswith(text[-50:])


def test_the_end_waits_a_moment_for_who_is_to_read(daemon: Daemon) -> None:
    """And no longer."""
    journal = Journal([daemon.sink()])
    for number in range(100):
        journal.service(str(number))
    began = time.monotonic()
    journal.drain()
    assert 0.4 < time.monotonic() - began < 5
    daemon.end()


def test_a_fork_leaves_what_waits_to_the_first_process(daemon: Daemon) -> None:
    """Or each worker would write it once more."""
    sink = daemon.sink()
    numbered(sink, 0, 100)
    journal = Journal([sink])
    journal.forked()
    assert not sink.waiting
    assert sink.lost == 0
