"""A recorded session, said again to the guard under a policy.

Theory: what the client said without waiting for an answer is said at once again where that can matter: behind a
command whose reply decides what follows (smtpguard.smtp.invariants), and before the banner.  All else is said piece by
piece.  A client that was told otherwise than in the recording would not go on as it did: a message, a response or a
chunk that waited for a reply is left out where that reply does not come.

Contract: `replay` returns one outcome for each exchange of the recording, in order; it does not depend on when it is
called, and never raises on what a client or a server has said.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

from attrs import frozen

from ..journal.lines import printable
from ..policy.networks import Peer
from ..policy.rehearsal import Rehearsal, Turn
from ..policy.rules import Policy
from ..smtp.answers import Closing
from ..smtp.effects import BackendFault, OverBudget, Refused
from ..smtp.terms import Terms
from ..smtp.verdict import Action, Verdict
from .answering import RecordedServer
from .exchanges import Dialogue, Exchange, What


class Happened(Enum):
    """What became of an exchange."""

    FORWARD = "forward"
    REPLY = "reply"
    CLOSE = "close"
    STARTTLS = "starttls"
    UNSAID = "unsaid"
    """The client would not have said it, since it was told otherwise before."""
    OVER = "over"
    """The session was over."""


@frozen
class Outcome:
    """What became of one exchange under a policy."""

    happened: Happened
    reply: str = ""
    """The first line of the guard's own answer."""
    rule: str = ""
    """What decided: FILE:LINE and the rule's name, or why the octets were refused."""
    delay: float = 0.0
    """Seconds that the client waited, by a rule or a budget."""
    would: str = ""
    """What a rule in shadow would have answered."""
    would_rule: str = ""
    """Which one."""
    supposed: bool = False
    """The recording has no answer of the server that fits; one was supposed."""

    @property
    def is_refusal(self) -> bool:
        return self.happened in (Happened.REPLY, Happened.CLOSE)

    @property
    def answer(self) -> str:
        """What it comes to, whenever that is, in a few words."""
        if self.happened is Happened.REPLY:
            return self.reply
        if self.happened is Happened.CLOSE:
            return f"close, {self.reply}" if self.reply else "close"
        word: str = self.happened.value
        return word

    @property
    def told(self) -> str:
        """The same with the wait in front; two outcomes of the same words are equal for client and server."""
        return f"after {self.delay:g} s, {self.answer}" if self.delay else self.answer


OVER: Final = Outcome(Happened.OVER)
UNSAID: Final = Outcome(Happened.UNSAID)

ITSELF: Final = "the guard itself, whatever the policy"
"""Decides what no rule speaks of: a command out of turn, or between chunks."""
TOGETHER: Final = 50
"""Exchanges that are said at once: one behind a command shows that the client did not wait, and all that are looked at
together are copied for each of them."""
_CLOSING: Final = Closing("localhost")
_WAITS: Final = {What.CONTENT: b"354", What.RESPONSE: b"334"}
"""What a client waits for before it says these."""
_LAST: Final = frozenset({b"EHLO", b"HELO", b"DATA", b"AUTH", b"STARTTLS"})
"""Commands behind which it matters whether the client waited."""


def replay(dialogue: Dialogue, policy: Policy, peer: Peer, listener: str, terms: Terms) -> list[Outcome]:
    """Say a recorded session under a policy; return what became of each exchange."""
    server = RecordedServer(dialogue)
    rehearsal = Rehearsal(policy, peer, listener=listener, terms=terms, closing=_CLOSING, backend=server)
    server.at = lambda: rehearsal.at
    exchanges = dialogue.exchanges
    outcomes: list[Outcome] = []
    if early := exchanges[: min(dialogue.early, TOGETHER)]:
        server.play(list(early))
        turns = rehearsal.say(b"".join(one.octets for one in early))
        rehearsal.begin()
        outcomes += _outcomes([*turns, *rehearsal.say(b"")], len(early), server.supposed)
    else:
        rehearsal.begin()
    told = b""
    while len(outcomes) < len(exchanges):
        place = len(outcomes)
        first = exchanges[place]
        if rehearsal.over:
            outcomes.append(OVER)
            continue
        if not told.startswith(_WAITS.get(first.what, b"")):
            outcomes.append(UNSAID)
            continue
        end = _said_at_once(exchanges, place)
        together = exchanges[place:end]
        server.play(list(together))
        turns = rehearsal.say(b"".join(one.octets for one in together))
        if end == len(exchanges):
            turns += rehearsal.end()  # the recording may have ended within a line or a message
        outcomes += _outcomes(turns, len(together), server.supposed)
        told = turns[-1].replies if turns else b""
    return outcomes


def _outcomes(turns: Sequence[Turn], count: int, supposed: bool) -> list[Outcome]:
    """Return what became of so many exchanges that were said at once."""
    found = [_outcome(turn, supposed) for turn in turns[:count]]
    return found + [OVER] * (count - len(found))


def _said_at_once(exchanges: tuple[Exchange, ...], place: int) -> int:
    """Return the end of what is to be said together with the exchange at `place`."""
    end = place + 1
    if exchanges[place].what is What.COMMAND and exchanges[place].verb in _LAST:
        most = min(len(exchanges), place + TOGETHER)
        while end < most and exchanges[end].run == exchanges[place].run:
            end += 1
    return end


def _outcome(turn: Turn, supposed: bool) -> Outcome:
    """Return what became of an exchange that took this turn."""
    verdict = turn.verdict
    rule = verdict.rule if verdict is not None else ""
    shadowed = verdict.would if verdict is not None else None
    for note in turn.notes:
        if isinstance(note, Refused):
            rule = note.fault.value if note.fault is not None else note.what
        elif isinstance(note, BackendFault):
            rule = f"mail server: {note.what}"
        elif isinstance(note, OverBudget):
            rule = rule or "budgets"
    happened, reply = Happened.FORWARD, ""
    if verdict is not None and verdict.action is Action.STARTTLS and not turn.closed:
        happened = Happened.STARTTLS
    elif turn.own:
        happened = Happened.CLOSE if turn.closed else Happened.REPLY
        reply = printable(turn.replies.partition(b"\r\n")[0])
        rule = rule or ITSELF
    would, would_rule = ("", "") if shadowed is None else (_words(shadowed), shadowed.rule)
    return Outcome(happened, reply, rule, turn.delay, would, would_rule, supposed)


def _words(verdict: Verdict) -> str:
    """Say what a rule in shadow would have done."""
    return str(verdict.reply) if verdict.reply is not None else verdict.action.value
