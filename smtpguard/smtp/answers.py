"""The guard's own replies, apart from those of the policy.

Contract: constants, so that nothing a client sent can get into one.  421 names the host (RFC 5321
4.2: 421 carries the domain), so it is made once per process by `closing`.
"""

from __future__ import annotations

from typing import Final

from .replies import Reply

SYNTAX: Final = Reply.parse("500 5.5.2 Syntax error, command unrecognized")
UNKNOWN: Final = Reply.parse("500 5.5.1 Command unrecognized")
NOT_IMPLEMENTED: Final = Reply.parse("502 5.5.1 Command not implemented")
NO_ARGUMENT: Final = Reply.parse("501 5.5.4 No argument is allowed here")
OUT_OF_TURN: Final = Reply.parse("554 5.5.0 SMTP protocol error: input sent before the reply it depends on")
BAD_CONTENT: Final = Reply.parse("550 5.6.0 Message content has a bare CR, bare LF, NUL or undeclared 8-bit octet")
ONLY_QUIT: Final = Reply.parse("503 5.5.1 No service here; only QUIT is accepted")
NOT_SMTP: Final = Reply.parse("554 5.5.0 This is a mail server; your client speaks another protocol")


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
        self.too_many = reply("4.7.0", "Too many refused commands, closing connection")
        self.policy = reply("4.7.0", "Closing connection by local policy")
