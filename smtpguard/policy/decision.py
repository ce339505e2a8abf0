"""One line from one client, decided without a session: for `explain` and for a policy's own tests.

Contract: the same grammar, the same invariants and the same judge as the dialogue uses; only the
facts about the session are given instead of learned.
"""

from __future__ import annotations

from attrs import frozen

from ..smtp import answers
from ..smtp.answers import Closing
from ..smtp.bounds import Bounds
from ..smtp.grammar import Command, Fault, Malformed, parameters, parse
from ..smtp.invariants import overrule
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
    parsed = _parse(line + b"\r\n")
    if isinstance(parsed, Malformed):
        action = Action.CLOSE if parsed.fault.ends_session else Action.REPLY
        return Decision(parsed, Verdict(action, answers.SYNTAX, rule=f"grammar: {parsed.fault.value}"))
    verdict = overrule(parsed, policy.judge_for(peer, listener).judge(parsed, facts))
    if verdict.action is Action.CLOSE and verdict.reply is None:
        verdict = Verdict(verdict.action, closing.policy, verdict.delay, verdict.rule)
    return Decision(parsed, verdict)


def _parse(line: bytes) -> Command | Malformed:
    """Read a line as a session does that has offered and been asked for SMTPUTF8 where the line needs it."""
    if len(line) > Bounds().line:
        return Malformed(line, Fault.TOO_LONG)
    parsed = parse(line)
    if isinstance(parsed, Command) and not line.isascii():
        utf8 = parsed.verb == b"RCPT" or (parsed.verb == b"MAIL" and b"SMTPUTF8" in parameters(parsed.argument))
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            utf8 = False
        if not utf8:
            return Malformed(line, Fault.EIGHT_BIT)
    return parsed
