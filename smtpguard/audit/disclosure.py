"""Probes for what a server tells about itself, its users and its lists.

Contract: each yields findings and never raises but `NotAsked`.  Only questions are put here that a
server answers and forgets; ETRN names a host that cannot exist (RFC 6761 6.4).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from statistics import median
from typing import Final

from .conversation import Answer
from .findings import Finding, Verdict, worst
from .subject import Subject, as_octets
from .verifying import comparable, tells

_PRODUCT: Final = re.compile(
    rb"(?i)\b(sendmail|postfix|exim|opensmtpd|qmail|microsoft|exchange|zimbra|haraka|mdaemon|courier|lotus|domino"
    rb"|groupwise|imail|hmailserver|mailenable|kerio|smail|zmailer|james|cyrus|barracuda|ironport)\b"
)
# Not a part of a name or an address: those stand behind a dot, a hyphen or in brackets.
_VERSION: Final = re.compile(rb"(?<![\w.\-@])v?[0-9]+\.[0-9]+[\w.+/-]*")

BANNER_ADVICE: Final = (
    "smtpguard: banner; sendmail: confSMTP_LOGIN_MSG; Postfix: smtpd_banner; Exim: smtp_banner: say the host name only"
)
HELP_ADVICE: Final = (
    "smtpguard: check_help: [{action: reply}]; sendmail: an empty HelpFile (confHELP_FILE); other servers: not in front"
    " of the world without a guard"
)
VRFY_ADVICE: Final = (
    "smtpguard: check_vrfy: [{action: reply}]; sendmail: PrivacyOptions novrfy; Postfix: disable_vrfy_command = yes;"
    " Exim: no acl_smtp_vrfy"
)
EXPN_ADVICE: Final = (
    "smtpguard: check_expn: [{action: reply}]; sendmail: PrivacyOptions noexpn; Exim: acl_smtp_expn for insiders only"
)
ETRN_ADVICE: Final = (
    "smtpguard: check_etrn: [{action: reply}]; sendmail: PrivacyOptions noetrn; Postfix: smtpd_etrn_restrictions;"
    " Exim: acl_smtp_etrn"
)
VERB_ADVICE: Final = "smtpguard: check_verb: [{action: reply}]; sendmail: PrivacyOptions noverb"
PROBE_ADVICE: Final = (
    "a server of the 1980s, or one that plays it: upgrade it; until then smtpguard: check_debug, check_showq,"
    " check_wiz, check_kill and check_shell: [{action: reply}]"
)
RCPT_ADVICE: Final = (
    "RCPT cannot be refused without refusing mail: slow guessing down. smtpguard: delay in a rule of check_rcpt;"
    " sendmail: BadRcptThrottle; Postfix: smtpd_soft_error_limit; Exim: ratelimit in acl_smtp_rcpt"
)
KEYWORD_ADVICE: Final = (
    "smtpguard: a rule that refuses the verb takes the keyword away; sendmail: PrivacyOptions; Postfix:"
    " smtpd_discard_ehlo_keywords; Exim: the *_advertise_hosts options"
)

_KEYWORDS: Final = {
    Verdict.WARNING: ("EXPN", "VERB", "XCLIENT", "XFORWARD", "XADR", "XDEBUG", "ONEX", "TURN"),
    Verdict.NOTE: (
        *("VRFY", "ETRN", "ATRN", "CHUNKING", "BURL", "XUSR", "XEXCH50", "X-EXPS", "X-LINK2STATE", "X-ANONYMOUSTLS"),
        *("XSHADOW", "XSHADOWREQUEST", "XPROXY", "XPROXYFROM", "XPROXYTO", "CLIENTID", "SEND", "SOML", "SAML"),
    ),
}

TIMED_CONNECTIONS: Final = 4
"""Conversations for the timing of VRFY, each with two known and two unknown names."""
TIMED_SECONDS: Final = 0.01
"""A smaller difference of the medians is not told from the network's."""

LISTS: Final = ("all", "staff", "postmaster", "root")


def banner(subject: Subject) -> Iterator[Finding]:
    """What the first line says."""
    said = subject.hello.banner
    # The host's name is no version, whatever its digits.
    verdict, advice = _leak(said.text.partition(b" ")[2], BANNER_ADVICE)
    yield Finding("banner", "first line", verdict, said.said, advice)
    if not said.strict:
        yield Finding(
            "banner", "form", Verdict.NOTE, "not a reply in the form of RFC 5321 4.2", "look at what stands before it"
        )


def help_text(subject: Subject) -> Iterator[Finding]:
    """What HELP says."""
    (answer,) = subject.ask(b"HELP")
    if answer.is_refusal:
        yield Finding("help", "HELP", Verdict.OK, answer.said)
        return
    verdict, advice = _leak(answer.text, HELP_ADVICE)
    yield Finding("help", "HELP", worst([verdict]), answer.said, advice)
    listed = [verb for verb in ("VRFY", "EXPN", "VERB", "ETRN") if re.search(rf"\b{verb}\b".encode(), answer.text)]
    if listed:
        yield Finding("help", "topics", Verdict.NOTE, f"lists {', '.join(listed)}", HELP_ADVICE)


def _leak(text: bytes, advice: str) -> tuple[Verdict, str]:
    bare = re.sub(rb"\[[^\]]*\]", b"", text)
    if _VERSION.search(bare):
        return Verdict.WARNING, advice
    return (Verdict.NOTE, advice) if _PRODUCT.search(bare) else (Verdict.OK, "")


def ehlo(subject: Subject) -> Iterator[Finding]:
    """Which service extensions are offered to strangers."""
    offered = subject.hello.keywords
    if not offered:
        yield Finding(
            "ehlo", "keywords", Verdict.NOTE, subject.hello.reply.said, "no service extensions: RFC 5321 2.2.1"
        )
        return
    found = [(verdict, word) for verdict, words in _KEYWORDS.items() for word in words if word in offered]
    for verdict, word in found:
        yield Finding("ehlo", word, verdict, "offered", ETRN_ADVICE if word == "ETRN" else KEYWORD_ADVICE)
    if not found:
        yield Finding("ehlo", "keywords", Verdict.OK, subject.hello.reply.said)


def vrfy(subject: Subject) -> Iterator[Finding]:
    """Whether VRFY says who exists."""
    known, unknown = subject.wishes.known, subject.wishes.unknown
    answers = subject.ask(*as_octets((f"VRFY {known}", f"VRFY {unknown}", "VRFY root", "VRFY")))
    for asked, answer in zip((f"VRFY {known}", "VRFY of no user", "VRFY root", "VRFY alone"), answers, strict=True):
        verdict = Verdict.WARNING if tells(answer) else Verdict.OK
        yield Finding("vrfy", asked, verdict, answer.said, VRFY_ADVICE if verdict.is_bad else "")
    same = comparable(answers[0], known) == comparable(answers[1], unknown)
    if not same and not any(tells(answer) for answer in answers[:2]):
        seen = "the replies for a known and an unknown name differ"
        yield Finding("vrfy", "texts", Verdict.WARNING, seen, VRFY_ADVICE)


def expn(subject: Subject) -> Iterator[Finding]:
    """Whether EXPN opens lists."""
    for name, answer in zip(LISTS, subject.ask(*as_octets(f"EXPN {name}" for name in LISTS)), strict=True):
        verdict = Verdict.WARNING if tells(answer) else Verdict.OK
        yield Finding("expn", f"EXPN {name}", verdict, answer.said, EXPN_ADVICE if verdict.is_bad else "")


def timing(subject: Subject) -> Iterator[Finding]:
    """Whether a refused VRFY takes longer for one name than for another."""
    known, unknown = subject.wishes.known, subject.wishes.unknown
    if tells(subject.vrfy):
        yield Finding("timing", "VRFY", Verdict.OK, "not measured: the text of the reply tells already")
        return
    seconds: dict[str, list[float]] = {known: [], unknown: []}
    for _ in range(TIMED_CONNECTIONS):
        with subject.greeted() as conversation:
            # In this order neither name is always the first.
            for name in (known, unknown, unknown, known):
                answer = conversation.say(f"VRFY {name}".encode("ascii"))
                if answer.closed or answer.over:
                    break
                seconds[name].append(answer.waited)
    if not seconds[known] or not seconds[unknown]:
        yield Finding("timing", "VRFY", Verdict.OK, "not measured: VRFY gets no reply")
        return
    yield _compared(seconds[known], seconds[unknown])


def _compared(known: list[float], unknown: list[float]) -> Finding:
    apart = abs(median(known) - median(unknown))
    seen = f"medians: known {median(known) * 1000:.1f} ms, unknown {median(unknown) * 1000:.1f} ms"
    if apart < TIMED_SECONDS:
        return Finding("timing", "VRFY", Verdict.OK, seen)
    if max(known) < min(unknown) or max(unknown) < min(known):
        return Finding("timing", "VRFY", Verdict.WARNING, f"{seen}; every one of the one slower", VRFY_ADVICE)
    return Finding("timing", "VRFY", Verdict.NOTE, f"{seen}; they spread too much to tell", "ask again from nearer")


def verbs(subject: Subject) -> Iterator[Finding]:
    """Verbs that no stranger needs."""
    bad = {
        **dict.fromkeys(("DEBUG", "SHOWQ", "WIZ", "KILL", "SHELL", "TURN"), (Verdict.HOLE, PROBE_ADVICE)),
        "VERB": (Verdict.WARNING, VERB_ADVICE),
        **dict.fromkeys(("SEND FROM:<>", "SOML FROM:<>", "SAML FROM:<>"), (Verdict.WARNING, PROBE_ADVICE)),
        "ETRN audit.invalid": (Verdict.NOTE, ETRN_ADVICE),
    }
    for asked, answer in zip(bad, subject.ask(*as_octets(bad)), strict=True):
        verdict, advice = bad[asked] if _obeyed(answer) else (Verdict.OK, "")
        yield Finding("verbs", asked, verdict, answer.said, advice)


def _obeyed(answer: Answer) -> bool:
    # SHOWQ of old sendmails answers without a code.
    return 200 <= answer.code < 400 or (bool(answer.octets) and not answer.code)


def recipients(subject: Subject) -> Iterator[Finding]:
    """Whether RCPT says who exists; nothing follows it but RSET and QUIT."""
    addresses = [f"{name}@{subject.domain}" for name in (subject.wishes.known, subject.wishes.unknown)]
    with subject.greeted() as conversation:
        sender = conversation.say(b"MAIL FROM:<>")
        if sender.is_refusal:
            yield Finding("recipients", "MAIL FROM:<>", Verdict.NOTE, sender.said, unasked=True)
            return
        answers = [conversation.say(f"RCPT TO:<{address}>".encode("ascii")) for address in addresses]
    known, unknown = answers
    seen = f"known: {known.code or known.said}, unknown: {unknown.code or unknown.said}"
    if (known.code // 100, unknown.code // 100) == (2, 5):
        yield Finding("recipients", "RCPT", Verdict.NOTE, seen, RCPT_ADVICE)
    else:
        yield Finding("recipients", "RCPT", Verdict.OK, seen)
