"""A small blocking SMTP talker that shows every byte it gets."""

from __future__ import annotations

import re
import socket
import struct
from types import TracebackType
from typing import Self

_LINE = re.compile(rb"([2-5][0-9][0-9])([ -][^\r\n]*)?\r\n")


class NotSmtp(AssertionError):
    """What came from the server is not one complete SMTP reply."""


class Talk:
    """One SMTP connection, seen from the client.

    `source` is the address the connection comes from; it is left to the system if it
    is None or if `host` is an IPv6 address.  With `greet` the greeting is read at
    once and kept in `banner` (form as of say); without it `banner` is "".  No call
    blocks longer than `seconds` without a byte coming: then TimeoutError.
    """

    def __init__(
        self,
        host: str,
        port: int,
        source: str | None = "127.0.0.2",
        greet: bool = True,
        seconds: float = 20,
    ) -> None:
        """Connect, and read the greeting if `greet`."""
        origin = (source, 0) if source is not None and ":" not in host else None
        self._socket = socket.create_connection((host, port), seconds, origin)
        self._unread = b""
        try:
            self.banner = self._text(self.reply()) if greet else ""
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection without a QUIT."""
        self.close()

    @property
    def source(self) -> tuple[str, int]:
        """The own address and port of the connection."""
        name = self._socket.getsockname()
        return str(name[0]), int(name[1])

    def send(self, data: bytes) -> None:
        """Send exactly these bytes."""
        self._socket.sendall(data)

    def say(self, line: bytes | str) -> str:
        """Send `line` and CRLF; return one reply, its lines joined by "\\n".

        Text goes and comes as Latin-1, so that no byte is lost; the CRLF at the end
        of the reply is cut off, and no other byte.
        """
        raw = line.encode("latin-1") if isinstance(line, str) else line
        self.send(raw + b"\r\n")
        return self._text(self.reply())

    def replies(self, count: int) -> list[str]:
        """Return the next `count` replies, in the form of say."""
        return [self._text(self.reply()) for _ in range(count)]

    def reply(self) -> bytes:
        """Return one complete reply, byte for byte, up to its last CRLF.

        NotSmtp is raised if a line is no reply line ended by CRLF, if the lines of
        one reply differ in their code, or if the connection ends before the reply.
        """
        whole = b""
        code = b""
        while True:
            line = self._line(whole)
            whole += line
            match = _LINE.fullmatch(line)
            if match is None:
                raise NotSmtp(f"not a reply line: {line!r} in {whole!r}")
            if code and match[1] != code:
                raise NotSmtp(f"two codes in one reply: {whole!r}")
            code = match[1]
            if not (match[2] or b"").startswith(b"-"):
                return whole

    def rest(self) -> bytes:
        """Return all bytes until the server ends its side; a reset is an OSError."""
        parts = [self._unread]
        self._unread = b""
        while part := self._socket.recv(65536):
            parts.append(part)
        return b"".join(parts)

    def closed(self) -> bool:
        """Wait until the server sends something or ends; tell if it has ended.

        True also for a reset.  False means that bytes came; they are not lost, the
        next reply or rest returns them.  If neither happens: TimeoutError.
        """
        if self._unread:
            return False
        try:
            self._unread = self._socket.recv(65536)
        except ConnectionError:
            return True
        return not self._unread

    def quiet(self, seconds: float) -> bool:
        """Tell if for `seconds` the server neither sends a byte nor ends."""
        if self._unread:
            return False
        usual = self._socket.gettimeout()
        self._socket.settimeout(seconds)
        try:
            self._unread = self._socket.recv(65536)
        except TimeoutError:
            return True
        except ConnectionError:
            return False
        finally:
            self._socket.settimeout(usual)
        return False

    def half_close(self) -> None:
        """End the own direction; the server's can still be read."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close the connection so that nothing can be sent either way any more, and the server knows that at once."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Close the connection; harmless twice."""
        self._socket.close()

    def _line(self, before: bytes) -> bytes:
        """Return the bytes up to and with the next LF; `before` is for the error."""
        while b"\n" not in self._unread:
            part = self._socket.recv(65536)
            if not part:
                raise NotSmtp(f"the connection ended after {before + self._unread!r}")
            self._unread += part
        line, end, self._unread = self._unread.partition(b"\n")
        return line + end

    @staticmethod
    def _text(raw: bytes) -> str:
        """Return a reply as text: lines joined by LF, none at the end."""
        return raw.removesuffix(b"\r\n").replace(b"\r\n", b"\n").decode("latin-1")
