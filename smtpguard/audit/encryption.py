"""Probes for STARTTLS: whether it is there, what it is worth, and what crosses its border.

Contract: each yields findings and never raises but `NotAsked`.  The certificate is looked at and not
trusted.  With TLS from the first octet there is no border, and only certificate and versions are asked for.
"""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from ..journal.lines import printable
from .certificate import EXPIRY, Certificate, decoded, trusting_only
from .conversation import Conversation
from .findings import Finding, Verdict
from .subject import NotAsked, Subject, any_tls, keywords_of
from .verifying import tells
from .wishes import Tls

STARTTLS_ADVICE: Final = (
    "mail can be read on the way. smtpguard: starttls with certificates, in the listener; sendmail: confSERVER_CERT and"
    " confSERVER_KEY; Postfix: smtpd_tls_security_level = may; Exim: tls_advertise_hosts"
)
AUTH_ADVICE: Final = (
    "sendmail: confAUTH_OPTIONS with p; Postfix: smtpd_tls_auth_only = yes; Exim: auth_advertise_hosts only under TLS"
)
CERTIFICATE_ADVICE: Final = "who verifies (DANE, MTA-STS, submission) will not deliver: renew it for this name"
SELF_SIGNED_ADVICE: Final = "good for encryption; a client that verifies needs one from an authority, or DANE"
VERSION_ADVICE: Final = (
    "RFC 8996. sendmail: ServerSSLOptions +SSL_OP_NO_TLSv1 +SSL_OP_NO_TLSv1_1; Postfix: smtpd_tls_protocols ="
    " >=TLSv1.2; Exim: openssl_options = +no_tlsv1 +no_tlsv1_1"
)
INJECTION_ADVICE: Final = (
    "what came in clear must be dropped (RFC 3207 4.2; CVE-2011-0411): upgrade the server, or what ends TLS in front"
)
INSIDE_ADVICE: Final = "the policy must hold inside TLS too: whoever filters must end the TLS itself"

_OLD: Final = {"TLS 1.0": ssl.TLSVersion.TLSv1, "TLS 1.1": ssl.TLSVersion.TLSv1_1}
_CLEAR: Final = frozenset({"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"})
"""What OpenSSL says of text in place of a record."""
_HIDDEN: Final = frozenset({"EXPN", "VERB", "VRFY", "ETRN", "XCLIENT", "XFORWARD"})
"""Keywords that, where they are not offered in clear, should not be in TLS."""


def starttls(subject: Subject) -> Iterator[Finding]:
    """Whether STARTTLS is offered, and AUTH without it."""
    if subject.wishes.tls is Tls.IMPLICIT:
        yield Finding("starttls", "offered", Verdict.OK, "not asked: TLS from the first octet")
        return
    offered = subject.hello.keywords
    has = "STARTTLS" in offered
    yield Finding(
        *("starttls", "offered"),
        Verdict.OK if has else Verdict.WARNING,
        "offered" if has else "not offered",
        "" if has else STARTTLS_ADVICE,
    )
    if "AUTH" in offered:
        readable = {"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"} & set(offered["AUTH"].upper().split())
        verdict = Verdict.WARNING if readable else Verdict.NOTE
        yield Finding("starttls", "AUTH in clear", verdict, f"AUTH {_shown(offered['AUTH'])}", AUTH_ADVICE)
    else:
        yield Finding("starttls", "AUTH in clear", Verdict.OK, "not offered")


@contextmanager
def _before_tls(subject: Subject) -> Iterator[Conversation]:
    """A conversation whose next octets are those of a handshake; raises NotAsked."""
    if subject.wishes.tls is Tls.IMPLICIT:
        with subject.connected(encrypted=False) as conversation:
            yield conversation
        return
    if "STARTTLS" not in subject.hello.keywords:
        raise NotAsked("STARTTLS is not offered")
    with subject.greeted() as conversation:
        answer = conversation.say(b"STARTTLS")
        if answer.code != 220:
            raise NotAsked(f"STARTTLS: {answer.said}")
        yield conversation


def _wrap(conversation: Conversation, context: ssl.SSLContext, subject: Subject) -> ssl.SSLSocket:
    """Make the handshake; raises NotAsked."""
    try:
        return conversation.wrap(context, subject.server_name)
    except (OSError, ValueError) as error:
        raise NotAsked(f"no TLS: {_shown(str(error))}") from None


def certificate(subject: Subject) -> Iterator[Finding]:
    """Whose certificate it is, for which names, and until when."""
    with _before_tls(subject) as conversation:
        wrapped = _wrap(conversation, any_tls(), subject)
        encoded = wrapped.getpeercert(True)
        cipher = wrapped.cipher() or ("", "", 0)
        seen = f"{wrapped.version()}, {cipher[0]}"
    yield Finding("certificate", "protocol", Verdict.OK, _shown(seen))
    if encoded is None:
        yield Finding("certificate", "subject", Verdict.NOTE, "no certificate", CERTIFICATE_ADVICE)
        return
    try:
        context = trusting_only(encoded)
        with _before_tls(subject) as conversation:
            found = decoded(_wrap(conversation, context, subject).getpeercert() or {})
    except (ssl.SSLError, ValueError) as error:
        yield Finding("certificate", "subject", Verdict.NOTE, f"cannot be read: {_shown(str(error))}")
        return
    yield from _judged(found, subject.server_name or subject.domain, datetime.now(UTC))


def _judged(found: Certificate, host: str, now: datetime) -> Iterator[Finding]:
    signed = "signed by itself" if found.is_self_signed else f"signed by {found.issuer}"
    verdict = Verdict.NOTE if found.is_self_signed else Verdict.OK
    advice = SELF_SIGNED_ADVICE if found.is_self_signed else ""
    yield Finding("certificate", "subject", verdict, _shown(f"{found.subject}, {signed}"), advice)
    named = found.is_for(host)
    names = f"{', '.join(found.names) or 'no name'}; asked for {host}"
    verdict = Verdict.OK if named else Verdict.NOTE
    yield Finding("certificate", "names", verdict, _shown(names), "" if named else CERTIFICATE_ADVICE)
    left = found.left(now)
    if left < timedelta():
        verdict, word = Verdict.WARNING, "ended"
    else:
        verdict, word = (Verdict.WARNING if left < EXPIRY else Verdict.OK), "good until"
    yield Finding(
        *("certificate", "end", verdict, f"{word} {found.ends:%Y-%m-%d}"),
        CERTIFICATE_ADVICE if verdict.is_bad else "",
    )


def versions(subject: Subject) -> Iterator[Finding]:
    """Whether TLS 1.0 and 1.1 are still spoken (RFC 8996)."""
    for shown, version in _OLD.items():
        try:
            context = _only(version)
        except (ssl.SSLError, ValueError):
            yield Finding(
                "tls-versions", shown, Verdict.NOTE, "could not be asked: this machine does not speak it", unasked=True
            )
            continue
        with _before_tls(subject) as conversation:
            try:
                spoken = conversation.wrap(context, None).version()
            except OSError as error:
                yield Finding("tls-versions", shown, Verdict.OK, f"refused: {_shown(_reason(error))}")
            else:
                yield Finding("tls-versions", shown, Verdict.WARNING, f"{spoken} accepted", VERSION_ADVICE)


def _only(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = any_tls()
    # OpenSSL 3 has these versions at security level 0 alone.
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        # They are deprecated: that is why they are asked for.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    return context


def injection(subject: Subject) -> Iterator[Finding]:
    """A command in clear behind STARTTLS, in the same segment."""
    asked = "NOOP behind STARTTLS"
    if subject.wishes.tls is not Tls.STARTTLS or "STARTTLS" not in subject.hello.keywords:
        raise NotAsked("STARTTLS is not offered")
    with subject.greeted() as conversation:
        conversation.put(b"STARTTLS\r\nNOOP\r\n")
        answer = conversation.answer()
        if answer.code != 220:
            yield Finding("starttls-injection", asked, Verdict.OK, answer.said)
            return
        if conversation.surplus:
            seen = f"answered in clear behind the 220: {printable(conversation.surplus)}"
            yield Finding("starttls-injection", asked, Verdict.WARNING, seen, INJECTION_ADVICE)
            return
        try:
            conversation.wrap(any_tls(), None)
        except OSError as error:
            # A server that speaks in clear where a handshake belongs has answered the NOOP.
            clear = _reason(error) in _CLEAR
            verdict = Verdict.WARNING if clear else Verdict.OK
            seen = f"no handshake: {_shown(_reason(error))}"
            yield Finding("starttls-injection", asked, verdict, seen, INJECTION_ADVICE if clear else "")
            return
        # One reply to QUIT is all that may come.
        conversation.put(b"QUIT\r\n")
        answers = [one for one in conversation.answers(last=221) if one.octets]
    said = "; ".join(one.said for one in answers[:3])
    if len(answers) > 1:
        yield Finding("starttls-injection", asked, Verdict.HOLE, f"answered in TLS: {said}", INJECTION_ADVICE)
    else:
        yield Finding("starttls-injection", asked, Verdict.OK, f"dropped; to QUIT: {said}")


def inside(subject: Subject) -> Iterator[Finding]:
    """Whether what is hidden in clear is hidden in TLS too."""
    if subject.wishes.tls is Tls.IMPLICIT:
        raise NotAsked("there is no clear text to hold it against")
    with _before_tls(subject) as conversation:
        _wrap(conversation, any_tls(), subject)
        reply = subject.greet(conversation)
        answer = conversation.say(f"VRFY {subject.wishes.known}".encode("ascii"))
        again = conversation.say(b"STARTTLS")
        if again.code == 220:
            # A handshake would come next; there is no way back to commands.
            conversation.reset()
    new = sorted(_HIDDEN & keywords_of(reply).keys() - subject.hello.keywords.keys())
    verdict = Verdict.WARNING if new else Verdict.OK
    seen = f"{', '.join(new)} offered in TLS only" if new else reply.said
    yield Finding("inside-tls", "EHLO", verdict, seen, INSIDE_ADVICE if new else "")
    told = tells(answer) and not tells(subject.vrfy)
    verdict = Verdict.HOLE if told else Verdict.OK
    yield Finding("inside-tls", "VRFY", verdict, answer.said, INSIDE_ADVICE if told else "")
    verdict = Verdict.NOTE if again.code == 220 else Verdict.OK
    yield Finding("inside-tls", "STARTTLS again", verdict, again.said, "RFC 3207 4.2" if again.code == 220 else "")


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error) or type(error).__name__


def _shown(text: str) -> str:
    return printable(text.encode("utf-8", "replace"))
