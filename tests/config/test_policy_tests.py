"""A policy's own tests with whole sessions, and which rules they reach."""

from __future__ import annotations

import pytest

from smtpguard.config import policy_file
from smtpguard.config.faults import Faulty
from smtpguard.config.policy_file import SHIPPED, PolicyFile, build
from smtpguard.config.policy_test_models import MOST_LINES
from smtpguard.config.yaml_reader import read

RULES = """\
networks: {internal: [10.0.0.0/8]}
relay_domains: [example.org]
auth: {require_tls: true}
rulesets:
  check_vrfy:
    - {auth_failed: true, action: close}
    - {authenticated: true, tls_name: "*.example.org", action: forward}
    - {tls: true, action: reply, reply: 550 5.7.1 Log in first}
    - {action: reply}
"""


def made(tests: str, rules: str = RULES) -> PolicyFile:
    """Return a policy with these tests."""
    return build(read(f"{rules}tests:\n{tests}", "f"))


def session(*lines: str, keys: str = "") -> str:
    """Return one test from outside; each line is YAML."""
    return f"  - from: 203.0.113.9\n{keys}    session:\n" + "".join(f"      - {line}\n" for line in lines)


def failures(*lines: str, keys: str = "", rules: str = RULES) -> list[str]:
    """Return what is wrong with a session of these lines, with its place in it (`3:` is the third)."""
    text = session(*lines, keys=keys)
    first = len(f"{rules}tests:\n{text}".splitlines()) - len(lines)
    found = []
    for fault in made(text, rules).failures():
        assert (fault.file, fault.column) == ("f", 9)
        found.append(f"{fault.line - first}: {fault.text.removeprefix('test failed: 203.0.113.9 ')}")
    return found


def test_a_session_learns_from_what_is_said_in_it() -> None:
    """TLS by STARTTLS, with the names that the client would show; AUTH by AUTH."""
    assert not failures(
        "EHLO client.example.org",
        "VRFY george: 252",
        'AUTH PLAIN AGEAYg==: "538 5.7.11 Encryption required: say STARTTLS first"',
        "STARTTLS: 220",
        "EHLO client.example.org: forward",
        "VRFY george: 550",
        "AUTH LOGIN: forward",
        "YQ==",
        "Yg==: forward",
        "VRFY george: forward",
        "QUIT: forward",
        keys="    tls_name: [mua.Example.org]\n",
    )


def test_a_session_may_be_in_tls_from_the_beginning() -> None:
    """Then STARTTLS is refused."""
    lines = ("EHLO x", "VRFY george: 550", "STARTTLS: 503")
    assert not failures(*lines, keys="    tls: true\n")
    assert failures(*lines) == [
        "2: 'VRFY george': expected 550, got 252 2.5.2 Cannot VRFY user; try RCPT to attempt delivery (or try finger) "
        "(f:9 check_vrfy, rule 4)",
        "3: 'STARTTLS': expected 503, got 220 2.0.0 Ready to start TLS (STARTTLS, by the listener's `starttls`)",
    ]


def test_the_server_may_be_told_what_to_answer() -> None:
    """An AUTH that fails is remembered, as on the wire."""
    assert not failures(
        "EHLO x",
        "STARTTLS",
        "EHLO x",
        "{command: AUTH PLAIN AGEAYg==, server: 535 5.7.0 authentication failed, expect: forward}",
        "VRFY george: close",
    )


def test_a_message_is_said_as_a_whole() -> None:
    """With its dots stuffed, so that none ends it; where nobody asked for one that is a fault."""
    mail = ("EHLO x", '"MAIL FROM:<a@b.example>": forward', '"RCPT TO:<b@example.org>": forward')
    message = '{message: "Subject: x\\n\\n.\\nVRFY george\\n", expect: forward}'
    assert not failures(*mail, "DATA: forward", message, "NOOP: forward")
    assert not failures(*mail, "DATA", '{message: "a\\0"}')
    assert failures(*mail, "DATA: forward", '{message: "a\\0", expect: forward}') == [
        "5: the message: expected forward, got close (550 5.6.0 NUL octet in octet 2 of the message, line 1; see RFC "
        "5321 section 4.5.2) (no rule)"
    ]
    assert failures(*mail, message) == [
        "4: the message: expected forward, got nothing: no message was asked for by a 354"
    ]
    assert failures(*mail, '{message: "a"}') == [
        "4: the message: expected a message to be taken, got nothing: no message was asked for by a 354"
    ]


def test_a_failure_stands_at_its_line_and_says_what_came_instead() -> None:
    """All of them at once; behind the end of a session nothing can be said."""
    assert failures("EHLO x: 250", "NOOP: close", "RCPT TO:<a@b.example>: forward", "QUIT", "NOOP: forward") == [
        "1: 'EHLO x': expected 250, got forward (no rule)",
        "2: 'NOOP': expected close, got forward (no rule)",
        "3: 'RCPT TO:<a@b.example>': expected forward, got 550 5.7.1 Relaying denied (f:2 relay_domains)",
        "5: 'NOOP': expected forward, got nothing: the session was over",
    ]
    mail = ("EHLO x", '"MAIL FROM:<a@b.example>"', '"RCPT TO:<b@example.org>"', "DATA")
    assert failures(*mail, "VRFY george: 252") == [
        "5: 'VRFY george': expected 252, got nothing: more of a message was waited for"
    ]


def test_a_line_that_cannot_be_said_fails_whatever_is_expected_of_it() -> None:
    """Or a test would pass that tests nothing: behind the end of a session, and within the octets of a chunk."""
    assert failures("QUIT: forward", "NOOP", "RSET: forward") == [
        "2: 'NOOP': expected it to be said, got nothing: the session was over",
        "3: 'RSET': expected forward, got nothing: the session was over",
    ]
    beginning = "its beginning read as octets of the BDAT before it"
    assert failures("EHLO x", "BDAT 3", '"MAIL FROM:<a@b.example>": 500', "NOOP: forward") == [
        f"3: 'MAIL FROM:<a@b.example>': expected 500, got {beginning}"
    ]
    assert not failures("EHLO x", "BDAT 5", "abc: 502", "NOOP: forward")


@pytest.mark.parametrize(
    ("test", "faults"),
    [
        (session("VRFY a: yes"), ["13:9: expect: 'yes' is none of forward, close or a reply code such as 252"]),
        (session("{command: a, message: b}"), ["13:9: session: a line of a session is a `command` or a `message`"]),
        (session("{expect: 252, server: 250 x}"), ["13:9: session: a line of a session is a `command` or a `message`"]),
        (
            session("{command: a, server: no}"),
            ["13:30: server: 'no' is no reply: write a code and a text, as in \"550 5.1.1 User unknown\""],
        ),
        (session("{command: a, expct: 252}"), ["13:22: unknown key 'expct' (did you mean expect?)"]),
        (session("12"), ["13:9: session: must be a mapping of `key: value`, not 12"]),
        ("  - {from: 10.0.0.1, session: []}\n", ["11:31: session: must not be empty"]),
        (
            "  - {from: 10.0.0.1, session: [NOOP], command: NOOP, expect: forward}\n",
            [
                "11:48: command: not beside `session`, whose lines have expectations of their own: remove it here",
                "11:62: expect: not beside `session`, whose lines have expectations of their own: remove it here",
            ],
        ),
        (
            "  - {from: 10.0.0.1, session: [NOOP], authenticated: true}\n",
            ["11:54: authenticated: not beside `session`: what is said there decides that"],
        ),
        ("  - {from: 10.0.0.1, expect: 252}\n", ["11:5: command: is missing"]),
        (
            session(*["NOOP"] * (MOST_LINES + 1)),
            ["13:7: session: 1001 lines: at most 1000 are said at every start; split it"],
        ),
    ],
)
def test_a_session_that_cannot_be_run_is_refused(test: str, faults: list[str]) -> None:
    """At the place of what is wrong, with all of it."""
    with pytest.raises(Faulty) as caught:
        made(test)
    assert [str(fault).removeprefix("f:") for fault in caught.value.faults] == faults


# -- coverage ----------------------------------------------------------------------------------------


def unreached(tests: str, rules: str = RULES) -> list[str]:
    """Return the rules that these tests do not reach."""
    policy = made(tests, rules)
    outcome = policy.tested()
    assert outcome.failures == []
    return [f"{rule.line}:{rule.column} {rule.title}" for rule in outcome.unreached(policy.rules)]


def test_a_rule_is_reached_if_it_decided_a_line_of_a_test() -> None:
    """In a session or alone; shorthands are rules, too."""
    none = "  - {from: 10.0.0.1, command: NOOP, expect: forward}\n"
    assert unreached(none) == [
        "3:7 auth: require_tls (AUTH)",
        "2:16 relay_domains (RCPT)",
        "6:7 check_vrfy, rule 1",
        "7:7 check_vrfy, rule 2",
        "8:7 check_vrfy, rule 3",
        "9:7 check_vrfy, rule 4",
    ]
    some = session("EHLO x", "VRFY a", "AUTH PLAIN eA==", '"RCPT TO:<a@b>"')
    assert unreached(some) == ["6:7 check_vrfy, rule 1", "7:7 check_vrfy, rule 2", "8:7 check_vrfy, rule 3"]
    alone = "  - {from: 10.0.0.1, command: VRFY a, auth_failed: true, expect: close}\n"
    assert unreached(some + alone) == ["7:7 check_vrfy, rule 2", "8:7 check_vrfy, rule 3"]


def test_the_rules_of_check_other_are_reached_by_verbs_without_rules_of_their_own() -> None:
    """And by no other."""
    rules = "rulesets:\n  check_other: [{action: reply}]\n  check_help: [{action: forward}]\n"
    assert unreached("  - {from: 10.0.0.1, command: HELP, expect: forward}\n", rules) == ["2:17 check_other, rule 1"]
    assert unreached("  - {from: 10.0.0.1, command: FOO, expect: 500}\n", rules) == ["3:16 check_help, rule 1"]


def test_a_rule_is_reached_whatever_becomes_of_it_by_what_no_policy_can_change() -> None:
    """As the STARTTLS that the guard answers itself, and a verb that is never forwarded."""
    rules = "rulesets:\n  check_starttls: [{action: forward}]\n  check_turn: [{action: forward}]\n"
    assert unreached(session("EHLO x", "STARTTLS: 220", "TURN: 500"), rules) == []


def test_a_privacy_option_is_a_rule_for_each_of_its_verbs() -> None:
    """Since each may be forgotten."""
    rules = "privacy_options: [noexpn]\n"
    assert unreached("  - {from: 10.0.0.1, command: EXPN a, expect: 502}\n", rules) == ["1:18 privacy_options (VERB)"]


def test_what_is_in_shadow_is_tested_as_if_it_were_not() -> None:
    """It is what the site is about to switch over to."""
    rules = "shadow: true\nrulesets:\n  check_vrfy: [{action: reply}]\n"
    assert unreached(session("VRFY a: 252"), rules) == []


@pytest.mark.parametrize("name", SHIPPED)
def test_the_tests_of_a_shipped_policy_reach_every_rule(name: str) -> None:
    """They are examples, and nobody else tests them."""
    shipped = policy_file.load(policy_file.find(name))
    assert shipped.rules
    assert shipped.tested().unreached(shipped.rules) == []
