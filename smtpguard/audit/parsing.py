"""Probes for what a server takes for a command where a filter in front of it would see none.

Contract: each yields findings and never raises but `NotAsked`.  The command that is hidden is a VRFY
for a name that exists: it changes nothing, and its answer is like no other.  The verdict is a hole
where the plain form is refused and the hidden one is answered, since then it got past whoever refuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import frozen

from .conversation import Answer, Conversation
from .findings import Finding, Verdict
from .subject import NotAsked, Subject, until_quit
from .verifying import hidden, is_verifying, tells

LINE_LENGTHS: Final = (512, 1024, 2048, 16385)
"""Where servers have cut a line and run its tail: RFC 5321 4.5.3.1.4, and the buffers of sendmail 5,
sendmail up to 8.13, and Exim, which loses an octet."""
LISTEN_SECONDS: Final = 3.0
"""How long a server is listened to that need not say anything."""

FORM_ADVICE: Final = (
    "a filter that looks for VRFY where a line begins does not see this form; smtpguard refuses it, whatever the policy"
)
LINE_ADVICE: Final = (
    "smtpguard ends a session at a CR, LF or NUL out of place; sendmail: 8.18 or newer; Postfix 3.9:"
    " smtpd_forbid_bare_newline = reject"
)
LONG_ADVICE: Final = (
    "smtpguard bounds lines below the buffer of its backend's profile; sendmail: 8.14 or newer; Postfix: 2.9 or newer"
)
EARLY_ADVICE: Final = (
    "smtpguard: early_input: reject; sendmail: FEATURE(`greet_pause'), 8.18 for EHLO and DATA; Postfix: postscreen, and"
    " 3.9 smtpd_forbid_unauth_pipelining = yes; Exim: smtp_enforce_sync"
)
HTTP_ADVICE: Final = (
    "a browser can be made to speak here; smtpguard closes at other protocols; sendmail: 8.14 or newer; Postfix:"
    " smtpd_forbidden_commands"
)
DATA_ADVICE: Final = "what stands in front takes commands for a message; put a guard there that waits for the 354"
BARE_ADVICE: Final = (
    "smtpguard: bare_newline: reject; sendmail: 8.18 (srv_features without O, U and G); Postfix 3.9:"
    " smtpd_forbid_bare_newline = reject; Exim: 4.98 or newer"
)


@frozen
class Form:
    """A VRFY that is not in the form of RFC 5321 4.1.1."""

    shown: str
    before: bytes
    """What stands before the name."""
    expected: int = 0
    """Replies to it from a server that does not see the VRFY as a line of its own."""
    end: bytes = b"\r\n"
    advice: str = FORM_ADVICE


FORMS: Final = (
    Form("vrfy in lower case", b"vrfy "),
    Form("two blanks before", b"  vrfy "),
    Form("TAB before", b"\tVRFY "),
    Form("TAB for the blank", b"VRFY\t"),
    Form("VT for the blank", b"VRFY\x0b"),
    Form("NUL for the blank", b"VRFY\0", advice=LINE_ADVICE),
    Form("LF alone at the end", b"VRFY ", end=b"\n", advice=LINE_ADVICE),
    Form("behind NOOP and LF", b"NOOP\nVRFY ", 1, advice=LINE_ADVICE),
    Form("behind NOOP and CR", b"NOOP\rVRFY ", 1, advice=LINE_ADVICE),
)


def forms(subject: Subject) -> Iterator[Finding]:
    """VRFY with blanks, TABs, NULs and half line ends."""
    name = subject.wishes.known.encode("ascii")
    for form in FORMS:
        octets = form.before + name + form.end
        answers = _ended_by_lf(subject, octets) if form.end == b"\n" else subject.replies_to(octets)
        verdict, why = hidden(answers, subject.vrfy, form.expected)
        # RFC 5321 2.4: verbs are not case sensitive.
        if form.before == b"vrfy " and verdict is not Verdict.HOLE:
            verdict, why = Verdict.OK, ""
        yield _finding("forms", form.shown, verdict, why, answers, form.advice)


def _ended_by_lf(subject: Subject, octets: bytes) -> list[Answer]:
    # A server that waits for the CR says nothing: that is no reason to wait as long as for a reply.
    with subject.greeted() as conversation:
        conversation.put(octets)
        answer = conversation.answer(min(LISTEN_SECONDS, subject.wishes.timeout))
        return until_quit(conversation, [answer])


def _finding(probe: str, asked: str, verdict: Verdict, why: str, answers: list[Answer], advice: str) -> Finding:
    said = "; ".join(answer.said for answer in answers[:3])
    if len(answers) > 3:
        said += f"; {len(answers) - 3} more"
    return Finding(probe, asked, verdict, f"{said} ({why})" if why else said, advice if why else "")


def long_lines(subject: Subject) -> Iterator[Finding]:
    """A VRFY where a server's buffer for a line may end."""
    name = subject.wishes.known.encode("ascii")
    for length in LINE_LENGTHS:
        # The blank before it is for a server that keeps an octet for the end of the string.
        answers = subject.replies_to(b"NOOP " + b"A" * (length - 6) + b" VRFY " + name + b"\r\n")
        verdict, why = hidden(answers, subject.vrfy, 1)
        yield _finding("long-lines", f"behind {length} octets", verdict, why, answers, LONG_ADVICE)


def early(subject: Subject) -> Iterator[Finding]:
    """Commands that come before they may: before the banner, and behind EHLO."""
    name = subject.wishes.known.encode("ascii")
    with subject.connected() as conversation:
        conversation.put(b"VRFY " + name + b"\r\n")
        answers = until_quit(conversation, [conversation.answer()])
    verdict, why = hidden(answers, subject.vrfy, 1)
    if verdict is not Verdict.HOLE:
        verdict, why = Verdict.OK, ""
        if any(is_verifying(answer) for answer in answers[1:]):
            verdict, why = Verdict.NOTE, "answered, unless the banner was faster than we"
    yield _finding("early", "VRFY before the banner", verdict, why, answers[1:] or answers, EARLY_ADVICE)
    with subject.welcomed() as conversation:
        # PIPELINING (RFC 2920 3.1) is not offered before this EHLO has its reply.
        conversation.put(b"EHLO " + subject.helo(conversation) + b"\r\nNOOP\r\n")
        answers = until_quit(conversation, [conversation.answer()])
    taken = answers[0].code == 250 and len(answers) > 1 and answers[1].code == 250
    verdict, why = (Verdict.NOTE, "executed") if taken else (Verdict.OK, "")
    yield _finding("early", "NOOP behind EHLO", verdict, why, answers[1:] or answers, EARLY_ADVICE)


def http(subject: Subject) -> Iterator[Finding]:
    """A first line of HTTP."""
    with subject.welcomed() as conversation:
        answer = conversation.say(b"GET / HTTP/1.0")
        after = answer if conversation.ended else conversation.say(b"NOOP")
    goes_on = after.code == 250
    verdict = Verdict.NOTE if goes_on else Verdict.OK
    seen = f"{answer.said} (and goes on)" if goes_on else answer.said
    yield Finding("http", "GET / HTTP/1.0", verdict, seen, HTTP_ADVICE if goes_on else "")


def data(subject: Subject) -> Iterator[Finding]:
    """DATA that is refused, and DATA with something behind it."""
    plain, name = subject.vrfy, subject.wishes.known
    with subject.greeted() as conversation:
        refused = conversation.say(b"DATA")
        if refused.code == 354:
            seen, advice = "354 without MAIL and RCPT", "RFC 5321 4.1.4 wants 503"
            yield Finding("data", "DATA without MAIL", Verdict.WARNING, seen, advice)
        else:
            answers = [refused, conversation.say(f"VRFY {name}".encode("ascii"))]
            passed = is_verifying(answers[1]) and not tells(plain) and answers[1].code != plain.code
            verdict, why = (Verdict.HOLE, "the plain form is refused") if passed else (Verdict.OK, "")
            yield _finding("data", "VRFY behind a refused DATA", verdict, why, answers, DATA_ADVICE)
    recipient = _recipient(subject)
    with subject.greeted() as conversation:
        _begin_mail(conversation, recipient)
        # Whatever comes, it is no end of a message: `leave` resets.
        conversation.put(b"DATA\r\nNOOP\r\n")
        answer = conversation.answer()
    verdict, why = (Verdict.NOTE, "taken for the message") if answer.code == 354 else (Verdict.OK, "")
    yield _finding("data", "NOOP behind DATA", verdict, why, [answer], EARLY_ADVICE)


def bare_lf(subject: Subject) -> Iterator[Finding]:
    """A bare LF in a message, which never gets an end."""
    recipient = _recipient(subject)
    with subject.greeted() as conversation:
        _begin_mail(conversation, recipient)
        go_ahead = conversation.say(b"DATA")
        if go_ahead.code != 354:
            raise NotAsked(f"DATA: {go_ahead.said}")
        conversation.content(b"Subject: audit\r\n\r\nfirst\nsecond\r\nthird\r\n")
        answer = conversation.answer(min(LISTEN_SECONDS, subject.wishes.timeout))
        conversation.reset()
    if answer.closed or answer.code >= 400:
        yield Finding("bare-lf", "in a message", Verdict.OK, answer.said)
        return
    seen = f"{answer.said}: what becomes of it cannot be told without delivering a message"
    yield Finding("bare-lf", "in a message", Verdict.NOTE, seen, BARE_ADVICE)


def _recipient(subject: Subject) -> str:
    return f"{subject.wishes.known}@{subject.domain}"


def _begin_mail(conversation: Conversation, recipient: str) -> None:
    """Say MAIL and RCPT; raises NotAsked if the recipient is not accepted, nor postmaster (RFC 5321 4.5.1)."""
    sender = conversation.say(b"MAIL FROM:<>")
    if sender.is_refusal:
        raise NotAsked(f"MAIL FROM:<>: {sender.said}")
    for address in (recipient, "postmaster"):
        answer = conversation.say(f"RCPT TO:<{address}>".encode("ascii"))
        if not answer.is_refusal:
            return
    raise NotAsked(f"no recipient is accepted: {answer.said}")
