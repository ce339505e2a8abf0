"""Two ends in TLS between transports in memory."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from smtpguard.net.secure import SecureTransport
from smtpguard.tls.engine import TlsEngine, TlsFault
from tests.tls.ends import CLIENTS, SERVER
from tests.tls.support import Split, whole

from ..sessions.stage import Wire


class End:
    """One end: its transport in memory, and what it was told, in order."""

    def __init__(self, *, server: bool, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        self.raw = Wire()
        self.told: list[str] = []
        self.got = bytearray()
        self.fault: TlsFault | None = None
        self.then: dict[str, Callable[[], None]] = {}
        """What this end does when it is told something."""
        context = SERVER if server else CLIENTS[version]
        self.engine = TlsEngine(context, server=server, name=None if server else "mx.test")
        self.secure = SecureTransport(
            self.raw,
            self.engine,
            on_established=lambda: self._tell("established"),
            on_plain=self._plain,
            on_finished=lambda: self._tell("finished"),
            on_fault=self._fault,
        )

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self.then.get(what, lambda: None)()

    def _plain(self, octets: bytes) -> None:
        self.got += octets
        self._tell("plain")

    def _fault(self, fault: TlsFault) -> None:
        self.fault = fault
        self._tell("fault")


def carry(*ends: End, split: Split = whole) -> None:
    """Carry octets between two ends until none are under way."""
    one, other = ends
    while one.raw.value() or other.raw.value():
        for sender, receiver in ((one, other), (other, one)):
            for segment in split(sender.raw.take()):
                receiver.secure.received(segment)


def two(*, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, split: Split = whole, shake: bool = True) -> list[End]:
    """Return a client and a server, which have shaken hands."""
    client, server = ends = [End(server=False, version=version), End(server=True)]
    server.secure.begin()
    assert server.raw.value() == b""
    client.secure.begin()
    if shake:
        carry(*ends, split=split)
        assert client.told == server.told == ["established"]
    return ends
