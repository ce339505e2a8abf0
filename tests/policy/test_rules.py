"""Rule sets: conditions, order, `check_other`, and what EHLO may show."""

from __future__ import annotations

import pytest

from smtpguard.config.faults import Faulty
from smtpguard.policy.decision import Decision, decide
from smtpguard.policy.networks import UNIX_PEER, Peer
from smtpguard.policy.reply_profiles import PROFILES, reply_for
from smtpguard.policy.rules import Policy
from smtpguard.smtp.answers import Closing
from smtpguard.smtp.bounds import Bounds
from smtpguard.smtp.budgets import UNLESS_SAID, Budgets
from smtpguard.smtp.grammar import Command, parse
from smtpguard.smtp.replies import Reply
from smtpguard.smtp.terms import BareNewline, EarlyInput, Terms
from smtpguard.smtp.verbs import CORE, KNOWN_VERBS, NEVER_FORWARDED
from smtpguard.smtp.verdict import Action, Facts
from tests.smtp.table import policy

GREETED = Facts(greeted=True, esmtp=True)
OUTSIDE, INSIDE = Peer.parse("203.0.113.9"), Peer.parse("10.1.2.3")


def said(rules: Policy, line: str, peer: Peer = OUTSIDE, facts: Facts = GREETED, listener: str = "") -> str:
    """Return what becomes of a line: `forward`, `close` or the reply."""
    decision = decide(rules, peer, line.encode("latin-1"), Closing("guard.test"), facts, listener)
    return str(decision) if decision.verdict.action is Action.REPLY else decision.verdict.action.value


def test_the_first_rule_that_matches_wins_and_none_means_forward() -> None:
    """As in sendmail's own rule sets."""
    rules = policy(
        """
networks: {a: [10.0.0.0/8], b: [10.1.0.0/16]}
rulesets:
  check_vrfy:
    - {from: b, action: reply, reply: "550 5.7.1 first"}
    - {from: a, action: reply, reply: "550 5.7.1 second"}
"""
    )
    assert said(rules, "VRFY x", INSIDE) == "550 5.7.1 first"
    assert said(rules, "VRFY x", Peer.parse("10.2.0.1")) == "550 5.7.1 second"
    assert said(rules, "VRFY x", OUTSIDE) == "forward"


@pytest.mark.parametrize("shadow", ["false", "true"])
def test_verbs_that_a_client_makes_up_share_one_verdict(shadow: str) -> None:
    """It is worked out once and kept; one for each verb would let clients fill memory."""
    judge = policy(f"rulesets: {{check_other: [{{action: reply, shadow: {shadow}}}]}}").judge_for(OUTSIDE, "")
    first, second = (judge.judge(Command(verb + b"\r\n", verb, None), GREETED) for verb in (b"XFIRST", b"XSECOND"))
    assert first is second
    assert (first.action, first.would is not None) == (
        (Action.FORWARD, True) if shadow == "true" else (Action.REPLY, False)
    )


CERTIFIED = Facts(tls=True, tls_names=frozenset({"mx.partner.example"}))
CERTIFIED_USER = Facts(tls=True, tls_names=frozenset({"eve@mx.partner.example"}))
CERTIFIED_LINES = Facts(tls=True, tls_names=frozenset({"e\nve@mx.partner.example"}))


@pytest.mark.parametrize(
    ("condition", "facts", "listener", "matches"),
    [
        ("from: 203.0.113.0/24", GREETED, "", True),
        ("from: [10.0.0.0/8, net]", GREETED, "", True),
        ("from: 10.0.0.0/8", GREETED, "", False),
        ("from_not: 10.0.0.0/8", GREETED, "", True),
        ("from_not: [10.0.0.0/8, net]", GREETED, "", False),
        ("from: net, from_not: 203.0.113.9", GREETED, "", False),
        ("argument: 'geo*'", GREETED, "", True),
        ("argument: ['x', 'GEORGE']", GREETED, "", True),
        ("argument: 'geo'", GREETED, "", False),
        ("argument: 'geo.ge'", GREETED, "", False),
        ("argument: 'ge[a-o]rge'", GREETED, "", True),
        ("greeted: true", GREETED, "", True),
        ("greeted: false", GREETED, "", False),
        ("greeted: false", Facts(), "", True),
        ("esmtp: true", Facts(greeted=True), "", False),
        ("tls: true", GREETED, "", False),
        ("tls: true", Facts(tls=True), "", True),
        ("authenticated: true", GREETED, "", False),
        ("authenticated: true", Facts(authenticated=True), "", True),
        ("tls_name: mx.partner.example", CERTIFIED, "", True),
        (
            "tls_name: ['x', '*.PARTNER.example']",
            CERTIFIED,
            "",
            True,
        ),
        ("tls_name: '*'", Facts(tls=True), "", False),
        ("tls_name: partner.example", CERTIFIED, "", False),
        ("tls_name: '*.partner.example'", CERTIFIED_USER, "", False),
        ("tls_name: '*.partner.example'", CERTIFIED_LINES, "", False),
        ("tls_name: ['x', 'eve@*']", CERTIFIED, "", False),
        ("tls_name: '*@MX.partner.example'", CERTIFIED_USER, "", True),
        ("tls_name: ['*.partner.example', '*']", CERTIFIED_USER, "", True),
        ("auth_failed: true", GREETED, "", False),
        ("auth_failed: true", Facts(auth_failed=True), "", True),
        ("auth_failed: false", Facts(auth_failed=True), "", False),
        ("listener: submission", GREETED, "submission", True),
        ("listener: [a, b]", GREETED, "submission", False),
        ("tls: false, authenticated: false, from: net, argument: 'george', greeted: true", GREETED, "", True),
        ("tls: false, authenticated: false, from: net, argument: 'george', greeted: false", GREETED, "", False),
    ],
)
def test_a_rule_matches_if_all_its_conditions_hold(condition: str, facts: Facts, listener: str, matches: bool) -> None:
    """Each condition alone, and some together."""
    rules = policy(
        "networks: {net: [203.0.113.0/24]}\n"
        f'rulesets: {{check_vrfy: [{{{condition}, action: reply, reply: "550 5.7.1 yes"}}]}}'
    )
    expected = "550 5.7.1 yes" if matches else "forward"
    assert said(rules, "VRFY  george ", OUTSIDE, facts, listener) == expected


def test_check_other_is_for_verbs_without_a_rule_set_that_mail_does_not_need() -> None:
    """Unknown verbs too; the verbs of mail never."""
    rules = policy("rulesets: {check_other: [{action: reply}], check_help: [{action: forward}]}")
    assert said(rules, "HELP") == "forward"
    for verb in CORE - {b"STARTTLS", b"BDAT"}:
        assert said(rules, verb.decode()) == "forward"
    for verb in KNOWN_VERBS - CORE - {b"HELP"}:
        assert said(rules, verb.decode()) == str(reply_for("sendmail", verb))
    assert said(rules, "FOOBAR x") == "500 5.5.1 Command unrecognized"


def test_a_declared_verb_may_have_a_rule_set() -> None:
    """In any letter case."""
    rules = policy("verbs: [xfoo]\nrulesets: {check_XFoo: [{action: reply}]}")
    assert said(rules, "xFOO bar") == "500 5.5.1 Command unrecognized"
    assert said(rules, "XFOOX bar") == "forward"


def test_no_policy_forwards_what_must_not_be() -> None:
    """`forward` in a rule does not help."""
    for verb in [*NEVER_FORWARDED, b"XPROXYNEW"]:
        rules = policy(f"verbs: [{verb.decode()}]\nrulesets: {{check_{verb.decode()}: [{{action: forward}}]}}")
        assert said(rules, f"{verb.decode()} x") == "500 5.5.1 Command unrecognized"
    assert said(policy("{}"), "STARTTLS") == "502 5.5.1 Command not implemented"
    assert said(policy("{}"), "DATA x") == "501 5.5.4 No argument is allowed here"


def test_a_line_outside_the_grammar_needs_no_rule() -> None:
    """`explain` and `tests` say so too."""
    assert said(policy("{}"), " VRFY x") == "500 5.5.2 Syntax error, command unrecognized"
    assert said(policy("{}"), "VRFY x\nVRFY y") == "close"


def test_a_client_without_address_is_in_no_network() -> None:
    """Not even in one that has every address."""
    rules = policy('networks: {all: [0.0.0.0/0, "::/0"]}\nrulesets: {check_vrfy: [{from_not: all, action: reply}]}')
    assert said(rules, "VRFY x", UNIX_PEER).startswith("252 ")
    assert said(rules, "VRFY x", OUTSIDE) == "forward"


def test_a_delay_goes_with_any_action() -> None:
    """The verdict carries it."""
    rules = policy("rulesets: {check_vrfy: [{action: forward, delay: 1.5}], check_expn: [{action: close, delay: 2}]}")
    judge = rules.judge_for(OUTSIDE, "")
    delays = []
    for line in (b"VRFY x\r\n", b"EXPN x\r\n"):
        command = parse(line)
        assert isinstance(command, Command)
        delays.append(judge.judge(command, GREETED).delay)
    assert delays == [1.5, 2.0]


@pytest.mark.parametrize(
    ("rules", "shown"),
    [
        ("[{action: forward}]", True),
        ("[{action: reply}]", False),
        ("[{action: close}]", False),
        ("[{from: 10.0.0.0/8, action: forward}, {action: reply}]", False),
        ("[{from_not: 10.0.0.0/8, action: forward}, {action: reply}]", True),
        ("[{argument: 'x*', action: reply}]", True),
        ("[{argument: 'x*', action: forward}, {action: reply}]", True),
        ("[{argument: 'x*', action: reply}, {action: reply}]", False),
        ("[{authenticated: true, action: forward}, {action: reply}]", True),
        ("[{authenticated: false, action: reply}]", True),
        ("[{tls: true, action: forward}, {action: reply}]", False),
        ("[{esmtp: true, action: reply}]", False),
        ("[{esmtp: false, action: reply}]", True),
        ("[{greeted: false, action: reply}, {from: 203.0.113.9, action: reply}]", False),
    ],
)
def test_a_keyword_is_shown_if_some_argument_would_be_forwarded(rules: str, shown: bool) -> None:
    """Now, or once authenticated."""
    judge = policy(f"rulesets: {{check_etrn: {rules}}}").judge_for(OUTSIDE, "")
    assert judge.may_forward(b"ETRN", GREETED) is shown
    assert judge.may_forward(b"SIZE", GREETED)


def test_once_authenticated_a_keyword_is_shown_as_the_rules_say() -> None:
    """An EHLO after AUTH is legal."""
    judge = policy("rulesets: {check_etrn: [{authenticated: false, action: forward}, {action: reply}]}").judge_for(
        OUTSIDE, ""
    )
    assert judge.may_forward(b"ETRN", GREETED)
    assert not judge.may_forward(b"ETRN", Facts(greeted=True, esmtp=True, authenticated=True))


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_answers_every_verb_and_quotes_nobody(profile: str) -> None:
    """A reply is one line, and the client can go on after it."""
    rules = policy(f"replies: {profile}\nrulesets: {{check_other: [{{action: reply}}]}}")
    for verb in [*KNOWN_VERBS, b"FOOBAR"]:
        reply = reply_for(profile, verb)
        assert reply.octets.endswith(b"\r\n")
        assert reply.code in (252, 500, 502, 550)
    assert "canary" not in said(rules, "VRFY canary") + said(rules, "CANARY canary").lower()


def test_profiles_say_what_their_names_promise() -> None:
    """The ones that scanners and auditors look for."""
    replies = {profile: (reply_for(profile, b"VRFY").code, reply_for(profile, b"EXPN").code) for profile in PROFILES}
    assert replies == {"sendmail": (252, 502), "rfc5321": (252, 252), "stig": (500, 500), "postfix": (502, 502)}


def test_a_decision_meets_what_a_test_expects_of_it() -> None:
    """`forward`, `close` or a code."""
    rules = policy("rulesets: {check_vrfy: [{action: reply}], check_wiz: [{action: close}]}")

    def decision(line: bytes) -> Decision:
        return decide(rules, OUTSIDE, line, Closing("guard.test"))

    assert decision(b"VRFY x").meets("252")
    assert not decision(b"VRFY x").meets("250")
    assert not decision(b"VRFY x").meets("forward")
    assert decision(b"WIZ").meets("close")
    assert decision(b"WIZ").meets("421")
    assert decision(b"NOOP").meets("forward")
    assert not decision(b"NOOP").meets("close")


def test_clients_that_no_rule_tells_apart_share_a_judge() -> None:
    """What a connection costs does not grow with the policy."""
    rules = policy("networks: {a: [10.0.0.0/8]}\nrulesets: {check_vrfy: [{from: a, action: forward}, {action: reply}]}")
    assert rules.judge_for(INSIDE, "x") is rules.judge_for(Peer.parse("10.9.9.9"), "x")
    assert rules.judge_for(INSIDE, "x") is not rules.judge_for(OUTSIDE, "x")


@pytest.mark.parametrize("verb", ["mail", "rcpt", "data"])
def test_no_rule_may_say_that_mail_was_accepted(verb: str) -> None:
    """A 250 that no server gave is a message lost."""
    with pytest.raises(Faulty, match="would promise what no mail server has accepted"):
        policy(f'rulesets: {{check_{verb}: [{{action: reply, reply: "250 2.0.0 ok"}}]}}')
    policy(f'rulesets: {{check_{verb}: [{{action: reply, reply: "451 4.7.1 later"}}]}}')


def test_what_is_chosen_by_network_is_that_of_the_first_listed() -> None:
    """A client in none of them has the default, and that is the strict one unless said otherwise."""
    text = """
networks: {internal: [10.0.0.0/8], printers: [10.1.0.0/16], old: [10.1.2.0/24]}
bare_newline: {printers: normalize, internal: reject, old: reject}
early_input: {default: reject, internal: hold}
budgets: {vrfy: 3}
banner: mx.example.org
verbs: [XADR]
rulesets: {}
"""
    rules = policy(text)
    base = Terms(Bounds(queue=5000), chunking=True)

    def terms(source: str) -> Terms:
        return rules.terms_for(Peer.parse(source), base)

    normalize, reject, hold = BareNewline.NORMALIZE, BareNewline.REJECT, EarlyInput.HOLD
    assert [terms(f"10.{i}.2.1").bare_newline for i in (0, 1)] == [reject, normalize]
    assert terms("192.0.2.1").bare_newline is reject
    assert [terms(source).early_input for source in ("10.1.2.1", "192.0.2.1")] == [hold, EarlyInput.REJECT]
    assert terms("10.0.0.1").budgets is None
    assert terms("192.0.2.1").budgets == Budgets(vrfy=3)
    for source in ("10.0.0.1", "192.0.2.1"):
        assert terms(source).banner == Reply.parse("220 mx.example.org")
        assert terms(source).verbs == {b"XADR"}
        assert (terms(source).bounds, terms(source).chunking) == (base.bounds, True)
    silent = policy("rulesets: {}").terms_for(Peer.parse("10.0.0.1"), Terms())
    assert silent == Terms(budgets=UNLESS_SAID)


@pytest.mark.parametrize(
    ("line", "facts", "verdict"),
    [
        ("MAIL FROM:<\xe9@b> SMTPUTF8", GREETED, "forward"),
        ("RCPT TO:<\xe9@b>", GREETED, "forward"),
        ("MAIL FROM:<\xe9@b>", GREETED, "close"),
        ("MAIL FROM:<\xe9@b> SMTPUTF8 BODY=7BIT", GREETED, "close"),
        ("MAIL FROM:<\xe9@b> SMTPUTF8", Facts(greeted=True), "close"),
        ("VRFY \xe9", GREETED, "close"),
    ],
)
def test_an_octet_above_7f_is_decided_as_in_a_session(line: str, facts: Facts, verdict: str) -> None:
    """Where the server offers SMTPUTF8, and the client asked for it."""
    decision = decide(policy("rulesets: {}"), OUTSIDE, line.encode("utf-8"), Closing("guard.test"), facts)
    assert decision.verdict.action.value == verdict


# -- what the guard itself does not let outsiders relay ------------------------------------------------

RELAYING = "networks: {internal: [10.0.0.0/8]}\nrelay_domains: [example.org, .example.org]\n"


@pytest.mark.parametrize(
    ("command", "peer", "facts", "expected"),
    [
        ("RCPT TO:<george@example.org>", OUTSIDE, GREETED, "forward"),
        ("RCPT TO:<george@Sub.Example.ORG> NOTIFY=NEVER", OUTSIDE, GREETED, "forward"),
        ("RCPT TO:<george@elsewhere.example>", OUTSIDE, GREETED, "550 5.7.1 Relaying denied"),
        ("RCPT TO:<george%elsewhere.example@example.org>", OUTSIDE, GREETED, "550 5.7.1 Relaying denied"),
        ("rcpt to:<@example.org:george@elsewhere.example>", OUTSIDE, GREETED, "550 5.7.1 Relaying denied"),
        ("RCPT", OUTSIDE, GREETED, "550 5.7.1 Relaying denied"),
        ("RCPT TO:<george@elsewhere.example>", INSIDE, GREETED, "forward"),
        ("RCPT TO:<george@elsewhere.example>", OUTSIDE, Facts(authenticated=True), "forward"),
        ("RCPT TO:<george@elsewhere.example>", OUTSIDE, Facts(auth_failed=True), "550 5.7.1 Relaying denied"),
        ("MAIL FROM:<george@elsewhere.example>", OUTSIDE, GREETED, "forward"),
    ],
)
def test_relay_domains_hold_for_outsiders(command: str, peer: Peer, facts: Facts, expected: str) -> None:
    """Not for insiders, nor for who has authenticated."""
    assert said(policy(RELAYING + "rulesets: {}"), command, peer, facts) == expected


def test_a_rule_of_ones_own_for_rcpt_refuses_first_and_permits_nothing() -> None:
    """`forward` in a rule set means: as far as the rule set is concerned."""
    rules = policy(
        RELAYING + "rulesets: {check_rcpt: [{argument: '*george*', action: reply, reply: 550 5.1.1 No george}, "
        "{action: forward}]}"
    )
    assert said(rules, "RCPT TO:<george@elsewhere.example>", OUTSIDE) == "550 5.1.1 No george"
    assert said(rules, "RCPT TO:<anna@elsewhere.example>", OUTSIDE) == "550 5.7.1 Relaying denied"
    assert said(rules, "RCPT TO:<anna@example.org>", OUTSIDE) == "forward"


def test_auth_that_requires_tls_goes_before_the_files_own_rules() -> None:
    """And holds for insiders too."""
    rules = policy("auth: {require_tls: true}\nrulesets: {check_auth: [{authenticated: false, action: forward}]}")
    assert said(rules, "AUTH PLAIN", INSIDE) == "538 5.7.11 Encryption required: say STARTTLS first"
    assert said(rules, "AUTH PLAIN", INSIDE, Facts(tls=True)) == "forward"
    judge = rules.judge_for(INSIDE, "")
    assert not judge.may_forward(b"AUTH", GREETED)
    assert judge.may_forward(b"AUTH", Facts(tls=True))


def test_a_keyword_that_only_a_failed_auth_would_hide_is_shown() -> None:
    """It may yet come to that, and until then the verb is forwarded."""
    rules = policy("rulesets: {check_etrn: [{auth_failed: true, action: reply}, {action: forward}]}")
    assert rules.judge_for(OUTSIDE, "").may_forward(b"ETRN", GREETED)
    assert not rules.judge_for(OUTSIDE, "").may_forward(b"ETRN", Facts(auth_failed=True))
    rules = policy("rulesets: {check_etrn: [{tls_name: '*', action: forward}, {action: reply}]}")
    assert not rules.judge_for(OUTSIDE, "").may_forward(b"ETRN", Facts(tls=True))
    assert rules.judge_for(OUTSIDE, "").may_forward(b"ETRN", Facts(tls=True, tls_names=frozenset({"mx.test"})))
