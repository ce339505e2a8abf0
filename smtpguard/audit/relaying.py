"""Probes for open relays, and for strangers who are believed to be somebody else.

Contract: each yields findings and never raises but `NotAsked`.  A relay attempt ends with RCPT; no
DATA follows, so a server that would relay is not made to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from attrs import frozen

from .conversation import Answer
from .findings import Finding, Verdict, worst
from .subject import NotAsked, Subject

RELAY_ADVICE: Final = (
    "an open relay, unless it relays for this machine: then ask from elsewhere. smtpguard: bind in the settings;"
    " sendmail: access map and relay-domains; Postfix: mynetworks, smtpd_relay_restrictions; Exim: acl_smtp_rcpt"
)
LOCAL_ADVICE: Final = (
    "a local user of that odd name, or a relay: that can only be told by delivering. Postfix: allow_percent_hack,"
    " swap_bangpath; sendmail: no FEATURE(`loose_relay_check'); Exim: refuse local parts with [@%!/|]"
)
OTHER_ADVICE: Final = (
    "refused for another reason than relaying: ask with --recipient at a domain of yours that takes mail"
)
XCLIENT_ADVICE: Final = (
    "Postfix: smtpd_authorized_xclient_hosts and smtpd_authorized_xforward_hosts must not have this client, nor a"
    " guard in front; smtpguard never forwards XCLIENT and XFORWARD"
)
PROXY_ADVICE: Final = (
    "only a proxy may reach this port. Postfix: smtpd_upstream_proxy_protocol; Exim: hosts_proxy; smtpguard never"
    " forwards PROXY"
)


@frozen
class Route:
    """A way to write a foreign recipient; `{user}`, `{foreign}` and `{host}` are filled in."""

    shown: str
    path: str
    may_be_local: bool = False
    """True if a server that knows no such route takes it for a user of its own."""


ROUTES: Final = (
    Route("user@foreign", "{user}@{foreign}"),
    Route("user%foreign@host", "{user}%{foreign}@{host}", True),
    Route("foreign!user", "{foreign}!{user}", True),
    Route("@host:user@foreign", "@{host}:{user}@{foreign}"),
    Route('"user@foreign"@host', '"{user}@{foreign}"@{host}', True),
    Route("user@foreign@host", "{user}@{foreign}@{host}", True),
    # TEST-NET-1 (RFC 5737): nothing is there.
    Route("user@[address]", "{user}@[192.0.2.1]"),
    Route("user alone", "{user}", True),
)

# sendmail: 5.7.1 Relaying denied.  Postfix: 5.7.1 Relay access denied.  Exim: relay not permitted.
# qmail: not in my list of allowed rcpthosts (#5.7.1).
_ABOUT_RELAYING: Final = re.compile(rb"(?i)relay|rcpthosts|\b5\.7\.[0-9]")


def relay(subject: Subject) -> Iterator[Finding]:
    """Mail from strangers to strangers, in every way that a recipient has ever been written."""
    user, _, foreign = subject.wishes.recipient.rpartition("@")
    host = subject.domain
    paths = [route.path.format(user=user, foreign=foreign, host=host) for route in ROUTES]
    # The last one is what the others are held against: a user who does not exist there.
    paths.append(f"{subject.wishes.unknown}@{host}")
    senders = {"<>": "<>", "foreign": f"<{subject.wishes.recipient}>", "own": f"<postmaster@{host}>"}
    answers: dict[str, list[Answer]] = {}
    for shown, sender in senders.items():
        try:
            answers[shown] = _recipients(subject, sender, paths)
        except NotAsked as why:
            yield Finding("relay", f"from {shown}", Verdict.NOTE, f"could not be asked: {why}", unasked=True)
    if not answers:
        return
    any_user = all(not given[-1].is_refusal for given in answers.values())
    for place, route in enumerate(ROUTES):
        rated = {shown: _rate(given[place], route, any_user) for shown, given in answers.items()}
        verdict = worst(rated.values())
        shown = next(shown for shown, one in rated.items() if one is verdict)
        advice = LOCAL_ADVICE if route.may_be_local else RELAY_ADVICE
        if verdict is Verdict.NOTE and answers[shown][place].is_refusal:
            # Said plainly to one sender, it is enough.
            plain = any(_ABOUT_RELAYING.search(given[place].octets) for given in answers.values())
            verdict, advice = (Verdict.OK, "") if plain else (Verdict.NOTE, OTHER_ADVICE)
        seen = f"from {shown}: {answers[shown][place].said}"
        yield Finding("relay", route.shown, verdict, seen, "" if verdict is Verdict.OK else advice)


def _recipients(subject: Subject, sender: str, paths: list[str]) -> list[Answer]:
    """Return the answers to RCPT for each path, in as few transactions as the server allows; raises NotAsked."""
    answers: list[Answer] = []
    while len(answers) < len(paths):
        with subject.greeted() as conversation:
            said = conversation.say(f"MAIL FROM:{sender}".encode("ascii"))
            if said.is_refusal:
                if said.closed or said.over or said.code < 500:
                    raise NotAsked(f"MAIL: {said.said}")
                # To relay for nobody of this name is an answer to all of them.
                return answers + [said] * (len(paths) - len(answers))
            for place, path in enumerate(paths[len(answers) :]):
                answer = conversation.say(f"RCPT TO:<{path}>".encode("ascii"))
                if place and (answer.closed or answer.over or answer.code == 421):
                    break
                answers.append(answer)
                if conversation.ended:
                    break
    return answers


def _rate(answer: Answer, route: Route, any_user: bool) -> Verdict:
    if not answer.is_refusal:
        if route.may_be_local:
            # Where other users that do not exist are refused, this one is more than a name.
            return Verdict.NOTE if any_user or route.path == "{user}" else Verdict.WARNING
        return Verdict.HOLE
    if route.may_be_local or answer.closed:
        return Verdict.OK
    # 4yz: not now.  5.1.x, 556: that domain takes no mail, whoever asks.
    other = answer.code < 500 or answer.code == 556 or answer.enhanced.startswith("5.1.")
    return Verdict.NOTE if other and route.path == "{user}@{foreign}" else Verdict.OK


def identity(subject: Subject) -> Iterator[Finding]:
    """Strangers who say that they are at 127.0.0.1."""
    xclient, xforward = subject.ask(b"XCLIENT ADDR=127.0.0.1", b"XFORWARD ADDR=127.0.0.1")
    for asked, answer, bad in (("XCLIENT", xclient, Verdict.HOLE), ("XFORWARD", xforward, Verdict.WARNING)):
        accepted = not answer.is_refusal
        verdict = bad if accepted else Verdict.OK
        yield Finding("identity", asked, verdict, answer.said, XCLIENT_ADVICE if accepted else "")
    with subject.connected() as conversation:
        # Who expects this line (the PROXY protocol, version 1) says nothing about it.
        conversation.put(b"PROXY TCP4 127.0.0.1 127.0.0.1 1025 25\r\n")
        banner = conversation.answer()
        answer = conversation.say(b"NOOP") if banner.code == 220 else banner
    accepted = banner.code == 220 and answer.code == 250
    verdict = Verdict.HOLE if accepted else Verdict.OK
    yield Finding("identity", "PROXY", verdict, answer.said, PROXY_ADVICE if accepted else "")
