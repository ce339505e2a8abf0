"""The guard's own replies, apart from those of the policy.

Contract: constants, so that nothing a client sent can get into one.  421 names the host (RFC 5321
4.2: 421 carries the domain), so it is made once per process by `closing`.
"""

from __future__ import annotations

from typing import Final

from .grammar import Fault
from .replies import Reply

SYNTAX: Final = Reply.parse("500 5.5.2 Syntax error, command unrecognized")
UNKNOWN: Final = Reply.parse("500 5.5.1 Command unrecognized")
NOT_IMPLEMENTED: Final = Reply.parse("502 5.5.1 Command not implemented")
NO_ARGUMENT: Final = Reply.parse("501 5.5.4 No argument is allowed here")
OUT_OF_TURN: Final = Reply.parse("554 5.5.0 SMTP protocol error: input sent before the reply it depends on")
NO_CHUNK: Final = Reply.parse("503 5.5.1 BDAT needs an EHLO reply with CHUNKING, and an accepted MAIL and RCPT")
BAD_CHUNK: Final = Reply.parse("501 5.5.4 BDAT needs a size of 1 to 9 digits, and LAST or nothing behind it")
BETWEEN_CHUNKS: Final = Reply.parse("503 5.5.1 Only BDAT and QUIT may come between chunks")
ONLY_QUIT: Final = Reply.parse("503 5.5.1 No service here; only QUIT is accepted")
READY_FOR_TLS: Final = Reply.parse("220 2.0.0 Ready to start TLS")
IN_TLS: Final = Reply.parse("503 5.5.1 TLS is in use already")
NO_TLS_NOW: Final = Reply.parse("503 5.5.1 STARTTLS cannot come within a transaction or behind AUTH")
NOT_SMTP: Final = Reply.parse("554 5.5.0 This is a mail server; your client speaks another protocol")

_READ_MORE: Final = {
    Fault.BARE_LF: "; lines end in CRLF, see RFC 5321 section 2.3.8",
    Fault.BARE_CR: "; lines end in CRLF, see RFC 5321 section 2.3.8",
    Fault.NUL: "; see RFC 5321 section 4.5.2",
    Fault.CONTROL: "; see RFC 5321 section 4.1.2",
    Fault.EIGHT_BIT: "; see RFC 6152 and RFC 6531",
    Fault.TOO_LONG: "; see RFC 5321 section 4.5.3.1",
    Fault.NOT_BASE64: "; see RFC 4954 section 4",
}


def in_line(fault: Fault, octet: int, line: int) -> str:
    """Return a fault with its place, both numbers from 1: `bare linefeed (LF) in octet 5 of line 2`."""
    return f"{fault.value} in {f'octet {octet} of ' if octet else ''}line {line}"


def in_message(fault: Fault, octet: int, line: int) -> str:
    """The same for an octet of a message: `bare linefeed (LF) in octet 345 of the message, line 12`."""
    return f"{fault.value} in octet {octet} of the message, line {line}"


def bad_line(fault: Fault, octet: int, line: int) -> Reply:
    """Return the reply to a line that ends the session; it says where to look and where to read more."""
    return _plainly("500 5.5.2", in_line(fault, octet, line), fault)


def bad_content(fault: Fault, octet: int, line: int) -> Reply:
    """The same for a message."""
    return _plainly("550 5.6.0", in_message(fault, octet, line), fault)


def _plainly(codes: str, fault_at: str, fault: Fault) -> Reply:
    return Reply.parse(f"{codes} {fault_at[0].upper()}{fault_at[1:]}{_READ_MORE.get(fault, '')}")


class Closing:
    """The 421 replies, with the host's name in them."""

    def __init__(self, host: str) -> None:
        def reply(enhanced: str, text: str) -> Reply:
            return Reply.parse(f"421 {enhanced} {host} {text}")

        self.unavailable = reply("4.3.2", "Mail server not available, try again later")
        self.busy = reply("4.3.2", "Too many connections, try again later")
        self.shutdown = reply("4.3.2", "Service is shutting down, try again later")
        self.backend_lost = reply("4.4.2", "Connection to the mail server was lost")
        self.backend_fault = reply("4.3.0", "The mail server broke the protocol, closing connection")
        self.client_timeout = reply("4.4.2", "Time-out waiting for input, closing connection")
        self.backend_timeout = reply("4.4.2", "Time-out waiting for the mail server")
        self.internal = reply("4.3.0", "Internal error, try again later")
        self.too_many = reply("4.7.0", "Too many bad commands; closing connection")
        self.given_up = reply("4.3.0", "Message in chunks given up, closing connection")
        self.limited = reply("4.7.0", "Too much from your address or network, try again later")
        self.too_slow = reply("4.4.2", "Too little data in too much time, closing connection")
        self.policy = reply("4.7.0", "Closing connection by local policy")
