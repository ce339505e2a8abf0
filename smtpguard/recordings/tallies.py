"""What came of many sessions, counted.

Contract: values and counting only; every table is bounded, and what is beyond a bound is counted together, so that no
recording fills memory.  Octets of clients are kept escaped, credentials masked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Final, TypeVar

from attrs import Factory, define, frozen

from ..journal.lines import printable, without_credentials
from ..smtp.verbs import KNOWN_VERBS
from .exchanges import Exchange, What
from .recorded import Recorded
from .replaying import Happened, Outcome

KINDS: Final = 1000
"""Rows of one table.  A policy has tens of rules; answers that quote places in a line could be very many."""
CLIENTS: Final = 100_000
"""Addresses told apart."""
MORE: Final = "(more)"

K = TypeVar("K", bound=Hashable)


def shown(exchange: Exchange) -> str:
    """Return a line as the log would have it; of messages and responses their size."""
    if exchange.what is What.CONTENT:
        return f"(message content, {len(exchange.octets)} octets)"
    if exchange.what is What.RESPONSE or exchange.private:
        return "(authentication response)"
    return printable(without_credentials(exchange.line))


def first_line(reply: bytes | None) -> str:
    """Return the first line of a server's reply, escaped."""
    return printable(reply.partition(b"\n")[0].rstrip(b"\r")) if reply else ""


def verb_of(exchange: Exchange) -> str:
    """Return the verb for a table; clients choose it, so it is one that is known, or a word for the rest."""
    if exchange.what is What.CONTENT:
        return "(message)"
    if exchange.what is What.RESPONSE or exchange.private:
        return "(response)"
    return exchange.verb.decode("ascii") if exchange.verb in KNOWN_VERBS else "(other)"


def differs_from_recorded(exchange: Exchange, outcome: Outcome) -> bool:
    """Say whether the client was told something else then than the guard tells it."""
    return outcome.is_refusal and exchange.reply is not None and first_line(exchange.reply) != outcome.reply


def count(table: Counter[K], key: K, rest: K, bound: int = KINDS) -> None:
    """Add one to a row, or to `rest` where there are too many rows."""
    table[key if key in table or len(table) < bound else rest] += 1


@frozen(order=True)
class Refusal:
    """What the guard answered itself."""

    rule: str
    verb: str
    told: str


@frozen(order=True)
class Change:
    """What a client was told then, and what the guard tells it."""

    verb: str
    then: str
    now: str


@define
class Tally:
    """Of one policy."""

    sessions: int = 0
    silent: int = 0
    """Of them, those in which no client's line could be read."""
    commands: int = 0
    forwarded: int = 0
    unsaid: int = 0
    over: int = 0
    supposed: int = 0
    refused: Counter[Refusal] = Factory(Counter)
    shadowed: Counter[Refusal] = Factory(Counter)
    changes: Counter[Change] = Factory(Counter)
    samples: dict[Change, tuple[int, str, str]] = Factory(dict)
    """The first: number of the session, line, and what the server answered then."""
    clients: Counter[str] = Factory(Counter)
    told: Counter[str] = Factory(Counter)

    def add(self, recorded: Recorded, exchanges: Iterable[Exchange], outcomes: Iterable[Outcome]) -> None:
        """Count a session."""
        self.sessions += 1
        before = self.commands
        for what in recorded.told:
            count(self.told, what, MORE)
        for exchange, outcome in zip(exchanges, outcomes, strict=True):
            self._add(recorded, exchange, outcome)
        self.silent += self.commands == before

    def _add(self, recorded: Recorded, exchange: Exchange, outcome: Outcome) -> None:
        self.commands += 1
        self.supposed += outcome.supposed
        if outcome.happened is Happened.UNSAID:
            self.unsaid += 1
        elif outcome.happened is Happened.OVER:
            self.over += 1
        elif not outcome.is_refusal:
            self.forwarded += 1
        verb = verb_of(exchange)
        if outcome.would:
            count(self.shadowed, Refusal(outcome.would_rule, verb, outcome.would), Refusal(MORE, "", ""))
        if not outcome.is_refusal:
            return
        count(self.refused, Refusal(outcome.rule, verb, outcome.answer), Refusal(MORE, "", ""))
        if recorded.client is not None:
            count(self.clients, recorded.client.text, MORE, CLIENTS)
        if differs_from_recorded(exchange, outcome):
            change = Change(verb, str(exchange.code), outcome.answer)
            count(self.changes, change, Change(MORE, "", ""))
            if change in self.changes:
                self.samples.setdefault(change, (recorded.number, shown(exchange), first_line(exchange.reply)))
