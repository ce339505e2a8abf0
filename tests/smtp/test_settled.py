"""The short way of a command that is always forwarded, and the long way that it spares: both end at the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smtpguard.policy.networks import Peer
from smtpguard.smtp.grammar import Command, parse
from smtpguard.smtp.invariants import is_free, overrule
from smtpguard.smtp.profiles import PROFILES
from smtpguard.smtp.terms import StartTls, Terms
from smtpguard.smtp.verbs import KNOWN_VERBS
from smtpguard.smtp.verdict import FORWARD, Facts
from tests.smtp.table import perimeter, policy

POLICIES = [
    perimeter(),
    policy("rulesets: {check_mail: [{argument: 'FROM:<>', action: reply}], check_rcpt: [{action: forward}]}"),
    policy(
        "rulesets: {check_rcpt: [{authenticated: false, action: reply}], check_quit: [{action: forward, delay: 1}]}"
    ),
    policy("relay_domains: [example.org]"),
    policy("rulesets: {check_helo: [{action: close}], check_ehlo: [{esmtp: true, action: reply}]}"),
]
PEERS = [Peer.parse("203.0.113.9"), Peer.parse("127.0.0.1"), Peer.parse("2001:db8::9")]
BOOLEANS = st.booleans()
TERMS = st.builds(
    Terms,
    profile=st.sampled_from(list(PROFILES.values())),
    chunking=BOOLEANS,
    starttls=st.sampled_from(list(StartTls)),
)
FACTS = st.builds(Facts, greeted=BOOLEANS, esmtp=BOOLEANS, tls=BOOLEANS, authenticated=BOOLEANS, auth_failed=BOOLEANS)
ARGUMENTS = st.sampled_from([b"", b" ", b" x", b" FROM:<>", b" TO:<a@example.org>", b" TO:<a@example.com>", b" 5 LAST"])


@given(st.sampled_from(sorted(KNOWN_VERBS)), ARGUMENTS, st.sampled_from(POLICIES), st.sampled_from(PEERS), TERMS, FACTS)
def test_what_is_free_would_be_forwarded_anyway(
    verb: bytes, argument: bytes, rules: object, peer: Peer, terms: Terms, facts: Facts
) -> None:
    """Whatever the policy, the client, the backend and the session: it spares a look, and no check."""
    command = parse(verb + argument + b"\r\n")
    judge = rules.judge_for(peer, "")  # type: ignore[attr-defined]
    if isinstance(command, Command) and is_free(command, judge.forwards, terms):
        verdict = overrule(command, judge.judge(command, facts), terms, facts)
        assert (verdict.action, verdict.delay) == (FORWARD.action, 0)
