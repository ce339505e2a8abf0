"""One line from one client, decided without a session: for `explain` and for a policy's own tests.

Contract: the same grammar, the same invariants and the same judge as the dialogue uses; only the
facts about the session are given instead of learned.
"""

from __future__ import annotations

from attrs import frozen

from ..smtp import answers
from ..smtp.answers import Closing
from ..smtp.grammar import Command, Malformed, parse
from ..smtp.invariants import kept_back
from ..smtp.replies import Reply
from ..smtp.verdict import Action, Facts, Verdict
from .networks import Peer
from .rules import Policy

ASSUMED: Facts = Facts(greeted=True, esmtp=True)
"""EHLO said, no TLS, no AUTH."""


@frozen
class Decision:
    """What happens to a line."""

    line: Command | Malformed
    verdict: Verdict
    """For a malformed line what the core does with it, with the reason as its rule."""

    @property
    def reply(self) -> Reply | None:
        return self.verdict.reply

    def meets(self, expected: str) -> bool:
        """Compare with `forward`, `close` or a reply code."""
        if expected in ("forward", "close"):
            return self.verdict.action.value == expected
        return self.reply is not None and str(self.reply.code) == expected

    def __str__(self) -> str:
        if self.verdict.action is Action.FORWARD:
            return "forward"
        if self.verdict.action is Action.CLOSE:
            return f"close ({self.reply})"
        return str(self.reply)


def decide(
    policy: Policy, peer: Peer, line: bytes, closing: Closing, facts: Facts = ASSUMED, listener: str = ""
) -> Decision:
    """Decide about `line`, which has no line end yet."""
    parsed = parse(line + b"\r\n")
    if isinstance(parsed, Malformed):
        action = Action.CLOSE if parsed.fault.ends_session else Action.REPLY
        return Decision(parsed, Verdict(action, answers.SYNTAX, rule=f"grammar: {parsed.fault.value}"))
    verdict = policy.judge_for(peer, listener).judge(parsed, facts)
    if verdict.action is Action.FORWARD and (kept := kept_back(parsed)) is not None:
        return Decision(parsed, Verdict(kept.action, kept.reply, rule="never forwarded, whatever the policy"))
    if verdict.action is Action.CLOSE and verdict.reply is None:
        verdict = Verdict(verdict.action, closing.policy, verdict.delay, verdict.rule)
    return Decision(parsed, verdict)
