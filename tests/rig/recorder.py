"""A TCP relay on loopback that keeps every byte of both directions."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

from .wait import wait_until


class Recording:
    """What went over one connection so far; may grow while it is read."""

    def __init__(self, client: tuple[str, int]) -> None:
        """Start with nothing, for the connection that comes from `client`."""
        self.client = client
        self._lock = threading.Lock()
        self._from_client = bytearray()
        self._from_server = bytearray()
        self._open_directions = 2

    @property
    def client_bytes(self) -> bytes:
        """The bytes the client has sent."""
        with self._lock:
            return bytes(self._from_client)

    @property
    def server_bytes(self) -> bytes:
        """The bytes the server has sent."""
        with self._lock:
            return bytes(self._from_server)

    @property
    def finished(self) -> bool:
        """True when both directions have ended, so that nothing can follow."""
        with self._lock:
            return self._open_directions == 0

    def add(self, from_client: bool, data: bytes) -> None:
        """Append bytes of one direction; for Recorder."""
        with self._lock:
            (self._from_client if from_client else self._from_server).extend(data)

    def end_direction(self) -> None:
        """Note that one direction has ended; for Recorder."""
        with self._lock:
            self._open_directions -= 1


class Recorder:
    """A relay from a free port of `host` to `target`, for the time of a `with` block.

    Every byte is passed on after it is kept: who sees an answer can be sure that
    what it answers is in the recording.  The end of one direction is passed on as
    the end of that direction only; a reset as an end.  With `keep_source`, a client
    with an IPv4 loopback address is seen by an IPv4 target under that same address.
    """

    def __init__(self, target: tuple[str, int], host: str = "127.0.0.1", keep_source: bool = True) -> None:
        """Only take the settings; listening starts on entry."""
        self._target = target
        self._host = host
        self._keep_source = keep_source and ":" not in target[0]
        self._lock = threading.Lock()
        self._recordings: list[Recording] = []
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._listener: socket.socket | None = None

    def __enter__(self) -> Self:
        """Listen."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._listener = socket.create_server((self._host, 0), family=family, backlog=128)
        self._run(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all connections and end all threads; the recordings stay readable."""
        with self._lock:
            self._closing = True
            sockets = list(self._sockets)
        if self._listener is not None:
            sockets.append(self._listener)
        for one in sockets:
            _shut(one, socket.SHUT_RDWR)
        # Shut, then joined, then closed: closing first would leave a thread in recv
        # for ever, or let it read from a new socket with the same number.
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(5)
        for one in sockets:
            one.close()

    @property
    def host(self) -> str:
        """The address it listens on."""
        return self._host

    @property
    def port(self) -> int:
        """The port it listens on; only after entry."""
        assert self._listener is not None, "the recorder has not been entered"
        return int(self._listener.getsockname()[1])

    @property
    def connections(self) -> list[Recording]:
        """The recordings so far, in the order the connections came."""
        with self._lock:
            return list(self._recordings)

    def finished(self, count: int, seconds: float = 20) -> list[Recording]:
        """Wait until `count` connections came and all that came have ended.

        Return all recordings, in the order of connections.
        """

        def complete() -> bool:
            found = self.connections
            return len(found) >= count and all(one.finished for one in found)

        wait_until(complete, f"{count} recorded connections to end", seconds, self._story)
        return self.connections

    def _story(self) -> str:
        """Return what has been recorded, for an error text."""
        return "\n".join(
            f"{one.client}: finished={one.finished} client={one.client_bytes!r} server={one.server_bytes!r}"
            for one in self.connections
        )

    def _run(self, work: Callable[[], None]) -> None:
        """Run `work` in a thread that the end of the block waits for."""
        thread = threading.Thread(target=work, name="rig-recorder", daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _keep(self, one: socket.socket) -> bool:
        """Note a socket to be closed at the end; False, and closed, if that has come."""
        with self._lock:
            if not self._closing:
                self._sockets.append(one)
                return True
        one.close()
        return False

    def _accept(self) -> None:
        """Take connections until the listener is shut."""
        assert self._listener is not None
        while True:
            try:
                client, peer = self._listener.accept()
            except OSError:
                return
            if not self._keep(client):
                return
            recording = Recording((str(peer[0]), int(peer[1])))
            with self._lock:
                self._recordings.append(recording)
            self._run(partial(self._serve, client, recording))

    def _serve(self, client: socket.socket, recording: Recording) -> None:
        """Connect to the target and relay both directions until both have ended."""
        address = recording.client[0]
        source = (address, 0) if self._keep_source and address.startswith("127.") else None
        try:
            server = socket.create_connection(self._target, 20, source)
        except OSError:
            # As the client would see it: the connection ends without a byte.
            recording.end_direction()
            recording.end_direction()
            _shut(client, socket.SHUT_RDWR)
            return
        if not self._keep(server):
            return
        server.settimeout(None)
        self._run(partial(_relay, client, server, partial(recording.add, True), recording))
        _relay(server, client, partial(recording.add, False), recording)


def _relay(
    origin: socket.socket,
    target: socket.socket,
    keep: Callable[[bytes], None],
    recording: Recording,
) -> None:
    """Pass bytes on from `origin` to `target` until either ends."""
    try:
        while data := origin.recv(65536):
            keep(data)
            target.sendall(data)
    except OSError:
        # A reset, or the other side takes nothing any more: the other direction
        # would wait for ever if this one only stopped.
        _shut(origin, socket.SHUT_RDWR)
        _shut(target, socket.SHUT_RDWR)
    else:
        _shut(target, socket.SHUT_WR)
    recording.end_direction()


def _shut(one: socket.socket, how: int) -> None:
    """Shut down a socket that may be shut or closed already."""
    with contextlib.suppress(OSError):
        one.shutdown(how)
