"""What six running servers did with the streams of tests/vectors, sent to them as they are.

Contract: `RAN` says for each stream which servers ran a refused verb.  Sendmail 8.12.11, 8.15.2 and
8.17.1.9, Postfix 3.7.11, Exim 4.96 and notqmail 1.09 were asked; where a stream is not here, none did.
How that was judged was not written down.  It agrees with counting an answer of 2yz, or of 501 for want
of an argument, and so the tests count.
"""

from __future__ import annotations

from typing import Final

_BY_SERVERS: Final = {
    "sendmail-8.12 sendmail-8.15 sendmail-8.17 postfix-3.7 exim-4.96 notqmail-1.09": """
        verb-vrfy verb-form-03 verb-form-04 verb-form-05 verb-before-helo verb-in-transaction cmd-crcrlf
        cmd-crlf-first cmd-mail-quoted-lf cmd-noop-crlf-lf cmd-noop-nul-lf split-octets split-crlf
        data-503-nomail data-lower-tab data-noise eod-split-octets auth-in-mail auth-cont-badb64
        auth-ir-final starttls-arg tls-hello-plain pipe-noop-vrfy-noop pipe-rset-data
        pipe-blocked-before-banner
    """,
    "sendmail-8.12 sendmail-8.15 sendmail-8.17 exim-4.96": """
        verb-expn verb-form-02 cmd-mail-lf-vrfy
    """,
    "postfix-3.7": """
        verb-etrn-grp eod-lf-dot-crcrlf eod-crlf-dot-cr5lf
    """,
    "sendmail-8.12 sendmail-8.15 sendmail-8.17 postfix-3.7 notqmail-1.09": """
        verb-form-06 cmd-nul-after-arg data-503-pipelined bdat-then-data
    """,
    "sendmail-8.12 sendmail-8.15 sendmail-8.17": """
        verb-form-08 cmd-nul-expn eof-partial eof-partial-first pre-banner
    """,
    "postfix-3.7 notqmail-1.09": """
        verb-form-10
    """,
    "sendmail-8.12 sendmail-8.15 sendmail-8.17 postfix-3.7": """
        cmd-lead-cr cmd-lead-many cmd-sep-vt
    """,
    "sendmail-8.12 sendmail-8.15 postfix-3.7 exim-4.96 notqmail-1.09": """
        cmd-helo-lf long-drop-newline pipe-full-session
    """,
    "sendmail-8.12 sendmail-8.15": """
        long-noop-2047 long-rcpt-2047
    """,
    "exim-4.96": """
        long-noop-16385
    """,
    "sendmail-8.12 sendmail-8.15 postfix-3.7": """
        eod-lf-dot-lf eod-lf-dot-crlf eod-crlf-dot-lf
    """,
    "sendmail-8.12 sendmail-8.15 postfix-3.7 exim-4.96": """
        eod-hdr-lf-dot-lf eod-hdr-lf-dot-crlf eod-hdr-lf-body-lf eod-first-dot-lf
    """,
    "sendmail-8.12 sendmail-8.15 sendmail-8.17 exim-4.96 notqmail-1.09": """
        bdat-no-rcpt bdat-size-zeros bdat-size-empty bdat-size-tab bdat-size-wrap32 bdat-size-lower
        bdat-size-nulsize bdat-size-crsize auth-cancel-nul
    """,
    "sendmail-8.12 sendmail-8.15 sendmail-8.17 notqmail-1.09": """
        bdat-size-hex bdat-size-lastx bdat-size-extra bdat-size-two
    """,
    "postfix-3.7 exim-4.96": """
        bdat-short
    """,
    "sendmail-8.12 exim-4.96 notqmail-1.09": """
        http-post http-connect
    """,
}

RAN: Final = {
    stream: frozenset(servers.split()) for servers, streams in _BY_SERVERS.items() for stream in streams.split()
}

DEVIATIONS: Final = {
    ("postfix-3.7", "auth-cancel-nul"): "the live one ran nothing behind the line with NUL; the reason was not found",
}
"""Where a model does not do as the server did, and why."""
