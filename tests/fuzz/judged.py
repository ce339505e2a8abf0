"""Guards that do not guard: what shows that the oracle sees.

Contract: drop-in stand-ins for the guard in the arena.  `Forwarder` passes every octet both ways.
`Filter` is what is often written first: it cuts at CRLF, refuses lines that start with a bad word,
and believes the client's own DATA.  Neither is of any use but to be found out.
"""

from __future__ import annotations

from typing import Final

from smtpguard.smtp.effects import Close
from tests.smtp.test_streams import REFUSED

BAD_WORDS: Final = tuple(REFUSED)


class Forwarder:
    """Passes every octet."""

    hungry = True

    def __init__(self) -> None:
        self.closed: Close | None = None
        self._to_client = b""
        self._to_backend = b""

    def client(self, octets: bytes) -> None:
        if self.closed is None:
            self._to_backend += octets

    def backend(self, octets: bytes) -> None:
        if self.closed is None:
            self._to_client += octets

    def client_finished(self) -> None:
        self.closed = self.closed or Close(abort_backend=False, linger=False)

    backend_lost = timed_out = client_finished

    def end_delays(self) -> None:
        """There are none."""

    def take_client(self) -> bytes:
        octets, self._to_client = self._to_client, b""
        return octets

    def take_backend(self) -> bytes:
        octets, self._to_backend = self._to_backend, b""
        return octets


class Filter(Forwarder):
    """Looks at how lines start."""

    def __init__(self) -> None:
        super().__init__()
        self._line = b""
        self._data = False

    def client(self, octets: bytes) -> None:
        *lines, self._line = (self._line + octets).split(b"\r\n")
        for line in lines:
            if self._data:
                self._data = line != b"."
            elif line.upper().startswith(BAD_WORDS):
                self.backend(b"502 5.7.0 Not here\r\n")
                continue
            else:
                self._data = line.upper() == b"DATA"
            super().client(line + b"\r\n")

    def client_finished(self) -> None:
        super().client(self._line)
        super().client_finished()
