"""An admin endpoint in a process of its own, with a service behind it that does nothing.

`python -m tests.admin.serving REACTOR WISHES PLACE...`: tells its addresses in a line of JSON when it listens.  WISHES
is a JSON object: `status` (what differs from the sample, or null for one that fails), `ready`.  Bans: 192.0.2.7 can be
lifted, once.
"""

from __future__ import annotations

import json
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import frozen

from smtpguard.admin.endpoint import AdminEndpoint
from smtpguard.ledger.lifting import concerned
from smtpguard.metrics.exposition import Exposition
from smtpguard.metrics.totals import Totals
from smtpguard.transport.reactor import install
from tests.admin.sample import status
from tests.rig.guard import ROOT

START_SECONDS = 20


class Canned:
    """A View."""

    def __init__(self, wishes: dict[str, Any]) -> None:
        self._status = wishes.get("status", {})
        self._ready = wishes.get("ready", True)
        self._exposition = Exposition(Totals())
        self._bans = [{"key": "192.0.2.7", "limit": "scanners"}]
        self.made = 0

    def status(self) -> dict[str, Any]:
        if self._status is None:
            raise RuntimeError("xyzzy")
        self.made += 1
        return status(made=self.made, **self._status)

    def ready(self) -> tuple[bool, str]:
        return self._ready, "" if self._ready else "relay check without an answer yet"

    def exposition(self, openmetrics: bool) -> bytes:
        return self._exposition.of(self.status(), openmetrics)

    def incidents(self) -> list[dict[str, Any]]:
        incidents: list[dict[str, Any]] = self.status()["incidents"]
        return incidents

    def bans(self) -> list[dict[str, Any]]:
        return self._bans

    def shadow(self) -> list[list[Any]]:
        """Nothing is in shadow."""
        return []

    def lift(self, address: str) -> list[str]:
        gone = concerned(address, [ban["key"] for ban in self._bans])
        self._bans = [ban for ban in self._bans if ban["key"] not in gone]
        return gone


@frozen
class Served:
    """Where to ask."""

    places: list[Any]
    """(host, port), or the path of a unix socket, for each place."""
    process: subprocess.Popen[str]

    def connect(self, place: int = 0) -> socket.socket:
        """Return a connection."""
        at = self.places[place]
        made = socket.socket(socket.AF_UNIX if isinstance(at, str) else socket.AF_INET, socket.SOCK_STREAM)
        made.settimeout(START_SECONDS)
        made.connect(at if isinstance(at, str) else tuple(at))
        return made

    def ask(self, request: bytes, place: int = 0) -> tuple[int, dict[str, str], bytes]:
        """Send octets, and return status, headers and body of what comes until the end."""
        with self.connect(place) as made:
            made.sendall(request)
            return parted(rest(made))

    def get(self, path: str, place: int = 0, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """GET."""
        return self.ask(head("GET", path, **headers), place)

    def post(self, body: bytes, place: int = 0, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """POST to /bans/lift."""
        given = {"content_type": "application/json", "content_length": str(len(body)), **headers}
        return self.ask(head("POST", "/bans/lift", **given) + body, place)


def head(method: str, path: str, **headers: str) -> bytes:
    """Return a request's head; an underscore in the name of a header is a hyphen."""
    fields = {"host": "localhost", **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def rest(connection: socket.socket) -> bytes:
    """Return all that comes, up to the end or a reset."""
    found = b""
    try:
        while more := connection.recv(65536):
            found += more
    except ConnectionResetError:
        pass
    return found


def parted(response: bytes) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers (by lower-case name) and body."""
    top, _, body = response.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert first.startswith("HTTP/1.1 "), response[:200]
    return int(first.split()[1]), headers, body


@contextmanager
def served(reactor: str, *places: str, **wishes: Any) -> Iterator[Served]:
    """Run one."""
    command = [sys.executable, "-W", "error", "-m", "tests.admin.serving", reactor, json.dumps(wishes), *places]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            there, _, _ = select.select([process.stdout], [], [], START_SECONDS)
            line = process.stdout.readline() if there else ""
            assert line, f"it did not start\n{process.stderr.read() if process.poll() is not None else ''}"  # type: ignore[union-attr]
            yield Served(json.loads(line), process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def main(kind: Any, wishes: str, places: Sequence[str]) -> None:
    """Serve until SIGTERM."""
    install(kind)
    from twisted.internet import reactor as installed  # noqa: TID251 - a process of its own

    reactor: Any = installed
    admin = AdminEndpoint(reactor, places, Canned(json.loads(wishes)), lambda text, _: print(text, file=sys.stderr))  # noqa: T201

    def start() -> None:
        signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(stop))
        admin.start()
        told = [
            [at.host, at.port] if hasattr(at, "port") else at and at.name and at.name.decode() for at in admin.addresses
        ]
        print(json.dumps(told), flush=True)  # noqa: T201

    def stop() -> None:
        admin.stop()
        reactor.callLater(0, reactor.stop)

    reactor.callWhenRunning(start)
    reactor.run(installSignalHandlers=False)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
