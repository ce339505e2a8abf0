"""A mail server for loads and faults: fast, in this process, and as badly behaved as it is told.

Contract: a `MailServer` listens on a port of 127.0.0.1 for the time of a `with` block, on an event loop in a thread of
its own.  How it treats a connection is decided when that is made, by `manner`, which may be changed at any time.
`accepted` holds the body of every message that it said 250 to, or only its first octets.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random  # noqa: TID251 - seeded
from typing import Final, Self

KEPT_OCTETS: Final = 200
"""Of each message: enough for a mark, and no memory to speak of under load."""
HELP: Final = "X" * 400
"""A line of help, of which there are many."""
OCTET_SECONDS: Final = 1.0
"""What this server takes for an octet: that it is slow is what is tested."""
SMALL_OCTETS: Final = 4096
"""The buffer of a socket that is to be full soon."""
_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER (socket(7)): on, for no time."""

Manner = Callable[["Connection"], Awaitable[None]]
"""What is done on a connection; it is closed behind that."""


class Connection:
    """The server's end of one connection."""

    def __init__(self, server: MailServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer

    async def say(self, *lines: str) -> None:
        """Send lines."""
        self.writer.write("".join(f"{line}\r\n" for line in lines).encode("ascii"))
        await self.writer.drain()

    async def line(self) -> bytes:
        """Return the next line without its end; raises EOFError at the end."""
        line = await self.reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return line.rstrip(b"\r\n")

    def reset(self) -> None:
        """End it by a reset."""
        made = self.writer.get_extra_info("socket")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        self.writer.transport.abort()


async def well(connection: Connection) -> None:
    """Serve."""
    await _serve(connection, _everything)


async def silently(connection: Connection) -> None:
    """Accept, and say nothing until the other end goes."""
    await connection.reader.read()


async def never_reading(connection: Connection) -> None:
    """Serve up to DATA, and then take an octet a second."""
    await _serve(connection, _an_octet_a_second)


class AtRandom:
    """Serve, and reset the connection somewhere: before the banner, behind a command, in a message or at its end."""

    def __init__(self, seed: int, one_in: int = 8) -> None:
        self._random = Random(seed)
        self._one_in = one_in

    async def __call__(self, connection: Connection) -> None:
        if self._strikes():
            connection.reset()
            return
        await _serve(connection, self._content, self._strikes)

    def _strikes(self) -> bool:
        return self._random.randrange(self._one_in) == 0

    async def _content(self, connection: Connection) -> bytes | None:
        content = b""
        while True:
            line = await connection.line()
            if self._random.randrange(self._one_in * 8) == 0:
                return None
            if line == b".":
                return None if self._strikes() else content
            content += line + b"\n"


async def _everything(connection: Connection) -> bytes | None:
    """Read a message up to its end, and return the beginning."""
    kept, tail = b"", b"\r\n"
    while True:
        octets = await connection.reader.read(65536)
        if not octets:
            raise EOFError
        if len(kept) < KEPT_OCTETS:
            kept += octets[:KEPT_OCTETS]
        tail = (tail + octets)[-5:]
        if tail == b"\r\n.\r\n":
            return kept


async def _an_octet_a_second(connection: Connection) -> bytes | None:
    connection.reader._limit = 1  # type: ignore[attr-defined]  # asyncio reads ahead up to twice this, and then waits
    while await connection.reader.read(1):
        await asyncio.sleep(OCTET_SECONDS)
    raise EOFError


async def _serve(
    connection: Connection,
    content: Callable[[Connection], Awaitable[bytes | None]],
    strikes: Callable[[], bool] = lambda: False,
) -> None:
    await connection.say("220 backend.test ESMTP")
    while True:
        line = await connection.line()
        connection.server.commands += 1
        verb = line[:4].upper()
        if strikes():
            connection.reset()
            return
        if verb == b"EHLO":
            await connection.say("250-backend.test", "250-PIPELINING", "250 8BITMIME")
        elif verb == b"DATA":
            await connection.say("354 Go on")
            message = await content(connection)
            if message is None:
                connection.reset()
                return
            connection.server.accepted.append(message)
            await connection.say("250 2.0.0 Accepted")
        elif verb == b"HELP":
            await connection.say(*(f"214-2.0.0 {HELP}" for _ in range(20)), "214 2.0.0 End")
        elif verb == b"QUIT":
            await connection.say("221 2.0.0 Bye")
            return
        else:
            await connection.say("250 2.0.0 OK")


class MailServer:
    """Listens, in a thread."""

    def __init__(self, manner: Manner = well, small_buffers: bool = False) -> None:
        """`small_buffers`: what the server does not read soon stops the other end."""
        self.manner = manner
        self.accepted: list[bytes] = []
        self.commands = 0
        """Lines that were read as commands."""
        self.connections = 0
        """That have been made, ever."""
        self.open = 0
        """That are there now."""
        self._listening = socket.socket()
        if small_buffers:
            self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_OCTETS)
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(4096)
        self.port: int = self._listening.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="hold-mail-server", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return "127.0.0.1", self.port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._listening.close()
        assert not self._thread.is_alive()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Do nothing at all for the time of a block; the kernel takes connections and octets all the same."""
        thaw, frozen = threading.Event(), threading.Event()

        def freeze() -> None:
            frozen.set()
            thaw.wait(60)

        self._loop.call_soon_threadsafe(freeze)
        assert frozen.wait(20)
        try:
            yield
        finally:
            thaw.set()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._connected, sock=self._listening, backlog=4096)
        )
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            await self.manner(Connection(self, reader, writer))
        except (EOFError, OSError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            writer.transport.abort() if writer.transport.is_closing() else writer.close()
