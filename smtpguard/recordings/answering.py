"""The mail server of a recording: it answers what it answered then.

Theory: each exchange of the recording takes one turn of the rehearsal; so the recorded reply to what the guard forwards
is that of the exchange whose turn it is.  What the guard answered itself is never heard of here, and the recorded reply
is dropped.  A server's reply can depend on a command that it did not hear this time: behind a MAIL or RCPT that the
guard refused, the recorded 250 and 354 would be wrong, and a server without a sender or a recipient is supposed.

Contract: a Backend of smtpguard.policy.rehearsal.  Where the recording has no answer, an obliging server's stands in,
and `supposed` says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..policy.rehearsal import Obliging
from .exchanges import Dialogue, Exchange, What

NO_MAIL: Final = b"503 5.0.0 Need MAIL before RCPT\r\n"
NO_RECIPIENT: Final = b"503 5.0.0 Need RCPT (recipient)\r\n"
"""sendmail's words for a transaction that is not complete."""
_END: Final = b"\r\n.\r\n"


class RecordedServer:
    """The server of one session."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self._obliging = Obliging()
        self._now: list[Exchange] = []
        self._first = 1
        self.at: Callable[[], int] = lambda: 1
        """Says whose turn it is (Rehearsal.at)."""
        self._message = False
        self._tail = b""
        self._chunk = 0
        self._sender = False
        self._recipients = 0
        self.supposed = False
        """An answer since `play` was not the recording's."""

    def play(self, exchanges: list[Exchange]) -> None:
        """Take what the client is about to say."""
        self._now = exchanges
        self._first = self.at()
        self.supposed = False

    def banner(self) -> bytes:
        obliging = self._obliging.banner()
        return self._dialogue.banner or obliging

    def answer(self, octets: bytes) -> bytes:
        """Return the reply to what the guard forwarded, nothing if there is more to come."""
        obliging = self._obliging.answer(octets)
        if self._message:
            self._tail = (self._tail + octets)[-len(_END) :]
            if self._tail != _END:
                return b""
            self._message = False
            self._sender, self._recipients = False, 0
            return self._recorded(What.CONTENT, obliging)
        if self._chunk:
            self._chunk -= len(octets)
            return self._recorded(What.CHUNK, obliging) if self._chunk <= 0 else b""
        return self._to_command(octets, obliging)

    def _to_command(self, octets: bytes, obliging: bytes) -> bytes:
        verb = octets[:4].upper()
        if verb == b"BDAT":
            line, _, behind = octets.partition(b"\n")
            words = line.split()
            size = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
            self._chunk = max(size - len(behind), 0)
            return b"" if self._chunk else self._recorded(What.CHUNK, obliging)
        played = self._played
        if played is not None and played.what is What.RESPONSE:
            return self._recorded(What.RESPONSE, obliging)
        reply = self._recorded(What.COMMAND, obliging)
        good = reply[:1] == b"2"
        if verb in (b"RSET", b"EHLO", b"HELO") and good:
            self._sender, self._recipients = False, 0
        elif verb == b"MAIL":
            self._sender = self._sender or good
        elif verb == b"RCPT" and good:
            if not self._sender:
                return self._instead(NO_MAIL)
            self._recipients += 1
        elif verb == b"DATA" and reply[:3] == b"354":
            if not self._recipients:
                return self._instead(NO_RECIPIENT if self._sender else NO_MAIL)
            self._message, self._tail = True, b"\r\n"
        return reply

    @property
    def _played(self) -> Exchange | None:
        """The exchange whose turn it is."""
        place = self.at() - self._first
        return self._now[place] if 0 <= place < len(self._now) else None

    def _recorded(self, what: What, obliging: bytes) -> bytes:
        exchange = self._played
        if exchange is None or exchange.reply is None or exchange.what is not what:
            return self._instead(obliging or b"250 2.0.0 OK\r\n")
        return exchange.reply

    def _instead(self, reply: bytes) -> bytes:
        self.supposed = True
        return reply
