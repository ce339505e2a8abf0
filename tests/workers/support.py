"""A guard of several processes, and which of them does what."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.rig.client import Talk
from tests.rig.guard import Guard
from tests.rig.sendmail import RealSendmail
from tests.rig.wait import wait_until
from tests.sendmail.support import ConfiguredGuard, policy

_BUSY = re.compile(r"421 4\.3\.2 \S+ Too many connections, try again later")
_ENDED = re.compile(r"^\w{8}([0-9]{6,}): .*disconnect from")


def workers_guard(
    folder: Path,
    server: RealSendmail,
    settings: Mapping[str, object] | None = None,
    workers: object = 2,
    listen: Sequence[str] = ("127.0.0.1",),
) -> ConfiguredGuard:
    """Return a guard with workers; everybody is outside."""
    text = policy(internal=("192.0.2.0/24",))
    backend = server.address, server.port
    return ConfiguredGuard(folder, backend, text, {"workers": workers, **(settings or {})}, listen)


def workers_of(guard: Guard) -> list[int]:
    """Return the process ids of the workers, which are the supervisor's children, the clerk apart."""
    return [pid for pid in children_of(guard.pid) if title_of(pid).startswith("smtpguard-w")]


def clerk_of(guard: Guard) -> int | None:
    """Return the process id of the clerk, if there is one now."""
    return next((pid for pid in children_of(guard.pid) if title_of(pid) == "smtpguard-clerk"), None)


def title_of(pid: int) -> str:
    """Return what ps(1) calls a process; nothing if it has gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def children_of(pid: int) -> list[int]:
    """Return the process ids of a process's children."""
    return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def two_workers(guard: Guard, other_than: int = 0) -> list[int]:
    """Wait until there are two, and the one that was killed is none of them."""

    def there() -> list[int] | None:
        found = workers_of(guard)
        return found if len(found) == 2 and other_than not in found else None

    return wait_until(there, "two workers", 20)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a worker, as if it hung; it is killed at the end, since nobody else could end it if a test fails."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def connections_of(pid: int, port: int) -> int:
    """Return how many connections with clients of `port` a process has."""
    inodes = _sockets_of(pid)
    return sum(one in inodes for one in _established(port))


def owner(guard: Guard, client: Talk) -> int:
    """Return the worker that serves a client."""
    port = client.source[1]

    def found() -> int | None:
        wanted = _established(guard.port, port)
        return next((pid for pid in workers_of(guard) if wanted & _sockets_of(pid)), None)

    return wait_until(found, f"a worker with the connection from port {port}", 20)


def client_of(guard: Guard, worker: int, source: str = "127.0.0.2") -> Talk:
    """Return a client that is served by this worker: the kernel chooses by the client's port, so many are tried."""
    for _ in range(60):
        client = Talk("127.0.0.1", guard.port, source)
        if owner(guard, client) == worker:
            return client
        client.say("QUIT")
        client.close()
    raise AssertionError(f"60 clients, and none of them came to {worker}")


def ended_in(guard: Guard) -> Counter[int]:
    """Return how many sessions each process has told the end of."""
    return Counter(int(match[1]) for line in guard.lines() if (match := _ENDED.match(line)))


def is_busy(client: Talk) -> bool:
    """Tell if a client was turned away for a limit; any other greeting than that and a 220 is an error."""
    assert client.banner.startswith("220 ") or _BUSY.fullmatch(client.banner), client.banner
    return not client.banner.startswith("220 ")


def accepts(port: int) -> bool:
    """Tell if anybody listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _sockets_of(pid: int) -> set[str]:
    found = set()
    try:
        for one in Path(f"/proc/{pid}/fd").iterdir():
            match = re.fullmatch(r"socket:\[(\d+)\]", str(one.readlink())) if one.is_symlink() else None
            if match is not None:
                found.add(match[1])
    except FileNotFoundError:  # it has been closed, or the process has ended
        pass
    return found


def _established(port: int, client_port: int | None = None) -> set[str]:
    """Return the inodes of the guard's ends of connections to `port`."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        here, there, state = int(fields[1][-4:], 16), int(fields[2][-4:], 16), fields[3]
        if here == port and state == "01" and client_port in (None, there):
            found.add(fields[9])
    return found
