"""Clients that send mail without a pause, and remember what they were told.

Contract: a `Load` runs for the time of a `with` block, on an event loop in a thread.  Every message has a mark of its
own; `told` has the marks for which a 250 came, `unsure` those whose end was sent and got no reply (RFC 1047: they may
have been accepted), `failed` what went wrong otherwise, one text each.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Final, Self

_SECONDS: Final = 60.0
"""For one reply."""
AGAIN_SECONDS: Final = 0.01
"""Between a client that was not served and its next try: the pace of the load, nothing is waited for."""


class Unserved(Exception):
    """A reply that is not the one hoped for, or the end of the connection; the text says which and to what."""


class Load:
    """Sends mail."""

    def __init__(self, port: int, clients: int, octets: int = 1000, source: str = "127.0.0.1") -> None:
        """`clients` at once, each with one message a session."""
        self.told: set[bytes] = set()
        self.unsure: set[bytes] = set()
        self.failed: Counter[str] = Counter()
        self.seconds: list[float] = []
        """How long each session took that got its 250."""
        self.sessions = 0
        """That have ended, well or not."""
        self._port = port
        self._clients = clients
        self._source = source
        self._body = b"X" * 78 + b"\r\n"
        self._lines = octets // len(self._body)
        self._stopping = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="hold-load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let every client end its session; harmless twice."""
        self._stopping = True
        self._thread.join(_SECONDS + 20)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._all())
        self._loop.close()

    async def _all(self) -> None:
        await asyncio.gather(*(self._client(number) for number in range(self._clients)))

    async def _client(self, number: int) -> None:
        count = 0
        while not self._stopping:
            count += 1
            mark = b"mark-%d-%d" % (number, count)
            began = time.monotonic()
            try:
                await self._session(mark)
            except (OSError, Unserved, TimeoutError) as error:
                self.failed[str(error) if isinstance(error, Unserved) else type(error).__name__] += 1
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                self.seconds.append(time.monotonic() - began)
            self.sessions += 1

    async def _session(self, mark: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(self._source, 0))
        try:
            await self._expect(reader, b"220", "the connection")
            for line, code in (
                (b"EHLO client.test", b"250"),
                (b"MAIL FROM:<a@b.test>", b"250"),
                (b"RCPT TO:<c@d.test>", b"250"),
                (b"DATA", b"354"),
            ):
                writer.write(line + b"\r\n")
                await self._expect(reader, code, line.decode())
            writer.write(b"Subject: " + mark + b"\r\n\r\n" + self._body * self._lines)
            await writer.drain()
            self.unsure.add(mark)
            writer.write(b".\r\n")
            await self._expect(reader, b"250", "the end of a message", mark)
            writer.write(b"QUIT\r\n")
            await self._expect(reader, b"221", "QUIT")
        finally:
            writer.transport.abort()

    async def _expect(self, reader: asyncio.StreamReader, code: bytes, to: str, mark: bytes | None = None) -> None:
        while True:
            line = await asyncio.wait_for(reader.readline(), _SECONDS)
            if not line.endswith(b"\n"):
                raise Unserved(f"the end, to {to}")
            if line[3:4] == b" ":
                break
        if mark is not None:
            self.unsure.discard(mark)
        if not line.startswith(code):
            raise Unserved(f"{line.decode('ascii').rstrip()} to {to}")
        if mark is not None:
            self.told.add(mark)


def marks(bodies: list[bytes]) -> Counter[bytes]:
    """Return how often a mail server has got each mark."""
    return Counter(body.split(b"\r\n", 1)[0].removeprefix(b"Subject: ").split(b"\n")[0] for body in bodies)


def percentile(values: list[float], part: float) -> float:
    """Return the value below which a part of them lies."""
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]
