"""Reply profiles: what the guard says where a rule says only `action: reply`.

Contract: data.  `sendmail` gives what sendmail 8.17 gives under PrivacyOptions, without the part that
quotes the client (tests/sendmail/test_golden_replies.py asks a real one).  The others exist because
the texts that sites must satisfy contradict each other: RFC 5321 3.5.3 wants 252, the DISA STIG for
sendmail counts everything but a 500 as a finding.
"""

from __future__ import annotations

from typing import Final

from ..smtp.replies import Reply
from ..smtp.verbs import KNOWN_VERBS, OBSOLETE

_UNRECOGNIZED: Final = "500 5.5.1 Command unrecognized"
_NOT_IMPLEMENTED: Final = "502 5.5.1 Command not implemented"
_REJECTED: Final = "550 5.7.1 Command rejected by local policy"
_NOT_ALLOWED: Final = "502 5.7.0 Sorry, we do not allow this operation"

_MAIL_VERBS: Final = dict.fromkeys(
    (b"HELO", b"EHLO", b"MAIL", b"RCPT", b"DATA", b"RSET", b"NOOP", b"QUIT", b"AUTH"), _REJECTED
)
_UNKNOWN_TO_SENDMAIL: Final = dict.fromkeys(KNOWN_VERBS, _UNRECOGNIZED)

_TEXTS: Final[dict[str, dict[bytes, str]]] = {
    "sendmail": {
        **_UNKNOWN_TO_SENDMAIL,
        **_MAIL_VERBS,
        **dict.fromkeys(OBSOLETE, _NOT_IMPLEMENTED),
        b"VRFY": "252 2.5.2 Cannot VRFY user; try RCPT to attempt delivery (or try finger)",
        b"EXPN": _NOT_ALLOWED,
        b"ETRN": _NOT_ALLOWED,
        b"HELP": _NOT_ALLOWED,
        b"VERB": "502 5.7.0 Verbose unavailable",
    },
    "rfc5321": {
        **_UNKNOWN_TO_SENDMAIL,
        **_MAIL_VERBS,
        **dict.fromkeys(OBSOLETE | {b"ETRN", b"HELP", b"VERB"}, _NOT_IMPLEMENTED),
        b"VRFY": "252 2.5.2 Cannot VRFY user, but will accept message and attempt delivery",
        b"EXPN": "252 2.5.2 Cannot EXPN list, but will accept message and attempt delivery",
    },
    "stig": {**_UNKNOWN_TO_SENDMAIL, **_MAIL_VERBS},
    "postfix": {
        **dict.fromkeys(KNOWN_VERBS, "502 5.5.2 Error: command not recognized"),
        **_MAIL_VERBS,
        b"VRFY": "502 5.5.1 VRFY command is disabled",
    },
}

PROFILES: Final = tuple(_TEXTS)

_REPLIES: Final = {name: {verb: Reply.parse(text) for verb, text in texts.items()} for name, texts in _TEXTS.items()}
_OTHERS: Final = {
    "sendmail": Reply.parse(_UNRECOGNIZED),
    "rfc5321": Reply.parse(_UNRECOGNIZED),
    "stig": Reply.parse(_UNRECOGNIZED),
    "postfix": Reply.parse("502 5.5.2 Error: command not recognized"),
}


def reply_for(profile: str, verb: bytes) -> Reply:
    """Return what `profile` says to `verb` (upper case); raises KeyError for an unknown profile."""
    return _REPLIES[profile].get(verb, _OTHERS[profile])
