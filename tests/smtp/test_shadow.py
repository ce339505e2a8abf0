"""A policy in shadow does nothing to a session, and says what it would have done.

Every stream of tests/vectors and many of the fuzzer's are played three times against the same server: under a policy in
shadow, under one that says nothing, and under the same policy in earnest.
"""

from __future__ import annotations

import pytest

from smtpguard.config import policy_file
from smtpguard.policy.rules import Policy
from smtpguard.smtp.dialogue import HIDDEN
from smtpguard.smtp.effects import Judged, Refused
from smtpguard.smtp.terms import StartTls
from smtpguard.smtp.verdict import Action, Verdict
from tests.fuzz import generator
from tests.vectors import Step, Stream

from .table import Table, policy, whole
from .test_streams import STREAMS, Game

NETWORKS = "networks: {internal: [127.0.0.1/32]}\nbare_newline: {internal: normalize}\nverbs: [XTEST]\n"
NOTHING = policy(NETWORKS + "rulesets: {}")
SITE = f"""{NETWORKS}
banner: mail.example.org
budgets: {{vrfy: 1, bad: 1, refused: 2}}
auth: {{require_tls: true}}
relay_domains: [mx.test]
privacy_options: [needmailhelo, noetrn]
rulesets:
  check_vrfy: [{{argument: ["*root*"], action: close}}, {{action: reply, delay: 2}}]
  check_expn: [{{action: reply, reply: 550 5.7.1 no}}]
  check_starttls: [{{action: reply, reply: 454 4.7.0 not now}}]
  check_noop: [{{action: forward, delay: 1}}]
  check_rset: [{{action: close}}]
  check_bdat: [{{action: reply}}]
  check_data: [{{authenticated: false, action: reply, reply: 554 5.7.1 no}}]
  check_xtest: [{{action: reply}}]
  check_other: [{{action: reply}}]
"""
POLICIES = {
    "perimeter": policy_file.find("perimeter").read_text("ascii").partition("\ntests:")[0] + "\nverbs: [XTEST]",
    "site": SITE,
}
SEEDS = range(250)
PASSWORD = "line behind a refused AUTH"


def streams() -> list[Stream]:
    """Return the streams of tests/vectors, and some of the fuzzer's."""
    made = [
        Stream(
            f"seed {seed}", "", "", (), tuple(Step("send", turn) for turn in generator.stream(seed).turns), None, None
        )
        for seed in SEEDS
    ]
    return [*STREAMS.values(), *made]


def played(stream: Stream, under: Policy) -> Game:
    """Play a stream to its end."""
    game = Game(stream, whole)
    game.table = Table(
        under,
        profile="sendmail-legacy" if stream.stage == "profile" else "default",
        chunking=True,
        starttls=StartTls.OFFERED if stream.stage == "tls" else StartTls.HIDDEN,
    )
    game.play(stream)
    return game


def first_refused(game: Game) -> tuple[object, ...]:
    """Return the first line that was refused, or would have been, and how; empty if there is none."""
    for note in game.table.notes:
        if isinstance(note, Refused):
            return (PASSWORD,) if note.what == PASSWORD else (note.what, note.octets)
        if isinstance(note, Judged):
            meant = note.verdict.would or note.verdict
            if meant.action not in (Action.FORWARD, Action.STARTTLS):
                hidden = note.command.line == HIDDEN.line
                return (PASSWORD,) if hidden else (note.command.line, meant.action, str(meant.reply), meant.delay)
    return ()


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_in_shadow_changes_nothing_on_either_side(name: str) -> None:
    """Octet by octet, the EHLO reply, the banner and the time that it takes included."""
    shadow = policy("shadow: true\n" + POLICIES[name])
    plain = NOTHING if name == "site" else policy(_less_rules(POLICIES[name]))
    for stream in streams():
        found, wanted = played(stream, shadow), played(stream, plain)
        assert found.seen_by_backend == wanted.seen_by_backend, stream.id
        assert found.seen_by_client == wanted.seen_by_client, stream.id
        assert (found.table.closed, found.table.waits) == (wanted.table.closed, wanted.table.waits), stream.id


def _less_rules(text: str) -> str:
    """Return a policy's text with no rule in it."""
    before, _, _ = text.partition("\nrulesets:")
    kept = [line for line in before.splitlines() if not line.startswith(("privacy_options", "budgets", "banner"))]
    return "\n".join([*kept, "rulesets: {}", "verbs: [XTEST]"])


@pytest.mark.parametrize("name", POLICIES)
def test_what_it_would_have_refused_first_is_what_it_refuses_first_in_earnest(name: str) -> None:
    """The same line, with the same reply; behind it the sessions are no longer the same."""
    shadow = policy("shadow: true\n" + POLICIES[name])
    refused = 0
    for stream in streams():
        found, wanted = first_refused(played(stream, shadow)), first_refused(played(stream, shadow.in_earnest()))
        assert found == wanted, stream.id
        refused += bool(found)
    assert refused > len(SEEDS) // 4


def one_line(rules: str, line: bytes, terms: StartTls = StartTls.HIDDEN) -> tuple[Table, Verdict | None]:
    """Say EHLO and a line under some rules; return the table, and the verdict if one was told."""
    table = Table(policy(rules), starttls=terms)
    table.backend(b"220 mx.test ESMTP\r\n")
    table.client(b"EHLO me.test\r\n")
    table.backend(b"250-mx.test\r\n250-ETRN\r\n250 AUTH PLAIN\r\n")
    table.notes.clear()
    table.take_backend()
    table.client(line)
    told = [note.verdict for note in table.notes if isinstance(note, Judged)]
    return table, told[-1] if told else None


def test_the_rules_behind_one_in_shadow_decide() -> None:
    """So a rule in shadow opens nothing."""
    rules = "rulesets: {check_vrfy: [{action: forward, shadow: true}, {action: reply, reply: 550 5.7.1 no}]}"
    table, verdict = one_line(rules, b"VRFY a\r\n")
    assert table.take_backend() == b""
    assert table.to_client.endswith(b"550 5.7.1 no\r\n")
    assert verdict is not None
    assert verdict.would is not None
    assert verdict.would.action is Action.FORWARD


def test_what_comes_to_the_same_is_no_would() -> None:
    """Nothing would change if the shadow were taken away."""
    _, verdict = one_line("rulesets: {check_vrfy: [{action: reply, shadow: true}, {action: reply}]}", b"VRFY a\r\n")
    assert verdict is not None
    assert (verdict.would, verdict.rule[-6:]) == (None, "rule 2")


def test_a_shadow_of_a_verb_that_is_not_logged_is_told_all_the_same() -> None:
    """A MAIL that is forwarded leaves no line; one that would have been refused does."""
    table, verdict = one_line("rulesets: {check_mail: [{action: reply, shadow: true}]}", b"MAIL FROM:<a@b.test>\r\n")
    assert table.take_backend() == b"MAIL FROM:<a@b.test>\r\n"
    assert verdict is not None
    assert verdict.would is not None
    assert verdict.would.outcome == "550"


def test_the_nearest_shadow_counts() -> None:
    """So a site can switch over rule by rule, from either end."""
    rules = (
        "shadow: true\nrulesets: {check_vrfy: {shadow: false, rules: [{argument: a, action: reply, shadow: true}, "
        "{action: reply}]}, check_expn: [{action: reply}]}"
    )
    table, verdict = one_line(rules, b"EXPN b\r\n")
    assert table.take_backend() == b"EXPN b\r\n"
    table, verdict = one_line(rules, b"VRFY b\r\n")
    assert table.take_backend() == b""
    table, verdict = one_line(rules, b"VRFY a\r\n")
    assert verdict is not None
    assert (table.take_backend(), verdict.would) == (b"", None)


def test_a_line_that_may_be_a_password_is_not_shown() -> None:
    """Behind a refused AUTH; and it is no violation, since no rule acts."""
    table, _ = one_line("rulesets: {check_other: [{action: reply, shadow: true}]}", b"AUTH PLAIN\r\n")
    table.backend(b"535 5.7.8 no\r\n")
    table.notes.clear()
    table.client(b"c2VjcmV0\r\n")
    (note,) = table.notes
    assert isinstance(note, Judged)
    assert b"c2Vj" not in note.command.line


@pytest.mark.parametrize("line", [b"XCLIENT ADDR=1.2.3.4\r\n", b"DATA x\r\n", b"VRFY\x00a\r\n", b"BDAT x\r\n"])
def test_what_keeps_both_sides_alike_is_never_in_shadow(line: bytes) -> None:
    """Verbs that are never forwarded, and lines that two servers read as two things."""
    table, _ = one_line("shadow: true\nrulesets: {check_other: [{action: reply}]}", line)
    assert table.take_backend() == b""


def test_relaying_is_not_refused_in_shadow_and_the_relay_check_knows() -> None:
    """What asks the policy whether it refuses relaying must not rely on what does not act."""
    shadow = policy("shadow: true\nrelay_domains: [example.org]\nrulesets: {}")
    assert not shadow.refuses_relaying
    assert shadow.relays_to("a@elsewhere.test")
    assert shadow.in_earnest().refuses_relaying
    assert not shadow.in_earnest().relays_to("a@elsewhere.test")
    table, verdict = one_line(
        "relay_domains: {domains: [x.test], shadow: true}\nrulesets: {}", b"RCPT TO:<a@b.test>\r\n"
    )
    assert table.take_backend() == b"RCPT TO:<a@b.test>\r\n"
    assert verdict is not None
    assert verdict.would is not None
    assert str(verdict.would.reply) == "550 5.7.1 Relaying denied"
