"""A policy's own tests, run: what fails, and which rules decided a line of them.

Contract: pure; without a network or a clock.  What the policy means to do is tested: nothing is in shadow.  A rule is
reached if it was the one that decided, whatever became of that by what no policy can change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from attrs import define, field, frozen

from ..policy import privacy
from ..policy.decision import Decision, decide
from ..policy.networks import Peer
from ..policy.rehearsal import Rehearsal, Turn
from ..policy.rules import OTHER, Policy
from ..policy.supposed import Obliging
from ..smtp.answers import Closing
from ..smtp.grammar import Command, well_formed
from ..smtp.phases import Phase
from ..smtp.terms import StartTls, Terms
from ..smtp.verdict import Facts, Verdict
from .faults import Fault
from .policy_models import PolicyModel
from .policy_test_models import TestModel
from .yaml_reader import Places

CLOSING: Final = Closing("localhost")


@frozen
class Reachable:
    """One rule, or what a shorthand stands for."""

    verb: bytes
    """Of the rule set that it is in."""
    where: str
    """As its verdicts have it (`Verdict.rule`)."""
    line: int
    column: int
    name: str

    @property
    def title(self) -> str:
        """The name; of a shorthand, which may stand for rules of several verbs, with the verb."""
        return self.name if self.name.startswith("check_") else f"{self.name} ({self.verb.decode('ascii')})"


@frozen
class Test:
    """One test, with where it stands."""

    __test__ = False  # not one of pytest's

    model: TestModel
    place: tuple[int, int]
    lines: tuple[tuple[int, int], ...]
    """Of its session, if it is one."""


@define
class Outcome:
    """What came of all tests."""

    passed: int = 0
    failures: list[Fault] = field(factory=list)
    reached: set[tuple[bytes, str]] = field(factory=set)
    """By verb of the command, and where the rule is."""

    def unreached(self, rules: Iterable[Reachable]) -> list[Reachable]:
        """Return the rules that decided nothing."""
        named = {rule.verb for rule in rules}
        reached = {(verb if verb in named else OTHER, where) for verb, where in self.reached}
        return [rule for rule in rules if (rule.verb, rule.where) not in reached]


def place_of_rule(places: Places, name: str, number: int) -> str:
    """Return what the verdicts of a rule have for their rule; `number` is counted from 0."""
    return f"{places.file}:{places.of(('rulesets', name, 'rules', number))[0]} {name}, rule {number + 1}"


def reachable(model: PolicyModel, places: Places) -> Iterator[Reachable]:
    """Yield what can decide, in the order of the rule sets; tests may reach each of it."""

    def shorthand(verb: bytes, key: str, name: str) -> Reachable:
        line, column = places.of((key,))
        return Reachable(verb, f"{places.file}:{line} {name}", line, column, name)

    for verb in privacy.rules_of(model.privacy_options):
        yield shorthand(verb, "privacy_options", "privacy_options")
    if model.auth.require_tls:
        yield shorthand(b"AUTH", "auth", "auth: require_tls")
    if model.relay_domains is not None:
        yield shorthand(b"RCPT", "relay_domains", "relay_domains")
    for name, rule_set in model.rulesets.items():
        verb = name.removeprefix("check_").upper().encode("ascii")
        for number in range(len(rule_set.rules)):
            place = places.of(("rulesets", name, "rules", number))
            yield Reachable(verb, place_of_rule(places, name, number), *place, f"{name}, rule {number + 1}")


def decided(policy: Policy, test: TestModel) -> Decision:
    """Return what becomes of the line of a test that is no session."""
    line = (test.command or "").encode("utf-8")
    return decide(policy, Peer.parse(test.from_), line, CLOSING, test.facts, test.listener)


def run(policy: Policy, tests: Iterable[Test], file: str) -> Outcome:
    """Run them; the policy must have nothing in shadow."""
    outcome = Outcome()
    for test in tests:
        before = len(outcome.failures)
        if test.model.session is None:
            _run_line(policy, test, file, outcome)
        else:
            _run_session(policy, test, file, outcome)
        outcome.passed += len(outcome.failures) == before
    return outcome


def _run_line(policy: Policy, test: Test, file: str, outcome: Outcome) -> None:
    model = test.model
    decision = decided(policy, model)
    if isinstance(decision.line, Command):
        _reach(outcome, decision.line.verb, decision.asked)
    if not decision.meets(model.expect or ""):
        got = f"{decision} ({decision.verdict.rule or 'no rule'})"
        text = f"test failed: {model.from_} {model.command!r}: expected {model.expect}, got {got}"
        outcome.failures.append(Fault(file, *test.place, text))


def _run_session(policy: Policy, test: Test, file: str, outcome: Outcome) -> None:
    model = test.model
    tls = model.tls
    names = frozenset(name.lower() for name in model.tls_name)
    server = Obliging()
    session = Rehearsal(
        policy,
        Peer.parse(model.from_),
        listener=model.listener,
        terms=Terms(starttls=StartTls.OFFERED),
        facts=Facts(tls=tls, tls_names=names if tls else frozenset()),
        closing=CLOSING,
        backend=server,
        tls_names=names,
    )
    session.begin()
    for line, place in zip(model.session or (), test.lines, strict=True):
        unsaid = session.over  # what can never be said tests nothing, whatever is expected of it
        if line.message is not None and session.dialogue.phase is not Phase.CONTENT and not session.over:
            got, turns = "nothing: no message was asked for by a 354", list[Turn]()
        else:
            if line.server is not None:
                server.instead = line.server.encode("ascii") + b"\r\n"
            turns = session.say(line.octets)
            server.instead = b""
            over = "nothing: the session was over" if session.over else "nothing: more of a message was waited for"
            got = _got(turns[-1]) if turns else over
            if len(turns) > 1 and b"".join(turn.octets for turn in turns) != line.octets:
                got, unsaid = "its beginning read as octets of the BDAT before it", True
        for turn in turns:
            command = well_formed(turn.line + b"\r\n")
            if command is not None:
                _reach(outcome, command.verb, turn.asked)
        expected = line.expect
        missed = expected is not None and not (turns and turns[-1].meets(expected))
        if missed or unsaid or (line.message is not None and not turns):
            wanted = expected or ("it to be said" if line.message is None else "a message to be taken")
            text = f"test failed: {model.from_} {line.said}: expected {wanted}, got {got}"
            outcome.failures.append(Fault(file, *place, text))


def _got(turn: Turn) -> str:
    rule = turn.verdict.rule if turn.verdict is not None else ""
    return f"{turn.outcome} ({rule or 'no rule'})"


def _reach(outcome: Outcome, verb: bytes, verdict: Verdict | None) -> None:
    while verdict is not None:
        outcome.reached.add((verb, verdict.rule))
        verdict = verdict.would


def tests_of(models: Sequence[TestModel], places: Places) -> tuple[Test, ...]:
    """Return the tests with their places."""
    return tuple(
        Test(
            model,
            places.of(("tests", number)),
            tuple(places.of(("tests", number, "session", line)) for line in range(len(model.session or ()))),
        )
        for number, model in enumerate(models)
    )
