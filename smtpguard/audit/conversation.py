"""One SMTP conversation over a blocking socket, from the client's side.

Contract: every reply has a deadline and a bound, and what the server does (nothing, garbage, a reset)
is an `Answer`, never an exception.  No message can end here: no octets are sent in which a dot stands
where any server could see a line begin, and once the server waits for a message the only way out is
a reset of the connection.
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Final, Self

from attrs import frozen

from ..journal.lines import printable
from ..smtp.replies import ReplyFault, ReplyReader

LINE_OCTETS: Final = 16_384
"""The longest reply line read; sendmail sends up to 12,325 octets."""
REPLY_OCTETS: Final = 65_536
"""The longest reply read, and the most that is kept of what is no reply."""
ANSWERS: Final = 32
"""The most replies read where it is not known how many come."""
_BLOCK: Final = 4096

# CR, LF and NUL are what some server takes for an end of line.
_DOT_FIRST: Final = re.compile(rb"(?:\A|[\r\n\0])\.")
_CODED: Final = re.compile(rb"([0-9]{3})(?![0-9])(-?)")
_RESET: Final = struct.pack("ii", 1, 0)


@frozen
class Answer:
    """What came back."""

    code: int = 0
    """0 if what came begins with no code of a reply."""
    octets: bytes = b""
    strict: bool = True
    """False if it is not in the form of RFC 5321 4.2."""
    closed: bool = False
    """True if the server ended the connection instead of (the rest of) a reply."""
    over: bool = False
    """True if it did not end within the bounds."""
    waited: float = 0.0
    """Seconds until the whole of it had come."""

    @property
    def lines(self) -> list[bytes]:
        return self.octets.rstrip(b"\r\n").split(b"\r\n") if self.octets else []

    @property
    def text(self) -> bytes:
        """All lines without their codes and enhanced status codes."""
        return b"\n".join(
            re.sub(rb"\A[0-9]{3}[ -]?(?:[245]\.[0-9]{1,3}\.[0-9]{1,3} )?", b"", one) for one in self.lines
        )

    @property
    def said(self) -> str:
        """For the report: the octets escaped, or what happened in their place."""
        shown = printable(b" / ".join(self.lines))
        if self.closed:
            return f"{shown}, then closed the connection" if shown else "closed the connection"
        if self.over:
            return f"{shown}, without end" if shown else "no answer"
        return shown or "an empty line"

    @property
    def is_refusal(self) -> bool:
        """True for a 4yz or 5yz, or a closed connection, or silence."""
        return self.code >= 400 or not self.code

    @property
    def enhanced(self) -> str:
        """The enhanced status code (RFC 3463) of the last line, or ""."""
        match = re.match(rb"[0-9]{3}[ -]([245]\.[0-9]{1,3}\.[0-9]{1,3})\b", self.lines[-1] if self.lines else b"")
        return match.group(1).decode("ascii") if match else ""


class Conversation:
    """One connection.  `until` is when (monotonic) everything has to be over."""

    def __init__(self, connected: socket.socket, timeout: float, until: float) -> None:
        self._socket = connected
        self._timeout = timeout
        self._until = until
        self._unread = bytearray()  # what the reader below was given and has not yet returned
        self._reader = ReplyReader(LINE_OCTETS, REPLY_OCTETS)
        self._ended = False
        self._silent = False  # it ended for us, since no answer came within the bounds
        self._in_message = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    @property
    def own_address(self) -> str:
        """The address literal (RFC 5321 4.1.3) of this side."""
        address = str(self._socket.getsockname()[0]).partition("%")[0]
        return f"[IPv6:{address}]" if ":" in address else f"[{address}]"

    @property
    def ended(self) -> bool:
        """True if nothing more can come."""
        return self._ended

    @property
    def surplus(self) -> bytes:
        """What has come behind the last answer."""
        return bytes(self._unread)

    def put(self, octets: bytes) -> None:
        """Send octets as they are, commands that is; to a server that waits for a message, a reset in their place."""
        if self._in_message:
            self.reset()
        self._send(octets)

    def content(self, octets: bytes) -> None:
        """Send a piece of a message that will never end."""
        if not self._in_message:
            raise ValueError("the server does not wait for a message")
        self._send(octets)

    def _send(self, octets: bytes) -> None:
        if not octets.isascii() or _DOT_FIRST.search(octets):
            raise ValueError("these octets could end a message")
        if self._ended:
            return
        try:
            self._socket.settimeout(self._patience(monotonic() + self._timeout))
            self._socket.sendall(octets)
        except OSError:
            # What it said before it hung up may still be read.
            return

    def say(self, command: bytes) -> Answer:
        """Send a command and CRLF, and read one answer."""
        self.put(command + b"\r\n")
        return self.answer()

    def answer(self, seconds: float | None = None) -> Answer:
        """Read one answer, or say why there is none within `seconds`."""
        begun = monotonic()
        deadline = begun + (self._timeout if seconds is None else seconds)
        strict = True
        while True:
            if strict:
                try:
                    reply = self._reader.take()
                except ReplyFault:
                    strict = False
                    continue
                if reply is not None:
                    return self._answered(reply.code, len(reply.octets), True, begun)
            else:
                code, end = _lenient(self._unread)
                if end:
                    return self._answered(code, end, False, begun)
            if self._ended or len(self._unread) > REPLY_OCTETS or not self._receive(deadline):
                return self._unanswered(begun)

    def answers(self, last: int = 0) -> list[Answer]:
        """Read answers up to one with the code `last`, or until the server closes or falls silent.

        The last of the list is then that, and no reply.
        """
        found: list[Answer] = []
        while len(found) < ANSWERS:
            found.append(self.answer())
            if found[-1].closed or found[-1].over or found[-1].code == last:
                break
        return found

    def _answered(self, code: int, end: int, strict: bool, begun: float) -> Answer:
        octets = bytes(self._unread[:end])
        del self._unread[:end]
        if not strict:
            self._reader = ReplyReader(LINE_OCTETS, REPLY_OCTETS)
            self._reader.append(bytes(self._unread))
        # A 354 that nobody asked for counts too: what follows would be content.
        self._in_message |= code == 354
        return Answer(code, octets, strict, waited=monotonic() - begun)

    def _unanswered(self, begun: float) -> Answer:
        octets = bytes(self._unread)
        self._unread.clear()
        self._reader = ReplyReader(LINE_OCTETS, REPLY_OCTETS)
        # Behind a reply that did not end, or came too late, no answer could be told from the next.
        self._silent |= not self._ended
        closed, self._ended = not self._silent, True
        match = _CODED.match(octets)
        code = int(match.group(1)) if match else 0
        return Answer(code, octets, not octets, closed, not closed, monotonic() - begun)

    def _receive(self, deadline: float) -> bool:
        """Read some octets; False if none came in time."""
        try:
            self._socket.settimeout(self._patience(deadline))
            octets = self._socket.recv(_BLOCK)
        except TimeoutError:
            return False
        except OSError:
            octets = b""
        self._ended = not octets
        self._unread += octets
        self._reader.append(octets)
        return True

    def _patience(self, deadline: float) -> float:
        left = min(deadline, self._until) - monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def wrap(self, context: ssl.SSLContext, name: str | None) -> ssl.SSLSocket:
        """Begin TLS; raises OSError if there is none to be had."""
        # What came in clear behind the reply to STARTTLS is nobody's (RFC 3207 4.2).
        self._unread.clear()
        self._reader = ReplyReader(LINE_OCTETS, REPLY_OCTETS)
        try:
            self._socket.settimeout(self._patience(monotonic() + self._timeout))
            wrapped = context.wrap_socket(self._socket, server_hostname=name)
        except (OSError, ValueError):
            self._ended = True
            raise
        self._socket = wrapped
        return wrapped

    def leave(self) -> None:
        """Close: with RSET and QUIT if the server listens to commands, with a reset if it waits for a message."""
        for command in (b"RSET", b"QUIT"):
            # Any of them may be answered with anything.
            if not self._ended and not self._in_message:
                self.say(command)
        if self._in_message:
            self.reset()
        self._socket.close()

    def reset(self) -> None:
        """Close at once with a TCP reset, so that no server can take what it has for a message."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._ended = True
        self._socket.close()


def _lenient(octets: bytearray) -> tuple[int, int]:
    """Return code and end of a reply as a forgiving client reads it; (0, 0) if it is not whole.

    LF ends a line too, and lines without a code belong to the reply behind them: that is how SHOWQ
    and VERB of old sendmails answer.
    """
    begin = 0
    while end := octets.find(b"\n", begin) + 1:
        match = _CODED.match(octets[begin:end])
        if match is not None and match.group(1) >= b"2" and not match.group(2):
            return int(match.group(1)), end
        begin = end
    return 0, 0
