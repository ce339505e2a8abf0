"""A mail server that takes everything, guards that log in each way, and clients that misbehave."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.rig.client import Talk
from tests.sendmail.support import ConfiguredGuard, policy

OUTSIDE = ("127.0.0.2", "::1")
"""What is no address of `internal` in these tests, as nothing is."""


class _Session(socketserver.StreamRequestHandler):
    """One client of the mail server."""

    def handle(self) -> None:
        self._say(b"220 backend.test ESMTP")
        in_message = False
        for line in self.rfile:
            if in_message:
                in_message = line != b".\r\n"
                if not in_message:
                    self._say(b"250 2.0.0 Ok")
                continue
            match line.split()[:1]:
                case [verb] if verb.upper() == b"EHLO":
                    self._say(b"250-backend.test\r\n250-AUTH PLAIN LOGIN\r\n250 PIPELINING")
                case [verb] if verb.upper() == b"AUTH":
                    self._say(b"535 5.7.0 authentication failed")
                case [verb] if verb.upper() == b"DATA":
                    in_message = True
                    self._say(b"354 Go on")
                case [verb] if verb.upper() == b"QUIT":
                    self._say(b"221 2.0.0 Bye")
                    return
                case _:
                    self._say(b"250 2.1.0 Ok")

    def _say(self, reply: bytes) -> None:
        self.wfile.write(reply + b"\r\n")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no fault."""


@contextmanager
def mail_server() -> Iterator[tuple[str, int]]:
    """Run the mail server; yield its address."""
    with _Server(("127.0.0.1", 0), _Session) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield "127.0.0.1", server.server_address[1]
        server.shutdown()
        thread.join()


def guard(
    folder: Path,
    backend: tuple[str, int],
    log: Mapping[str, object],
    policy_text: str | None = None,
    wrapper: Sequence[str] = (),
    **settings: object,
) -> ConfiguredGuard:
    """Return a guard on IPv4 and IPv6 for which everybody is outside."""
    text = policy(internal=("192.0.2.0/24",)) if policy_text is None else policy_text
    whole = {"log": log, "dns": {"names": False}, **settings}
    return ConfiguredGuard(folder, backend, text, whole, ("127.0.0.1", "::1"), wrapper)


def clients(running: ConfiguredGuard, greet: bool = True) -> Iterator[Talk]:
    """Yield a client of each address of OUTSIDE, one after the other."""
    for (host, port), source in zip(running.listeners, OUTSIDE, strict=True):
        with Talk(host, port, source, greet=greet) as client:
            yield client


def say_what_is_refused(running: ConfiguredGuard, *commands: bytes) -> None:
    """From each address: each command in a session of its own, to its end."""
    for command in commands:
        for client in clients(running):
            client.send(b"EHLO me.test\r\n" + command + b"\r\nQUIT\r\n")
            client.half_close()
            client.rest()
