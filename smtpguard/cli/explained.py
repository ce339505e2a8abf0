"""What `smtpguard explain -` tells of a session: of each line, and of all of it at the end.

Contract: pure; `Explained.turn` and `Explained.end` return documents of str, numbers and lists, which `rows` makes
lines of for a person.  What a client said is printable in them, and no password is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ..journal import lines
from ..journal.lines import Client, Style, printable, without_credentials
from ..ledger.deeds import Kind
from ..ledger.telling import kind_of, would_be_probe
from ..policy.limits import PARALLEL, Limit
from ..policy.mailings import mailings
from ..policy.networks import Peer
from ..policy.rehearsal import Rehearsal, Turn, What
from ..policy.rules import Policy
from ..smtp.effects import Refused

WIDTH: Final = 8
"""Of the words in front."""
_MASKED: Final = "***"


class Explained:
    """One session."""

    def __init__(self, policy: Policy, peer: Peer, rehearsal: Rehearsal, style: Style) -> None:
        self._client = Client(peer)
        self._rehearsal = rehearsal
        self._style = style
        self._limits: tuple[Limit, ...] = policy.limits.applying(policy.networks.classify(peer))
        self._counts: dict[str, int] = {"connections": 1, PARALLEL: 1}
        self._shadowed = 0  # probes but for what is in shadow, which only limits in shadow count
        self._turns: list[Turn] = []

    def turn(self, turn: Turn) -> dict[str, Any]:
        """Return what there is to say of a turn, and count it."""
        self._turns.append(turn)
        counted = self._count(turn)
        verdict = turn.verdict
        told: dict[str, Any] = {
            "number": turn.number,
            "line": _shown(turn),
            "what": turn.what.value,
            "verdict": _happened(turn),
            "rule": _rule(turn),
            "delay": turn.delay,
            "by": ("guard" if turn.own else "server") if turn.replies else "",
            "reply": [printable(one) for one in turn.replies.split(b"\r\n") if one],
            "log": [form(self._client, self._style).text for _, form in filter(None, map(lines.of_note, turn.notes))],
            "limits": {one.name: self._count_of(one) for one in self._limits if (one.counts, one.shadow) in counted},
            "closed": turn.closed,
        }
        if turn.forwarded and turn.forwarded != turn.octets:
            told["sent"] = _MASKED if _is_private(turn) else printable(without_credentials(turn.forwarded))
        if verdict is not None and verdict.would is not None:
            told["would"] = f"{lines.would_have(verdict.would)} ({verdict.would.rule})"
        if turn.secured:
            told["tls"] = True
        return told

    def end(self, unsaid: int) -> dict[str, Any]:
        """Return what there is to say of the session; so many pieces were not said, as it was over."""
        rehearsal = self._rehearsal
        summary = lines.summary(rehearsal.tally.by_verb, self._client, 0.0, rehearsal.cut_short)
        return {
            "log": summary.text,
            "unsaid": unsaid,
            "mail": [
                {
                    "sender": printable(one.sender),
                    "recipients": [*map(printable, one.recipients)],
                    "refused": [[printable(who), printable(reply)] for who, reply in one.refused],
                    "fate": one.fate,
                }
                for one in mailings(self._turns)
            ],
            "limits": [*self._moved()],
        }

    def _count(self, turn: Turn) -> set[tuple[str, bool]]:
        """Count what a turn did; return what limits count of it, those that act and those in shadow."""
        kinds = [kind.value for note in turn.notes if (kind := kind_of(note)) is not None]
        if turn.what in (What.COMMAND, What.CHUNK):
            kinds.append(Kind.COMMAND.value)
        for word in kinds:
            self._counts[word] = self._counts.get(word, 0) + 1
        found = {(word, shadow) for word in kinds for shadow in (False, True)}
        if any(map(would_be_probe, turn.notes)):
            self._shadowed += 1
            found.add((Kind.PROBE.value, True))
        return found

    def _count_of(self, limit: Limit) -> int:
        shadowed = self._shadowed if limit.shadow and limit.counts == Kind.PROBE.value else 0
        return self._counts.get(limit.counts, 0) + shadowed

    def _moved(self) -> Iterator[dict[str, Any]]:
        for limit in self._limits:
            count = self._count_of(limit)
            if count:
                step = limit.step_for(count)
                crossed = str(step) if step is not None else ""
                yield {"name": limit.name, "limit": str(limit), "count": count, "most": limit.most, "crossed": crossed}


def rows(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a person reads of a turn, behind its line: a word and a text."""
    if told["rule"]:
        yield "rule", told["rule"]
    if told["delay"]:
        yield "delay", f"{told['delay']:g} s"
    if "would" in told:
        yield "shadow", told["would"]
    for place, reply in enumerate(told["reply"]):
        yield told["by"] if place == 0 else "", reply
    if not told["reply"]:
        yield "", "no reply"
    if "tls" in told:
        yield "tls", "begins here"
    if "sent" in told:
        yield "sent", told["sent"]
    for line in told["log"]:
        yield "log", line
    if told["limits"]:
        yield "limits", ", ".join(f"{name}: {count}" for name, count in told["limits"].items())
    if told["closed"]:
        yield "closed", "the session is over"


def ending(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a person reads of all of it."""
    yield "log", told["log"]
    for mail in told["mail"]:
        to = ", ".join(f"<{one}>" for one in mail["recipients"]) or "nobody"
        yield "mail", f"from <{mail['sender']}> to {to}: {mail['fate']}"
        for who, reply in mail["refused"]:
            yield "", f"not to <{who}>: {reply}"
    for limit in told["limits"]:
        crossed = f", which is {limit['crossed']}" if limit["crossed"] else ""
        yield "limits", f"{limit['limit']}: {limit['count']} by this session{crossed}"
    if told["unsaid"]:
        yield "unsaid", f"{told['unsaid']} more, since the session was over or the client was told otherwise"


def _shown(turn: Turn) -> str:
    if turn.what is What.CONTENT:
        return f"(a message of {len(turn.octets)} octets)"
    if turn.what is What.TUNNEL:
        return f"({len(turn.octets)} octets that nobody inspects)"
    if _is_private(turn):
        return _MASKED
    line = printable(without_credentials(turn.line))
    if turn.what is What.CHUNK:
        _, newline, chunk = turn.octets.partition(b"\n")
        return f"{line} ({len(chunk)} octets)" if newline else line
    return line


def _is_private(turn: Turn) -> bool:
    """Say whether it may be a password."""
    hidden = any(isinstance(note, Refused) and not note.octets for note in turn.notes)
    return turn.what is What.SASL or turn.private or hidden


def _happened(turn: Turn) -> str:
    if turn.secured:
        return "starttls"
    if turn.own:
        return "close" if turn.closed else "reply"
    return "forward" if turn.forwarded else "none"


def _rule(turn: Turn) -> str:
    if turn.verdict is not None and turn.verdict.rule:
        return turn.verdict.rule
    faults = [note for note in turn.notes if isinstance(note, Refused)]
    if not faults:
        return ""
    what, fault = faults[-1].what, faults[-1].fault
    return what if fault is None else f"grammar: {fault.value!s}"
