"""What `smtpguard report` says of what would have been decided if nothing were in shadow.

Contract: pure.  Whatever clients have sent, nothing but printable characters is returned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from attrs import Factory, define

from ..ledger.shadowed import Shadowed
from ..ledger.sources import MANY
from ..ledger.words import many
from .telling import moment, text

TOP: Final = 5
"""Sources of a row that are named, those with the most commands."""
NOT_REFUSED: Final = frozenset({"forwarded", "delayed"})
"""Outcomes that refuse nothing."""


@define
class Reported:
    """One rule and verb, with one outcome, over all hours and sources."""

    rule: str
    verb: str
    would: str
    number: int = 0
    first: float = float("inf")
    last: float = 0.0
    shown: str = ""
    sources: dict[str, int] = Factory(dict)
    names: dict[str, str] = Factory(dict)

    def add(self, one: Shadowed) -> None:
        """Add what was kept of an hour and a source."""
        self.number += one.number
        self.sources[one.source] = self.sources.get(one.source, 0) + one.number
        if one.name:
            self.names[one.source] = one.name
        if one.first < self.first:
            self.first = one.first
            self.shown = one.shown or self.shown
        self.last = max(self.last, one.last)

    @property
    def is_limit(self) -> bool:
        """It is of a limit, and counts clients rather than commands."""
        return not self.verb

    @property
    def refuses(self) -> bool:
        """Commands would have been answered by the guard."""
        return not self.is_limit and self.would not in NOT_REFUSED

    @property
    def top(self) -> list[tuple[str, str, int]]:
        """The sources with the most, each with its name and number."""
        most = sorted(self.sources.items(), key=lambda pair: (pair[0] == MANY, -pair[1], pair[0]))
        return [(source, self.names.get(source, ""), number) for source, number in most[:TOP]]


def put_together(rows: Iterable[Shadowed]) -> list[Reported]:
    """Return what there is by rule, verb and outcome, what came most often first."""
    found: dict[tuple[str, str, str], Reported] = {}
    for row in rows:
        key = row.rule, row.verb, row.would
        one = found.get(key)
        if one is None:
            one = found[key] = Reported(*key)
        one.add(row)
    return sorted(found.values(), key=lambda one: (one.is_limit, -one.number, one.rule, one.verb))


def blocks(found: Sequence[Reported]) -> Iterator[str]:
    """Yield some lines for each rule, verb and outcome."""
    for one in found:
        yield "\n".join(_block(one))


def _block(one: Reported) -> Iterator[str]:
    yield text(one.rule)
    clients = _clients(one.sources)
    if one.is_limit:
        yield f"  would have come to: {text(one.would)}, for {clients}"
    else:
        yield f"  {text(one.verb)}: {_would(one.would)}"
        yield f"  {many(one.number, 'command')} of {clients}"
    yield f"  from {moment(one.first)} to {moment(one.last)}"
    yield "  most by " + ", ".join(
        f"{text(source)}{f' ({text(name)})' if name else ''}: {number}" for source, name, number in one.top
    )
    if one.shown:
        yield f"  as in: {text(one.shown)}"


def _would(outcome: str) -> str:
    if outcome in NOT_REFUSED:
        return f"would have been {outcome}"
    return "would have closed the session" if outcome == "closed" else f"would have answered {text(outcome)}"


def _clients(sources: Iterable[str]) -> str:
    told = set(sources)
    crowd = MANY in told
    number = many(len(told - {MANY}), "client")
    return f"{number} and further ones" if crowd else number


def conclusion(found: Sequence[Reported], since: float, shadow: tuple[str, ...] | None) -> str:
    """Return what it all comes to, and what to do; `shadow` is what is in shadow now, None if that is not known."""
    when = f" since {moment(since)}" if since else ""
    if not found:
        return _nothing(when, shadow)
    parts = []
    refused = [one for one in found if one.refuses]
    if refused:
        parts.append(f"{_commands(refused)} would have been refused{when}")
    others = ((word, [one for one in found if not one.is_limit and one.would == word]) for word in sorted(NOT_REFUSED))
    parts += [f"{_commands(rows)} would have been {word}{when}" for word, rows in others if rows]
    held = [one for one in found if one.is_limit]
    if held:
        clients = _clients(source for one in held for source in one.sources)
        parts.append(f"limits would have been crossed by {clients}{when}")
    return "; ".join(parts) + ".\n" + _next_step(shadow)


def _commands(rows: Sequence[Reported]) -> str:
    number = many(sum(one.number for one in rows), "command")
    return f"{number} of {_clients(source for one in rows for source in one.sources)}"


def _next_step(shadow: tuple[str, ...] | None) -> str:
    if shadow == ():
        return "Nothing is in shadow any more."
    what = f" In shadow now: {', '.join(map(text, shadow))}." if shadow else ""
    return (
        f"Switch over by removing `shadow` from what may act, rule by rule or all at once, and reload.{what} "
        "A client above that should go on: give its network a rule of its own, in front."
    )


def _nothing(when: str, shadow: tuple[str, ...] | None) -> str:
    if shadow is None:
        return (
            f"Nothing was kept{when}: nothing in shadow would have acted, or nothing was in shadow.  "
            "`smtpguard check` tells what is."
        )
    if not shadow:
        return (
            f"Nothing is in shadow, and nothing was{when} that would have acted.  Write `shadow: true` at the top of "
            "the policy, or at a rule, reload, and ask again when clients have come."
        )
    return (
        f"Nothing would have been refused{when}.  In shadow now: {', '.join(map(text, shadow))}.  If all clients have "
        "come since it was loaded, remove `shadow` and reload."
    )


def document(found: Sequence[Reported], since: float, shadow: tuple[str, ...] | None) -> dict[str, Any]:
    """Return the same for programs."""
    refused = [one for one in found if one.refuses]
    sources = {source for one in refused for source in one.sources}
    return {
        "since": since,
        "shadow": None if shadow is None else list(shadow),
        "commands": sum(one.number for one in refused),
        "clients": len(sources - {MANY}),
        "rows": [
            {
                "rule": one.rule,
                "verb": one.verb,
                "would": one.would,
                "refuses": one.refuses,
                "number": one.number,
                "clients": len(one.sources.keys() - {MANY}),
                "others": one.sources.get(MANY, 0),
                "first": one.first,
                "last": one.last,
                "line": one.shown,
                "top": [{"source": source, "name": name, "number": number} for source, name, number in one.top],
            }
            for one in found
        ],
    }
