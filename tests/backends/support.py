"""What the tests of this folder share: scripted backends, sendmails that are killed, and guards in front of them."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.rig.guard import client_endpoint
from tests.rig.sendmail import RealSendmail, end_processes, free_port
from tests.rig.wait import wait_until
from tests.sendmail.support import ConfiguredGuard, policy

QUICK = {"interval": 0.5, "timeout": 1, "rise": 1, "fall": 1}
"""Health that is found out in no time."""
PROBE = ["HELO", "MAIL", "QUIT"]
DENIED = b"550 5.7.1 Relaying denied\r\n"
_STARTED = re.compile(rb"([A-Za-z]+)")


class Scripted:
    """A mail server that does as it is told, and knows who was there.

    `banner` is what it says first, unless it is `silent`; with b"" it closes at once.  `rcpt` answers a RCPT.  It can
    go away, so that nothing connects, and come back at the same place.
    """

    def __init__(
        self,
        name: str,
        banner: bytes | None = None,
        rcpt: bytes = DENIED,
        replies: Mapping[str, bytes] | None = None,
        unwanted: tuple[bytes, bytes] | None = None,
    ) -> None:
        """`banner` is a greeting with the name if not given.

        `replies` are others than usual, by verb; b"" closes instead.  `unwanted` is what is in the PROXY header of
        those who get another banner, and that.
        """
        self.name = name
        self.silent = False
        self.banner: bytes = f"220 {name} ESMTP\r\n".encode() if banner is None else banner
        self.rcpt = rcpt
        self._replies = replies or {}
        self._unwanted = unwanted
        self.lines: list[bytes] = []
        """All that was read."""
        self.connects: list[float] = []
        self._said: list[list[str]] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.address = "127.0.0.1", 0

    def __enter__(self) -> Self:
        """Listen."""
        self.address = free_address()  # while it is away nobody else gets its place
        self.come_back()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Go away."""
        self.go_away()

    def come_back(self) -> None:
        """Listen, where it has listened before."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(self.address)
        listener.listen(64)
        self.address = listener.getsockname()
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def go_away(self) -> None:
        """Listen no more, and reset whoever is there."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # so that accept ends
            listener.close()
        with self._lock:
            connections = list(self._open)
        for one in connections:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def connected(self) -> int:
        """Return how many are connected now."""
        with self._lock:
            return len(self._open)

    def sessions(self) -> list[list[str]]:
        """Return the verbs that each connection has said so far."""
        with self._lock:
            return [list(said) for said in self._said]

    def clients(self) -> list[list[str]]:
        """Return those of the connections that were no check and no relay check."""
        return [said for said in self.sessions() if said[:2] not in (PROBE[:2], []) and said[:1] != ["HELO"]]

    def probes(self) -> int:
        """Return how many checks there have been."""
        return self.sessions().count(PROBE)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self.connects.append(time.monotonic())
                said: list[str] = []
                self._said.append(said)
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection, said), daemon=True).start()

    def _serve(self, connection: socket.socket, said: list[str]) -> None:
        try:
            with connection, contextlib.suppress(OSError):
                if self._unwanted is not None:
                    header = connection.recv(107)  # no client says anything before the banner
                    connection.sendall(self._unwanted[1] if self._unwanted[0] in header else self.banner)
                elif not self.silent:
                    connection.sendall(self.banner)
                if self.banner or self.silent:
                    self._talk(connection, said)
        finally:
            with self._lock:
                self._open.discard(connection)

    def _talk(self, connection: socket.socket, said: list[str]) -> None:
        replies = {"RCPT": self.rcpt, "MAIL": b"250 2.1.0 ok\r\n", "QUIT": b"221 2.0.0 bye\r\n"}
        with connection.makefile("rb") as lines:
            for line in lines:
                match = _STARTED.match(line)
                verb = match[1].decode().upper() if match else "?"
                with self._lock:
                    self.lines.append(line)
                    if verb == "PROXY":
                        continue
                    said.append(verb)
                reply = {**replies, **self._replies}.get(verb, f"250 2.0.0 {self.name}\r\n".encode())
                connection.sendall(reply)
                if verb == "QUIT" or not reply:
                    return


class Mortal(RealSendmail):
    """A sendmail that only takes mail into its queue, and can be killed and started again, its queue as it was."""

    def __init__(self, log_level: int = 9, extra_mc: str = "") -> None:
        """What was accepted stays in the queue, where it can be counted."""
        super().__init__(log_level=log_level, extra_mc=f"define(`confDELIVERY_MODE', `queueonly')dnl\n{extra_mc}")

    def end(self, by: signal.Signals) -> None:
        """End the daemon and its children: at once by SIGKILL, or as an administrator does by SIGTERM."""
        process, self._process = self._process, None
        assert process is not None
        end_processes(process, by)
        (self._directory() / "pid").unlink(missing_ok=True)

    def begin_again(self) -> None:
        """Start it once more."""
        self._start(self._directory())

    def queued(self) -> list[str]:
        """Return the contents of all messages in its queue."""
        queue = self._directory() / "queue"
        return [
            (queue / f"df{control.name[2:]}").read_bytes().decode("latin-1") for control in sorted(queue.glob("qf*"))
        ]


def guard_for(
    folder: Path,
    backends: Sequence[tuple[str, int]],
    settings: Mapping[str, object] | None = None,
    **backend: object,
) -> ConfiguredGuard:
    """Return a guard with several backends; everybody is outside."""
    section = {"endpoint": [client_endpoint(*one) for one in backends], "health": QUICK, **backend}
    text = policy(internal=("192.0.2.0/24",))
    return ConfiguredGuard(folder, backends[0], text, {"backend": section, **(settings or {})})


def wait_log(guard: ConfiguredGuard, text: str, count: int = 1, seconds: float = 20) -> None:
    """Wait until the guard's log has it so often."""
    wait_until(
        lambda: sum(text in line for line in guard.lines()) >= count,
        f"{text!r} in the log",
        seconds,
        lambda: "\n".join(guard.lines()),
    )


def wait_asked(guard: ConfiguredGuard, servers: int = 2) -> None:
    """Wait until each of them has been asked at the start whether it relays; under `enforce` none is used before."""
    wait_log(guard, "relay check: ", servers)


def wait_quiet(*servers: Scripted) -> None:
    """Wait until what the guard asks each of them at its start is over: else it finds out by itself what comes next."""
    wait_until(lambda: all(one.connects and not one.connected() for one in servers), "the guard's own questions")


def free_address() -> tuple[str, int]:
    """Return a place where nobody listens."""
    return "127.0.0.1", free_port()
