"""The verbs by kind: one table, used by the dialogue, the policy and the log.

Contract: data only.  A verb is upper-case bytes.
"""

from __future__ import annotations

from typing import Final

CORE: Final = frozenset(
    {b"HELO", b"EHLO", b"MAIL", b"RCPT", b"DATA", b"RSET", b"NOOP", b"QUIT", b"AUTH", b"STARTTLS", b"BDAT"}
)
"""The verbs that mail needs; `check_other` does not speak of them."""

PROBES: Final = frozenset({b"DEBUG", b"SHOWQ", b"WIZ", b"KILL", b"SHELL"})
"""Old holes of sendmail 4 and 5, and what is tried beside them; sendmail logs them as attacks."""

DISCLOSING: Final = frozenset({b"VRFY", b"EXPN", b"ETRN"})
"""Logged by sendmail whether they were answered or rejected."""

OBSOLETE: Final = frozenset({b"SEND", b"SOML", b"SAML", b"TURN"})
"""RFC 821 verbs that sendmail knows and does not implement."""

NEVER_FORWARDED: Final = frozenset(
    {
        # they claim an identity, and the backend trusts the guard's address
        b"XCLIENT", b"XFORWARD", b"PROXY", b"X-CONNECT", b"CLIENTID", b"INTERNALCMD", b"WELLKNOWN",
        # they put octets on the wire whose end only the backend knows
        b"BURL", b"XEXCH50", b"X-EXPS", b"X-LINK2STATE", b"XSHADOW",
        # they change who speaks, or wrap the connection in TLS
        b"TURN", b"ATRN", b"X-ANONYMOUSTLS",
    }
)  # fmt: skip
"""Whatever the policy says: past these, guard and backend no longer read the same bytes alike."""

NEVER_FORWARDED_PREFIX: Final = b"XPROXY"
"""XPROXY, XPROXYFROM, XPROXYTO: as NEVER_FORWARDED."""

BETWEEN_CHUNKS: Final = frozenset({b"BDAT", b"QUIT"})
"""What a backend gets while it waits for a further chunk (RFC 3030).  Servers differ on what any other
command, or its refusal, means for the octets that come next: whether they are counted or read as
commands; even NOOP may be refused, by a server that counts them."""

RESETTING: Final = frozenset({b"RSET", b"EHLO", b"HELO"})
"""These give a transaction up (RFC 5321 4.1.4)."""

EIGHT_BIT_KEYWORDS: Final = frozenset({b"8BITMIME", b"SMTPUTF8"})
"""EHLO keywords that let a client send octets above 0x7f (RFC 6152, RFC 6531)."""

WITHOUT_ARGUMENT: Final = frozenset({b"DATA", b"RSET", b"QUIT", b"STARTTLS"})
"""RFC 5321 4.1.1 and RFC 3207 4 give these no argument; servers differ on `DATA x`."""

ANONYMOUS: Final = "ANONYMOUS"
"""The mechanism by which anybody gets a 235, whoever he is (RFC 4505)."""

MECHANISMS: Final = frozenset(
    {
        "PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "NTLM", "GSSAPI", "EXTERNAL", ANONYMOUS, "XOAUTH2", "OAUTHBEARER",
        "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS",
    }
)  # fmt: skip
"""SASL mechanisms that the log may name: where a client leaves its mechanism out, the password stands there."""

KNOWN_VERBS: Final = (
    CORE
    | PROBES
    | DISCLOSING
    | OBSOLETE
    | NEVER_FORWARDED
    | frozenset({b"HELP", b"VERB", b"ONEX", b"XUSR", b"XPROXY", b"XPROXYFROM", b"XPROXYTO"})
)
"""The verbs that a rule set may be named for without being declared, and that the log may name."""

OTHER_PROTOCOLS: Final = frozenset(
    {b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"TRACE", b"PATCH", b"CONNECT", b"PRI", b"USER"}
)
"""First words of an HTTP, POP3 or FTP client.  sendmail closes at these too (`http_cmds`)."""
