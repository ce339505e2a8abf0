"""A mail server that accepts everything at once, and remembers what it was given."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections import Counter
from types import TracebackType
from typing import Self

_NUMBER = re.compile(rb"^X-Number: (\S+)\r?$", re.MULTILINE)


class Sink:
    """Runs in a thread, for the time of a `with` block."""

    def __init__(self, relays: bool = False, port: int = 0) -> None:
        """Not there yet; it `relays` for everybody if asked, which may change."""
        self.unclear = False
        """It says neither whether it relays nor that it does not."""
        self.relays = relays
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._there = threading.Event()
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()
        self._connections = 0
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)

    def __enter__(self) -> Self:
        """Listen at a port of 127.0.0.1."""
        self._thread.start()
        assert self._there.wait(20)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Go away."""
        self.close()

    def close(self) -> None:
        """Go away before the end; harmless twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return "127.0.0.1", self.port

    def taken(self) -> Counter[str]:
        """Return how often it has accepted each message, by its X-Number."""
        with self._lock:
            return Counter(self._taken)

    @property
    def connections(self) -> int:
        """How many there have been."""
        with self._lock:
            return self._connections

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._session, "127.0.0.1", self.port, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        self._there.set()
        await self._end.wait()
        server.close()
        mine = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._lock:
            self._connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._talk(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink.test ESMTP\r\n")
        while line := await reader.readline():
            match line[:4].strip().upper():
                case b"DATA":
                    writer.write(b"354 go on\r\n")
                    content = await reader.readuntil(b"\r\n.\r\n")
                    if (number := _NUMBER.search(content)) is not None:
                        with self._lock:
                            self._taken[number[1].decode()] += 1
                    writer.write(b"250 2.0.0 taken\r\n")
                case b"EHLO":
                    writer.write(b"250-sink.test\r\n250 8BITMIME\r\n")
                case b"RCPT" if b"@example.com" in line and self.unclear:
                    writer.write(b"451 4.7.1 perhaps later\r\n")
                case b"RCPT" if b"@example.com" in line and not self.relays:
                    writer.write(b"550 5.7.1 Relaying denied\r\n")
                case b"QUIT":
                    writer.write(b"221 2.0.0 bye\r\n")
                    return
                case _:
                    writer.write(b"250 2.0.0 ok\r\n")
            await writer.drain()
