"""A server that follows the standard and wants everything: the fuzzer's yardstick.

Contract: a `Server` as the models are, with no laxity at all.  What it runs and accepts is what the
RFCs say of the octets that it got; it offers CHUNKING.
"""

from __future__ import annotations

import re
from typing import ClassVar

from tests.models.server import CANARY, Accepted, Executed, Server

_CHUNK = re.compile(rb"([0-9]{1,9})( LAST)?", re.IGNORECASE)

_ANSWERS = {b"PLAIN": 1, b"CRAM-MD5": 1, b"LOGIN": 2}
"""SASL responses that a mechanism takes."""


class Plain(Server):
    """Strict and willing."""

    name: ClassVar[str] = "plain"

    def __init__(self) -> None:
        super().__init__()
        self._input = b""
        self._content = False
        self._sasl = 0
        self._serial = 0
        self._mail = False
        self._rcpt = 0
        self._nodata = False
        self._chunk: tuple[int, bool] | None = None
        self._chunks: list[bytes] = []

    def greet(self) -> bytes:
        return b"220 mx.test ESMTP\r\n"

    def feed(self, octets: bytes) -> list[bytes]:
        self._input += octets
        replies = []
        while not self.closed and (reply := self._next()) is not None:
            replies.append(reply)
        return replies

    def finish(self) -> None:
        self.closed = True

    def _next(self) -> bytes | None:
        if self._content:
            return self._take_content()
        if self._chunk is not None:
            return self._take_chunk(*self._chunk)
        line, newline, rest = self._input.partition(b"\r\n")
        if not newline:
            return None
        self._input = rest
        if self._sasl:
            self._sasl -= 1
            return b"235 2.7.0 in\r\n" if not self._sasl else b"334 UGFzc3dvcmQ6\r\n"
        verb = line.split(b" ")[0].upper()
        self.executed.append(Executed(verb, line))
        self._serial += 1
        return self._run(verb, line) or b""

    def _take_content(self) -> bytes | None:
        end = (b"\r\n" + self._input).find(b"\r\n.\r\n")
        if end < 0:
            return None
        raw, self._input = self._input[:end], self._input[end + 3 :]
        self._content = False
        return self._accept(Accepted(raw))

    def _take_chunk(self, count: int, last: bool) -> bytes | None:
        if len(self._input) < count:
            return None
        self._chunks.append(self._input[:count])
        self._input = self._input[count:]
        self._chunk = None
        if not self._rcpt:
            return self._tagged("503 5.5.1", b"BDAT")
        return self._accept(Accepted(b"".join(self._chunks), chunked=True)) if last else b"250 2.0.0 go on\r\n"

    def _accept(self, message: Accepted) -> bytes:
        self.messages.append(message)
        self._reset()
        return b"250 2.0.0 taken\r\n"

    def _reset(self) -> None:
        self._mail, self._rcpt, self._nodata, self._chunks = False, 0, False, []

    def _tagged(self, code: str, verb: bytes, text: bytes = b"ok") -> bytes:
        return b"%b %b #%d %b\r\n" % (code.encode(), verb, self._serial, text)

    def _run(self, verb: bytes, line: bytes) -> bytes | None:
        code, text = "250 2.0.0", b"ok"
        match verb:
            case b"EHLO":
                self._reset()
                words = [b"PIPELINING", b"SIZE", b"8BITMIME", b"SMTPUTF8", b"CHUNKING", b"AUTH PLAIN LOGIN"]
                return b"250-mx.test EHLO #%d\r\n250-%b\r\n250 HELP\r\n" % (self._serial, b"\r\n250-".join(words))
            case b"HELO" | b"RSET":
                self._reset()
            case b"MAIL" if self._mail:
                code = "503 5.5.1"
            case b"MAIL":
                self._mail = True
            case b"RCPT":
                code = self._recipient(line)
            case b"DATA":
                code = "503 5.5.1" if not self._rcpt else "451 4.3.0" if self._nodata else "354"
                self._content = code == "354"
            case b"AUTH":
                words = line.split(b" ")
                owed = _ANSWERS.get(words[1].upper(), 0) - len(words[2:]) if words[1:] else -1
                code = "334" if owed > 0 else "504 5.5.4" if owed < 0 else "235 2.7.0"
                self._sasl = max(owed, 0)
            case b"QUIT":
                self.closed = True
                code = "221 2.0.0"
            case b"BDAT":
                if match := _CHUNK.fullmatch(line.partition(b" ")[2]):
                    self._chunk = int(match.group(1)), match.group(2) is not None
                    return self._next()
                code = "501 5.5.4"
            case b"VRFY" | b"EXPN" | b"HELP":
                text = CANARY
            case b"NOOP":
                pass
            case _:
                code = "500 5.5.1"
        return self._tagged(code, verb, text)

    def _recipient(self, line: bytes) -> str:
        if not self._mail:
            return "503 5.5.1"
        if b"<refused@" in line:
            return "550 5.1.1"
        if b"<later@" in line:
            return "451 4.3.0"
        self._nodata |= b"<nodata@" in line
        self._rcpt += 1
        return "250 2.1.5"
