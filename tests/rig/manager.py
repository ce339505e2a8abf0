"""A service manager as far as a service sees one: NOTIFY_SOCKET, the watchdog's words, and sockets that it holds."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from .guard import ROOT
from .wait import wait_until


class Manager:
    """Reads what services tell (sd_notify(3)), for the time of a `with` block."""

    def __init__(self, folder: Path) -> None:
        """`folder` gets the socket."""
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._lock = threading.Lock()
        self._told: list[tuple[float, str]] = []
        self._thread = threading.Thread(target=self._read, name="rig-manager", daemon=True)

    def __enter__(self) -> Self:
        """Begin to read."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Read no more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))
        self._thread.join(5)
        self._socket.close()

    def _read(self) -> None:
        while octets := self._socket.recv(65536):
            with self._lock:
                self._told.append((time.monotonic(), octets.decode()))

    def told(self) -> list[str]:
        """Return all messages so far; each has one line or several."""
        with self._lock:
            return [text for _, text in self._told]

    def states(self) -> list[str]:
        """Return the lines of all messages, but for the watchdog's and the status."""
        lines = [line for text in self.told() for line in text.splitlines()]
        return [line for line in lines if not line.startswith(("WATCHDOG=", "STATUS=", "MONOTONIC_USEC="))]

    def status(self) -> str:
        """Return the status line as it is now; empty if there was none."""
        lines = [line for text in self.told() for line in text.splitlines() if line.startswith("STATUS=")]
        return lines[-1].removeprefix("STATUS=") if lines else ""

    def fed(self) -> list[float]:
        """Return when WATCHDOG=1 was said, by time.monotonic()."""
        with self._lock:
            return [when for when, text in self._told if "WATCHDOG=1" in text.splitlines()]

    def wait(self, line: str, times: int = 1, seconds: float = 20, detail: Callable[[], str] | None = None) -> None:
        """Wait until a line was told that often."""

        def there() -> bool:
            return sum(line in text.splitlines() for text in self.told()) >= times

        wait_until(there, f"{line} to be told {times} times", seconds, lambda: f"{self.told()} {detail and detail()}")


def start_with_sockets(
    command: Sequence[str],
    sockets: Mapping[str, socket.socket],
    stderr: Path,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command as systemd does that holds these sockets, by name (sd_listen_fds(3)); stderr goes to a file."""
    descriptors = [one.fileno() for one in sockets.values()]
    # Through copies above all of them, so that none is overwritten before it has moved.
    moves = [f"c{place} = fcntl.fcntl({number}, fcntl.F_DUPFD, 100)" for place, number in enumerate(descriptors)]
    moves += [f"os.dup2(c{place}, {3 + place}); os.close(c{place})" for place in range(len(descriptors))]
    more = {**(environment or {}), "LISTEN_FDS": str(len(descriptors)), "LISTEN_FDNAMES": ":".join(sockets)}
    script = "; ".join(
        [
            "import fcntl, os",
            *moves,
            f"os.environ.update({more!r}, LISTEN_PID=str(os.getpid()))",
            f"os.execv({command[0]!r}, {list(command)!r})",
        ]
    )
    with stderr.open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=descriptors,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
