"""The mail server that a rehearsal supposes behind the guard.

Contract: sans-IO.  A `Backend` is told every octet that the guard sends it, and says what it answers, or b"" yet.
`Obliging` answers as a stock sendmail does that knows every user and takes every password: in form and in turn, since
what a command comes to depends on the reply to the one before.  Nothing of the client's is in its replies.
"""

from __future__ import annotations

from typing import Final, Protocol

from ..smtp.grammar import Command, chunk_size, is_last_chunk, parse

END: Final = b"\r\n.\r\n"
"""Of a message, the line end before it included (RFC 5321 4.1.1.4)."""

_BANNER: Final = b"220 localhost ESMTP Sendmail\r\n"
_KEYWORDS: Final = (
    b"ENHANCEDSTATUSCODES", b"PIPELINING", b"EXPN", b"VERB", b"8BITMIME", b"SIZE", b"DSN", b"ETRN",
    b"AUTH CRAM-MD5 LOGIN PLAIN", b"STARTTLS", b"DELIVERBY", b"SMTPUTF8", b"CHUNKING", b"HELP",
)  # fmt: skip
_HELLO: Final = b"localhost Hello, pleased to meet you\r\n"
_EHLO: Final = b"250-" + _HELLO + b"\r\n".join(b"250-" + word for word in _KEYWORDS[:-1]) + b"\r\n250 HELP\r\n"
_ACCEPTED: Final = b"250 2.0.0 Message accepted for delivery\r\n"
_UNKNOWN: Final = b"500 5.5.1 Command unrecognized\r\n"
_CHALLENGES: Final = {
    b"PLAIN": (b"",),
    b"LOGIN": (b"VXNlcm5hbWU6", b"UGFzc3dvcmQ6"),
    b"CRAM-MD5": (b"PDFAbG9jYWxob3N0Pg==",),
}
"""What is asked, one after the other, in base64 (RFC 4616; LOGIN has none; RFC 2195)."""
_REPLIES: Final = {
    b"EHLO": _EHLO,
    b"HELO": b"250 " + _HELLO,
    b"MAIL": b"250 2.1.0 Sender ok\r\n",
    b"RCPT": b"250 2.1.5 Recipient ok\r\n",
    b"DATA": b'354 Enter mail, end with "." on a line by itself\r\n',
    b"RSET": b"250 2.0.0 Reset state\r\n",
    b"NOOP": b"250 2.0.0 OK\r\n",
    b"VRFY": b"252 2.5.2 Cannot VRFY user; try RCPT to attempt delivery (or try finger)\r\n",
    b"EXPN": b"250 2.1.5 <postmaster@localhost>\r\n",
    b"ETRN": b"250 2.0.0 Queuing for node started\r\n",
    b"VERB": b"250 2.0.0 Verbose mode\r\n",
    b"HELP": b"214 2.0.0 End of HELP info\r\n",
    b"QUIT": b"221 2.0.0 localhost closing connection\r\n",
    b"STARTTLS": b"220 2.0.0 Ready to start TLS\r\n",
}


class Backend(Protocol):
    """What the mail server is supposed to answer."""

    def banner(self) -> bytes:
        """Return what it says first."""

    def answer(self, octets: bytes) -> bytes:
        """Return what it says to octets that the guard has sent it; b"" for nothing yet."""


class Obliging:
    """A `Backend` that has nothing against anything."""

    def __init__(self) -> None:
        self.instead = b""
        """A whole reply in place of the next one, if there is to be one and it is not out of turn."""
        self._message = False
        self._tail = b""
        self._chunk = 0
        self._last = False  # of the chunks
        self._exchange = False  # what comes next is a response
        self._asks: list[bytes] = []  # challenges that are to come
        self._sender = False
        self._recipients = 0

    def banner(self) -> bytes:
        return self._said(_BANNER)

    def answer(self, octets: bytes) -> bytes:
        if self._message:
            self._tail = (self._tail + octets)[-len(END) :]
            if self._tail != END:
                return b""
            self._message = False
            self._forget()
            return self._said(_ACCEPTED)
        if self._chunk:
            return self._chunked(octets)
        line, newline, rest = octets.partition(b"\r\n")  # the guard sends a line whole
        if self._exchange:
            return self._ask(line == b"*")
        parsed = parse(line + newline)
        if not isinstance(parsed, Command):
            return self._said(_UNKNOWN)
        if parsed.verb == b"BDAT":
            self._chunk, self._last = chunk_size(parsed.argument) or 0, is_last_chunk(parsed.argument)
            return self._chunked(rest)
        if parsed.verb == b"AUTH":
            return self._begin_exchange(parsed.argument or b"")
        supposed = self._reply_to(parsed.verb)
        if supposed.startswith(b"503") and not self.instead.startswith((b"4", b"5")):
            self.instead = b""  # it cannot accept what follows on something that the guard has refused
        reply = self._said(supposed)
        self._remember(parsed.verb, reply)
        return reply

    def _said(self, reply: bytes) -> bytes:
        instead, self.instead = self.instead, b""
        return instead or reply

    def _reply_to(self, verb: bytes) -> bytes:
        if verb == b"RCPT" and not self._sender:
            return b"503 5.0.0 Need MAIL before RCPT\r\n"
        if verb == b"DATA" and not self._recipients:
            return b"503 5.0.0 Need RCPT (recipient)\r\n" if self._sender else b"503 5.0.0 Need MAIL command\r\n"
        return _REPLIES.get(verb, _UNKNOWN)

    def _remember(self, verb: bytes, reply: bytes) -> None:
        if verb == b"DATA":
            self._message, self._tail = reply.startswith(b"354"), b"\r\n"
        if not reply.startswith(b"2"):
            return
        if verb in (b"EHLO", b"HELO", b"RSET"):
            self._forget()
        elif verb == b"MAIL":
            self._sender, self._recipients = True, 0
        elif verb == b"RCPT":
            self._recipients += 1

    def _forget(self) -> None:
        self._sender, self._recipients = False, 0

    def _chunked(self, octets: bytes) -> bytes:
        self._chunk = max(self._chunk - len(octets), 0)
        if self._chunk:
            return b""
        if not self._last:
            return self._said(b"250 2.0.0 Chunk received\r\n")
        self._forget()
        return self._said(_ACCEPTED)

    def _begin_exchange(self, argument: bytes) -> bytes:
        mechanism, _, initial = argument.partition(b" ")
        challenges = _CHALLENGES.get(mechanism.upper())
        if challenges is None:
            return self._said(b"504 5.3.3 AUTH mechanism not available\r\n")
        self._asks = list(challenges[1:] if initial else challenges)
        return self._ask()

    def _ask(self, given_up: bool = False) -> bytes:
        if given_up:
            reply = b"501 5.0.0 AUTH aborted\r\n"
        elif self._asks:
            reply = b"334 " + self._asks.pop(0) + b"\r\n"
        else:
            reply = b"235 2.0.0 OK Authenticated\r\n"
        reply = self._said(reply)
        self._exchange = reply.startswith(b"334")
        return reply
