"""Backend profiles: what has to be known of the mail server behind the guard.

Contract: data.  A `Profile` bounds what is forwarded, so that the server reads it as the guard does;
it can refuse more, never less, than the invariants do.  `default` suits every server but sendmail up
to 8.6.  Lengths are in octets, line ends included, and stay below the buffer of the oldest server
that the profile is for: a server that splits a longer line takes the rest for the next command.
Exim has 512 octets up to 4.50, 2,048 up to 4.76 and 16,384 since; for a SASL response 16,384 always.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_MAIL: Final = frozenset({b"HELO", b"EHLO", b"MAIL", b"RCPT", b"DATA", b"RSET", b"NOOP", b"QUIT", b"HELP", b"VRFY"})
_ESMTP: Final = _MAIL | {b"AUTH", b"STARTTLS"}
_SENDMAIL: Final = frozenset(
    {b"EXPN", b"VERB", b"ONEX", b"SEND", b"SOML", b"SAML", b"TURN", b"DEBUG", b"SHOWQ", b"WIZ"}
)


@dataclass(frozen=True)
class Profile:
    """One kind of mail server."""

    name: str
    about: str
    """Which servers it is for."""
    line: int = 2000
    """A command line; most servers since 1993 have a buffer of 2,048."""
    auth: int = 2000
    """An AUTH command, whose initial response (RFC 4954 4) may be long."""
    response: int = 2000
    """A line of a SASL exchange."""
    body_line: int | None = None
    """A line of a message; None where the server does not read content line by line into a buffer."""
    seven_bit: bool = False
    """The server drops the eighth bit of every message, so that other octets become CR, LF or dot."""
    verbs: frozenset[bytes] | None = None
    """The verbs that it knows, upper case; None for any.  Others are answered by the guard."""

    def knows(self, verb: bytes) -> bool:
        return self.verbs is None or verb in self.verbs

    def refusals(self) -> Iterator[str]:
        """Yield what it refuses and why, in a line each; for `smtpguard check`."""
        yield f"command lines over {self.line} octets: the server could run the rest as the next command"
        if (self.auth, self.response) != (self.line, self.line):
            yield f"AUTH over {self.auth} octets, lines of its exchange over {self.response}: likewise"
        if self.body_line is not None:
            yield f"message lines over {self.body_line - 2} octets: the server could take the rest for the next line"
        if self.seven_bit:
            yield "octets above 0x7f, in messages too: the server drops the eighth bit and sees another octet"
        if self.verbs is not None:
            yield f"verbs that the server does not know; it knows {' '.join(sorted(map(bytes.decode, self.verbs)))}"
        if not self.knows(b"BDAT"):
            yield "`chunking: forward`: the server knows no BDAT, and would take a chunk for commands"


DEFAULT: Final = Profile("default", "every server but sendmail up to 8.6 and Exim up to 4.50", line=1000)

PROFILES: Final = {
    profile.name: profile
    for profile in (
        DEFAULT,
        Profile(
            "sendmail-legacy",
            "sendmail 4, 5 and 8 up to 8.6",
            line=254,
            auth=254,
            response=254,
            body_line=2048,
            seven_bit=True,
            verbs=_MAIL | _SENDMAIL | {b"KILL"},
        ),
        Profile("sendmail", "sendmail 8.7 and later", verbs=_ESMTP | _SENDMAIL | {b"ETRN", b"XUSR"}),
        Profile(
            "postfix",
            "Postfix 3.4 and later",
            response=12288,
            verbs=_ESMTP | {b"ETRN", b"BDAT"},
        ),
        Profile("exim", "Exim 4.51 and later", response=16382, verbs=_ESMTP | {b"EXPN", b"ETRN", b"BDAT"}),
        Profile("qmail", "qmail 1.03, netqmail and notqmail", verbs=_ESMTP),
        Profile("opensmtpd", "OpenSMTPD", verbs=_ESMTP - {b"VRFY"}),
        Profile("exchange", "Microsoft Exchange 2007 and later", verbs=_ESMTP | {b"EXPN", b"ETRN", b"BDAT"}),
    )
}
"""By name; a site's own verbs are declared in the policy (`verbs`)."""
