"""A server that does what a test says, and keeps what it was sent and how each connection ended."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from tests.rig.wait import wait_until

CRLF: Final = re.compile(rb"\r\n")
ANY_END: Final = re.compile(rb"\r?\n")
SECONDS: Final = 20.0
"""After which a connection that hangs ends, so that no test does."""


@dataclass
class Session:
    """One connection as the server saw it."""

    received: bytearray = field(default_factory=bytearray)
    was_reset: bool = False
    over: bool = False


class Peer:
    """The server's side of a connection."""

    def __init__(self, connected: socket.socket, session: Session) -> None:
        self.socket = connected
        self.session = session
        self._unread = b""

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def line(self, end: re.Pattern[bytes] = CRLF) -> bytes | None:
        """Return the next line without its end; None when there is no more."""
        while (match := end.search(self._unread)) is None:
            octets = self.socket.recv(4096)
            if not octets:
                return None
            self.session.received += octets
            self._unread += octets
        line, self._unread = self._unread[: match.start()], self._unread[match.end() :]
        return line

    def rest(self) -> None:
        """Read to the end."""
        while octets := self.socket.recv(4096):
            self.session.received += octets


Script = Callable[[Peer], None]


class Scripted:
    """A listener at 127.0.0.1 that plays `script` for every connection, one after the other."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._done = threading.Event()
        self.sessions: list[Session] = []
        self.faults: list[BaseException] = []
        self._thread = threading.Thread(target=self._serve, name="scripted", daemon=True)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        # Wake `accept`.
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
            pass
        self._thread.join(SECONDS)
        self._listener.close()
        assert kind is not None or not self.faults, self.faults

    def wait(self, count: int) -> list[Session]:
        """Wait until `count` connections are over; return all."""

        def over() -> list[Session] | None:
            return list(self.sessions) if sum(one.over for one in self.sessions) >= count else None

        return wait_until(over, f"{count} connections to be over")

    def _serve(self) -> None:
        while True:
            connected, _ = self._listener.accept()
            with connected:
                if self._done.is_set():
                    return
                session = Session()
                self.sessions.append(session)
                connected.settimeout(SECONDS)
                peer = Peer(connected, session)
                try:
                    self._script(peer)
                except ConnectionResetError:
                    session.was_reset = True
                except (BrokenPipeError, TimeoutError):
                    pass
                except Exception as fault:  # noqa: BLE001 - shown by the test that has caused it
                    self.faults.append(fault)
                # In TLS it is another one.
                peer.socket.close()
                session.over = True


REFUSING: Final[Mapping[bytes, bytes | None]] = {
    b"EHLO": b"250-fake.test\r\n250 PIPELINING\r\n",
    b"MAIL": b"250 2.1.0 Ok\r\n",
    b"RCPT TO:<POSTMASTER": b"250 2.1.5 Ok\r\n",
    b"RCPT": b"550 5.7.1 Relaying denied\r\n",
    b"RSET": b"250 2.0.0 Ok\r\n",
    b"NOOP": b"250 2.0.0 Ok\r\n",
    b"DATA": b"503 5.5.1 Need RCPT\r\n",
    b"VRFY": b"252 2.5.2 Cannot VRFY user\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
    b"GET": None,
    b"": b"500 5.5.1 Command unrecognized\r\n",
}
"""A server at which there is nothing to find; None closes."""


def table(
    replies: Mapping[bytes, bytes | None] | None = None,
    banner: bytes = b"220 fake.test ESMTP\r\n",
    end: re.Pattern[bytes] = CRLF,
) -> Script:
    """Return a script that answers by what a line begins with, in upper case; the longest entry decides."""
    known = {**REFUSING, **(replies or {})}

    def script(peer: Peer) -> None:
        peer.send(banner)
        while (line := peer.line(end)) is not None:
            entry = max((one for one in known if line.upper().startswith(one)), key=len)
            reply = known[entry]
            if reply is None:
                return
            peer.send(reply)
            if reply.startswith(b"354"):
                peer.rest()
                return
            if entry == b"QUIT":
                return

    return script
