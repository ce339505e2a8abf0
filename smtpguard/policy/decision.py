"""One line from one client, decided without a session: for `explain` and for a policy's own tests.

Contract: the same grammar, the same invariants and the same judge as the dialogue uses; only the
facts about the session are given instead of learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..smtp import answers
from ..smtp.answers import Closing
from ..smtp.grammar import Command, Fault, Malformed, eight_bit_at
from ..smtp.intake import Intake
from ..smtp.invariants import overrule
from ..smtp.knowledge import Knowledge
from ..smtp.replies import Reply
from ..smtp.terms import Terms
from ..smtp.verdict import Action, Facts, Verdict
from .networks import Peer
from .rules import Policy

ASSUMED: Final = Facts(greeted=True, esmtp=True)
"""EHLO said, no TLS, no AUTH."""


@dataclass(frozen=True)
class Decision:
    """What happens to a line."""

    line: Command | Malformed
    verdict: Verdict
    """For a malformed line what the core does with it, with the reason as its rule."""
    asked: Verdict | None = None
    """What the policy alone said, before what no policy can change; None for a malformed line."""

    @property
    def reply(self) -> Reply | None:
        return self.verdict.reply

    def meets(self, expected: str) -> bool:
        """Compare with `forward`, `close`, a reply code or a whole reply."""
        if expected in ("forward", "close"):
            return self.verdict.action.value == expected
        return self.reply is not None and expected in (str(self.reply.code), str(self.reply))

    def __str__(self) -> str:
        if self.verdict.action is Action.FORWARD:
            return "forward"
        if self.verdict.action is Action.CLOSE:
            return f"close ({self.reply})"
        return str(self.reply)


def decide(
    policy: Policy,
    peer: Peer,
    line: bytes,
    closing: Closing,
    facts: Facts = ASSUMED,
    listener: str = "",
    terms: Terms | None = None,
) -> Decision:
    """Decide about `line`, which has no line end yet."""
    terms = policy.terms_for(peer, terms or Terms())
    parsed = _parse(line + b"\r\n", terms, facts)
    if isinstance(parsed, Malformed):
        fault = parsed.fault
        rule = f"grammar: {fault.value}"
        if fault.ends_session:
            return Decision(parsed, Verdict(Action.CLOSE, answers.bad_line(fault, parsed.octet, 1), rule=rule))
        return Decision(parsed, Verdict(Action.REPLY, answers.SYNTAX, rule=rule))
    asked = policy.judge_for(peer, listener).judge(parsed, facts)
    verdict = overrule(parsed, asked, terms, facts)
    if verdict.action is Action.CLOSE and verdict.reply is None:
        verdict = Verdict(verdict.action, closing.policy, verdict.delay, verdict.rule, verdict.would)
    return Decision(parsed, verdict, asked)


def _parse(line: bytes, terms: Terms, facts: Facts) -> Command | Malformed:
    """Read a line as a session does that has offered and been asked for SMTPUTF8 where the line needs it."""
    intake = Intake(terms)
    intake.lines = 1  # the greeting was the first
    intake.append(line)
    parsed = intake.take_command()
    assert parsed is not None
    if isinstance(parsed, Command) and not line.isascii():
        knowledge = Knowledge(terms.profile.seven_bit)
        knowledge.suppose_smtputf8(facts)
        if not knowledge.allows_eight_bit(parsed):
            return Malformed(line, Fault.EIGHT_BIT, eight_bit_at(line) + 1)
    return parsed
