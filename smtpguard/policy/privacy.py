"""sendmail's PrivacyOptions as rule sets (Sendmail Installation and Operation Guide, "PrivacyOptions").

Contract: `rules_of` returns what an option means as (verb, not yet greeted only, reply) triples; an
option that a proxy cannot act on means nothing and is listed in `NO_EFFECT` with the reason.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from ..smtp.replies import Reply


@frozen
class Prohibition:
    """One thing that an option forbids."""

    verb: bytes
    before_greeting: bool
    """True if only a client that has not said HELO or EHLO is refused."""
    reply: Reply | None
    """None for the text of the reply profile."""


_INTRODUCE: Final = Reply.parse("503 5.0.0 I demand that you introduce yourself first")
_POLITE: Final = Reply.parse("503 5.0.0 Polite people say HELO first")

_NOVRFY: Final = Prohibition(b"VRFY", False, None)
_NOEXPN: Final = Prohibition(b"EXPN", False, None)
_NOETRN: Final = Prohibition(b"ETRN", False, None)
_NOVERB: Final = Prohibition(b"VERB", False, None)
_MAILHELO: Final = Prohibition(b"MAIL", True, _POLITE)
_VRFYHELO: Final = Prohibition(b"VRFY", True, _INTRODUCE)
_EXPNHELO: Final = Prohibition(b"EXPN", True, _INTRODUCE)

OPTIONS: Final[dict[str, tuple[Prohibition, ...]]] = {
    "public": (),
    "novrfy": (_NOVRFY,),
    "noexpn": (_NOEXPN, _NOVERB),
    "noetrn": (_NOETRN,),
    "noverb": (_NOVERB,),
    "needmailhelo": (_MAILHELO,),
    "needvrfyhelo": (_VRFYHELO,),
    "needexpnhelo": (_EXPNHELO,),
    # everything but noreceipts, restrictmailq, restrictqrun, restrictexpand, noetrn and nobodyreturn
    "goaway": (_NOVRFY, _NOEXPN, _NOVERB, _MAILHELO),
}

NO_EFFECT: Final[dict[str, str]] = {
    "authwarnings": "headers are the mail server's own",
    "noactualrecipient": "delivery status notifications are the mail server's own",
    "nobodyreturn": "bounces are the mail server's own",
    "noreceipts": "delivery status notifications are the mail server's own",
    "noreflection": "the guard never sends a client's words back",
    "restrictexpand": "it is about local users of the mail server's host",
    "restrictmailq": "it is about local users of the mail server's host",
    "restrictqrun": "it is about local users of the mail server's host",
}


def rules_of(options: list[str]) -> dict[bytes, list[Prohibition]]:
    """Return the prohibitions of all `options` by verb, those that hold always first."""
    found: dict[bytes, list[Prohibition]] = {}
    for option in options:
        for prohibition in OPTIONS.get(option, ()):
            of_verb = found.setdefault(prohibition.verb, [])
            if prohibition not in of_verb:
                of_verb.append(prohibition)
    for of_verb in found.values():
        of_verb.sort(key=lambda p: p.before_greeting)
    return found
