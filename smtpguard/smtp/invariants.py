"""What holds for every client and that no policy can change.

Contract: pure questions about one command.  Each answer keeps guard and backend reading the same
bytes alike; the reasons stand beside the verbs in verbs.py.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from . import answers
from .grammar import Command, Fault, Malformed, chunk_size
from .terms import StartTls, Terms
from .verbs import (
    CORE,
    EIGHT_BIT_KEYWORDS,
    KNOWN_VERBS,
    NEVER_FORWARDED,
    NEVER_FORWARDED_PREFIX,
    OTHER_PROTOCOLS,
    WITHOUT_ARGUMENT,
)
from .verdict import Action, Facts, Verdict, beside

_RULE: Final = "never forwarded, whatever the policy"
_NEVER: Final = Verdict(Action.REPLY, answers.UNKNOWN, rule=_RULE)
_NOT_HERE: Final = Verdict(Action.REPLY, answers.NOT_IMPLEMENTED, rule="STARTTLS, which this listener does not offer")
_HIDDEN: Final = Verdict(Action.REPLY, answers.NOT_IMPLEMENTED, rule="BDAT, under `chunking: hide` in the settings")
_NOT_COUNTED: Final = Verdict(Action.CLOSE, answers.NOT_IMPLEMENTED, rule="a BDAT whose octets cannot be counted")
_NOT_KNOWN: Final = Verdict(Action.REPLY, answers.UNKNOWN, rule="a verb that the backend's profile does not know")
_ALMOST: Final = Verdict(Action.REPLY, answers.UNKNOWN, rule="a verb that begins as one that is known, and is none")
_BEGINNINGS: Final = tuple(sorted(KNOWN_VERBS))
_BAD_CHUNK: Final = replace(_NOT_COUNTED, reply=answers.BAD_CHUNK)
_ARGUMENT: Final = Verdict(Action.REPLY, answers.NO_ARGUMENT, rule=_RULE)
_FREE: Final = CORE - {b"BDAT", b"STARTTLS"}
"""What becomes of the others depends on more than the policy."""
_IN_TLS: Final = Verdict(Action.REPLY, answers.IN_TLS, rule="STARTTLS within TLS")
_OUR_TLS: Final = Verdict(Action.STARTTLS, answers.READY_FOR_TLS, rule="STARTTLS, by the listener's `starttls`")


def never_forwarded(verb: bytes) -> bool:
    """True if `verb` (upper case) never reaches any backend, whatever its argument."""
    return verb in NEVER_FORWARDED or verb.startswith(NEVER_FORWARDED_PREFIX)


def almost_known(verb: bytes, terms: Terms) -> bool:
    """True for a verb (upper case) that a server takes for a known one if it looks no further than that one is long.

    Servers of the 1980s do (upas, smail), so that VRFYX is VRFY to them, and to the policy a verb that nobody knows.
    """
    return verb not in KNOWN_VERBS and verb not in terms.verbs and verb.startswith(_BEGINNINGS)


def not_offered(keyword: bytes, terms: Terms) -> bool:
    """True if a keyword of the backend's EHLO reply (upper case) is nothing that a client may make use of here.

    SIZE, DSN and the like are no verbs, so no profile lists them; but a client must not be offered to
    send octets above 0x7f where none may pass.
    """
    if keyword == b"BDAT":
        return not chunks_pass(terms)
    if keyword == b"STARTTLS" and terms.starttls is not StartTls.PASSED:
        return True
    if terms.profile.seven_bit and keyword in EIGHT_BIT_KEYWORDS:
        return True
    if almost_known(keyword, terms):
        return True
    return never_forwarded(keyword) or (keyword in KNOWN_VERBS and not terms.known(keyword))


def chunks_pass(terms: Terms) -> bool:
    """True if a BDAT may be forwarded at all."""
    return terms.chunking and terms.known(b"BDAT")


def offers_tls(terms: Terms, facts: Facts) -> bool:
    """True if the guard has a STARTTLS of its own to offer."""
    return terms.starttls is StartTls.OFFERED and not facts.tls


def overrule(command: Command, verdict: Verdict, terms: Terms, facts: Facts) -> Verdict:
    """Return what is left of a policy's verdict: a refusal stands, a `forward` may not.

    The octets behind a BDAT must be counted away before it is answered, so its reply is no rule's.
    """
    if verdict.would is None:
        return _overrule(command, verdict, terms, facts)
    actual = _overrule(command, verdict, terms, facts)
    return beside(actual, _overrule(command, verdict.would, terms, facts))


def _overrule(command: Command, verdict: Verdict, terms: Terms, facts: Facts) -> Verdict:
    if verdict.action is Action.CLOSE or (verdict.action is Action.REPLY and command.verb != b"BDAT"):
        return verdict
    if command.verb == b"BDAT":
        if chunk_size(command.argument) is None:
            return _BAD_CHUNK if chunks_pass(terms) else _NOT_COUNTED
        if verdict.action is Action.FORWARD:
            return verdict if chunks_pass(terms) else _HIDDEN
        return replace(verdict, reply=answers.NOT_IMPLEMENTED)
    if command.verb == b"STARTTLS" and terms.starttls is StartTls.HIDDEN:
        return _NOT_HERE
    if command.verb in WITHOUT_ARGUMENT and command.argument is not None:
        return _ARGUMENT
    if command.verb == b"STARTTLS" and facts.tls:
        return _IN_TLS
    if command.verb == b"STARTTLS" and terms.starttls is StartTls.OFFERED:
        return replace(_OUR_TLS, delay=verdict.delay)
    if never_forwarded(command.verb):
        return _NEVER
    if almost_known(command.verb, terms):
        return _ALMOST
    return verdict if terms.known(command.verb) else _NOT_KNOWN


def is_free(command: Command, forwards: frozenset[bytes], terms: Terms) -> bool:
    """True if the policy forwards such a command whatever else it says (`forwards`), and `overrule` leaves it so."""
    verb = command.verb
    return (
        verb in _FREE
        and verb in forwards
        and (command.argument is None or verb not in WITHOUT_ARGUMENT)
        and terms.known(verb)
    )


def must_be_last(command: Command) -> bool:
    """True if the reply decides what the octets behind this command are (RFC 2920 3.1)."""
    if command.verb == b"AUTH":
        # Without an initial response the next line is a response or a command, as the reply says.
        return b" " not in (command.argument or b"").strip(b" ")
    return command.verb in (b"DATA", b"STARTTLS") and command.argument is None


_VERSION: Final = re.compile(rb"\S+ +(?:HTTP|SIP|RTSP|ICAP)/[0-9.]+ *", re.IGNORECASE)


def is_other_protocol(line: Command | Malformed) -> bool:
    """True if the first line of a session is one of HTTP or its kin, or a header field as HTTP and mail have."""
    if isinstance(line, Command):
        argument = line.argument or b""
        field = argument.startswith(b":") and line.verb not in KNOWN_VERBS
        return line.verb in OTHER_PROTOCOLS or field or _VERSION.fullmatch(argument) is not None
    name, colon, _ = line.line.partition(b":")
    return bool(colon) and line.fault is Fault.SHAPE and b" " not in name
