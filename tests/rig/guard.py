"""The program under test, run as an administrator runs it: as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from .wait import NotHappened, wait_until

ROOT = Path(__file__).resolve().parents[2]

_LISTENING = re.compile(r"listening on (\S+):(\d+)")


class GuardFailed(AssertionError):
    """The guard did not start, or did not end; the text holds what it wrote."""


def client_endpoint(host: str, port: int) -> str:
    """Return the Twisted client endpoint string for a TCP address."""
    escaped = host.replace(":", "\\:")
    return f"tcp:host={escaped}:port={port}"


class Guard:
    """A running `smtpguard run`, for the time of a `with` block.

    `backend` is a Twisted client endpoint string or a (host, port) pair.  `policy` is
    the policy itself if it is a str and the file that holds it if it is a Path; with
    None the option is left out.  `listen` holds the addresses to listen on, each on a
    port of the system's choice.  `relay_check` None leaves that option out.
    `extra_args` come last.  `policy_name` is the name of the file the text is put
    into.  `stop_seconds` is the time it has to end after SIGTERM.

    When the block is entered, the guard has told of every listener that it listens.
    When it is left, the process has ended.
    """

    def __init__(
        self,
        backend: str | tuple[str, int],
        policy: str | Path | None = None,
        listen: Sequence[str] = ("127.0.0.1",),
        relay_check: str | None = "off",
        extra_args: Sequence[str] = (),
        policy_name: str = "policy.yaml",
        stop_seconds: float = 10,
    ) -> None:
        """Only take the settings; the process starts on entry."""
        self._backend = backend if isinstance(backend, str) else client_endpoint(*backend)
        self._policy = policy
        self._policy_name = policy_name
        self._wanted = tuple(listen)
        self._relay_check = relay_check
        self._extra_args = tuple(extra_args)
        self._stop_seconds = stop_seconds
        self._files: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._output: list[str] = []
        self._listeners: list[tuple[str, int]] = []

    def __enter__(self) -> Self:
        """Start it; raise GuardFailed with what it wrote if it does not listen."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it.

        GuardFailed is raised if it did not end by itself on SIGTERM, but never in
        place of an exception the block has raised, nor if the block has stopped it.
        """
        running = self._process is not None and self._process.poll() is None
        status = self.stop()
        if kind is None and running and status == -signal.SIGKILL:
            raise GuardFailed(f"the guard had to be killed\n{self._story()}")

    @property
    def listeners(self) -> list[tuple[str, int]]:
        """The (address, port) of every listener, in the order asked for."""
        return list(self._listeners)

    @property
    def ports(self) -> list[int]:
        """The port of every listener, in the order asked for."""
        return [port for _, port in self._listeners]

    @property
    def port(self) -> int:
        """The port of the first listener."""
        return self._listeners[0][1]

    @property
    def pid(self) -> int:
        """The process id of the guard."""
        assert self._process is not None, "the guard has not been started"
        return self._process.pid

    def command(self) -> list[str]:
        """Return the command line; a policy given as text must be written already."""
        command = [sys.executable, "-m", "smtpguard", "run"]
        for address in self._wanted:
            kind, escaped = "tcp6" if ":" in address else "tcp", address.replace(":", "\\:")
            command += ["--listen", f"{kind}:0:interface={escaped}"]
        command += ["--backend", self._backend]
        if isinstance(self._policy, Path):
            command += ["--policy", str(self._policy)]
        elif self._policy is not None:
            assert self._files is not None, "the policy has not been written"
            command += ["--policy", str(Path(self._files.name) / self._policy_name)]
        if self._relay_check is not None:
            command += ["--relay-check", self._relay_check]
        return [*command, *self._extra_args]

    def lines(self) -> list[str]:
        """Return the lines of its stderr so far, without their ends."""
        with self._lock:
            return list(self._lines)

    def output(self) -> list[str]:
        """Return the lines of its stdout so far, without their ends."""
        with self._lock:
            return list(self._output)

    def wait_line(self, pattern: str, seconds: float = 20) -> str:
        """Wait for a line of stderr in which the regex `pattern` is found; return it.

        Lines from before the call count.  If the guard ends first, or the time runs
        out, an AssertionError with all its lines is raised.
        """

        def seen() -> str | None:
            # Asked for before the lines are read: what it wrote at its end counts.
            ended = self._ended()
            found = next((one for one in self.lines() if re.search(pattern, one)), None)
            if found is None and ended:
                raise GuardFailed(f"ended without a line {pattern!r}\n{self._story()}")
            return found

        return wait_until(seen, f"a line {pattern!r} of the guard", seconds, self._story)

    def wait_end(self, seconds: float = 20) -> int:
        """Wait for it to end by itself; return its exit status."""
        assert self._process is not None, "the guard has not been started"
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise NotHappened(f"the guard runs after {seconds:g} s\n{self._story()}") from None
        self._join()
        return status

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None, "the guard has not been started"
        self._process.send_signal(number)

    def stop(self) -> int:
        """Send SIGTERM, wait for the end and return the exit status; harmless twice.

        After `stop_seconds` it is killed; the status is then -SIGKILL.  Its lines can
        still be read.  Without a process the status is 0.
        """
        status = 0
        if self._process is not None:
            if self._process.poll() is None:
                self._process.terminate()
            try:
                status = self._process.wait(self._stop_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                status = self._process.wait()
            self._join()
        if self._files is not None:
            self._files.cleanup()
        return status

    def _start(self) -> None:
        """Write the policy, start the process and wait for all listeners."""
        if isinstance(self._policy, str):
            self._files = tempfile.TemporaryDirectory(prefix="smtpguard-guard-")
            path = Path(self._files.name) / self._policy_name
            path.write_text(self._policy, encoding="utf-8")
        process = subprocess.Popen(
            self.command(),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A log line with any bytes must not end the thread that reads it.
            encoding="utf-8",
            errors="backslashreplace",
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            # A Ctrl-C in the terminal is for pytest; we end the guard ourselves.
            start_new_session=True,
        )
        self._process = process
        assert process.stderr is not None
        assert process.stdout is not None
        # Threads, not reads on demand: a full pipe would stop the guard.
        self._read(process.stderr, self._lines)
        self._read(process.stdout, self._output)

        def ready() -> list[tuple[str, int]] | None:
            ended = self._ended()
            found = self._announced()
            if found is None and ended:
                raise GuardFailed(f"ended with {process.returncode} at start\n{self._story()}")
            return found

        self._listeners = wait_until(ready, "the guard to listen", 20, self._story)

    def _announced(self) -> list[tuple[str, int]] | None:
        """Return the listeners in the order asked for, or None if some are not told yet.

        The order of the guard's lines is not relied on: an address that is asked for
        once is found by its name, the others keep the order of the lines.
        """
        told = [
            (match[1].removeprefix("[").removesuffix("]"), int(match[2]))
            for line in self.lines()
            if (match := _LISTENING.search(line))
        ]
        if len(told) < len(self._wanted):
            return None
        result: list[tuple[str, int]] = []
        for address in self._wanted:
            mine = next((one for one in told if one[0] == address), None)
            if mine is None:
                return None
            told.remove(mine)
            result.append(mine)
        return result

    def _ended(self) -> bool:
        """Tell if the process has ended and all it wrote has been read."""
        assert self._process is not None
        if self._process.poll() is None:
            return False
        self._join()
        return True

    def _read(self, stream: IO[str], lines: list[str]) -> None:
        """Collect the lines of `stream` in a thread, until its end."""

        def work() -> None:
            with stream:
                for line in stream:
                    with self._lock:
                        lines.append(line.rstrip("\r\n"))

        thread = threading.Thread(target=work, name="rig-guard", daemon=True)
        self._readers.append(thread)
        thread.start()

    def _join(self) -> None:
        """Wait until the readers have seen the end of what the process wrote.

        Bounded, for a process it started may hold the other end of the pipe.
        """
        for reader in self._readers:
            reader.join(5)

    def _story(self) -> str:
        """Return the command line and all the guard wrote, for an error text."""
        return "\n".join(
            [
                "--- command",
                " ".join(self.command()),
                "--- stderr",
                *self.lines(),
                "--- stdout",
                *self.output(),
            ]
        )
