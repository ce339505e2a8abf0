"""Target: the policy file (smtpguard.config.yaml_reader, policy_file and what they use).

What must hold: a file makes a policy, or is refused with faults that have their place in it; the same
file makes the same; a policy that is made can be asked about everything; a rule set whose first rule
has no condition and refuses is never forwarded past.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from smtpguard.config.faults import Fault, Faulty
from smtpguard.config.policy_file import PolicyFile, build
from smtpguard.config.yaml_reader import read
from smtpguard.policy.networks import Peer
from smtpguard.smtp.grammar import Command, parse
from smtpguard.smtp.verdict import Action, Facts, Verdict

from . import sources, yaml_words

MAX_LEN: Final = 2048
WORDS: Final = (
    *yaml_words.WORDS, b"networks: ", b"rulesets: ", b"replies: ", b"privacy_options: ", b"banner: ", b"verbs: ",
    b"tests: ", b"check_vrfy: ", b"check_other: ", b"check_bdat: ", b"from: ", b"from_not: ", b"argument: ",
    b"greeted: ", b"esmtp: ", b"tls: ", b"authenticated: ", b"listener: ", b"action: ", b"forward", b"reply", b"close",
    b"reply: ", b"delay: ", b"command: ", b"expect: ", b"10.0.0.0/8", b"::/0", b"fe80::1%eth0", b"::ffff:10.0.0.0/104",
    b"252 2.5.2 x", b"421 4.7.0 x", b"internal", b"default", b"goaway", b"novrfy", b"stig", b"'*'", b"'[!a]*'",
)  # fmt: skip
NAME: Final = "guided.yaml"
PEERS: Final = tuple(map(Peer.parse, ("127.0.0.1", "203.0.113.9", "10.1.2.3", "2001:db8::9", "::ffff:10.1.2.3")))
LINES: Final = (b"VRFY a", b"EXPN", b"MAIL FROM:<a@b>", b"DATA", b"BDAT 5", b"X-NEW a b", b"NOOP " + b"*" * 40)
FACTS: Final = (Facts(), Facts(greeted=True, esmtp=True), Facts(greeted=True, authenticated=True, tls=True))
_CONDITIONS: Final = {"from", "from_not", "argument", "greeted", "esmtp", "tls", "authenticated", "listener"}


def one(data: bytes) -> None:
    made, faults = _make(data)
    again = _make(data)[1]
    assert faults == again
    check_places(faults, data, NAME)
    if made is None:
        return
    document = read(data, NAME)
    assert document.data is not None
    assert not document.faults
    rulesets = document.data.get("rulesets", {})
    for verb, refused in [(name[6:].upper().encode(), _refuses(rules)) for name, rules in rulesets.items()]:
        command = Command(verb + b" a\r\n", verb, b"a")
        assert not refused or verb == b"OTHER" or all(v.action is not Action.FORWARD for v in _verdicts(made, command))
    for line in LINES:
        parsed = parse(line + b"\r\n")
        assert isinstance(parsed, Command)
        for verdict in _verdicts(made, parsed):
            assert verdict.action is not Action.REPLY or verdict.reply is not None
            assert 0 <= verdict.delay <= 240
            assert not verdict.rule or verdict.rule.startswith(f"{NAME}:")
    check_places([*made.failures(), *made.faults_with(["smtp"])], data, NAME)


def _make(data: bytes) -> tuple[PolicyFile | None, list[Fault]]:
    try:
        made = build(read(data, NAME))
    except Faulty as faulty:
        assert faulty.faults
        assert any(not fault.warning for fault in faulty.faults)
        return None, list(faulty.faults)
    assert all(warning.warning for warning in made.warnings)
    return made, list(made.warnings)


def _verdicts(made: PolicyFile, command: Command) -> Iterator[Verdict]:
    for peer in PEERS:
        for listener in ("", "smtp"):
            judge = made.policy.judge_for(peer, listener)
            for facts in FACTS:
                yield judge.judge(command, facts)
                if judge.judge(command, facts).action is Action.FORWARD:
                    assert judge.may_forward(command.verb, facts), "forwarded, but not offered in EHLO"


def _refuses(rules: Any) -> bool:
    """True if the first rule refuses whatever comes."""
    first = rules[0]
    return not _CONDITIONS & first.keys() and first.get("action") != "forward"


def check_places(faults: list[Fault], data: bytes, name: str) -> None:
    """Each fault stands somewhere in the file."""
    lines = data.count(b"\n") + data.count(b"\r") + data.count(b"\x85") + data.count(b"\xe2\x80") + 1
    for fault in faults:
        assert fault.file == name
        assert 1 <= fault.line <= lines + 1, fault
        assert 1 <= fault.column <= len(data) + 1, fault
        assert fault.text
        assert str(fault).isprintable(), fault


def seeds() -> Iterator[bytes]:
    yield from sources.policies()
    yield b"networks: {a: [10.0.0.0/8], b: '::1'}\nrulesets: {check_vrfy: [{from: [a, 192.0.2.1], action: close}]}\n"
    yield b"verbs: [X-NEW]\nrulesets:\n  check_x-new: [{argument: ['a*', '[!b]?'], delay: 1.5, reply: 550 5.7.1 No}]\n"
    yield b"banner: mx ESMTP\nreplies: stig\nprivacy_options: [goaway, needvrfyhelo, authwarnings]\n"
    yield b"rulesets: {check_other: [{listener: a, tls: true, action: reply, reply: 421 4.7.0 x}, {from_not: 10/8}]}\n"
    yield b"a: &a [*a, !b c]\n? {d: 1}\n: 2\na: 3\n"
    yield "rulesets: {check_vrfy: [{action: reply}]}\n".encode("utf-16")
    yield b'a: !<%0a> b\n"\\n": 1\nnetworks: {"\\e[2J": 17}\n'
    yield b'rulesets: {}\ntests: [{from: "::1%\\n\\e[2J", command: VRFY a, expect: close}]\n'
    yield b"rulesets: {check_vrfy: [{from_: a, action: close}]}\n"
    yield b"replies: stig\nreplies: sendmail\nrulesets: {}\n"
