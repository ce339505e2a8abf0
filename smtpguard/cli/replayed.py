"""What a replay found, for a person and for programs.

Contract: pure; whatever clients and servers have sent, texts are of printable characters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ..config.faults import printable
from ..ledger.words import many
from ..recordings.comparing import Comparison
from ..recordings.replaying import Outcome
from ..recordings.running import Line, Run, Session
from ..recordings.tallies import Tally
from . import telling
from .shown import Shown, Table

ROWS: Final = 20
"""Of a table; `--json` has all."""
LONGEST: Final = 60
"""Characters of a line, a reply or a rule in a table."""


def lines(session: Session) -> Iterator[str]:
    """Yield what there is to say of a session."""
    when = telling.moment(session.began)
    port = f":{session.client_port} -> {session.server_port}" if session.client_port else ""
    head = f"{session.number}  {when}  {session.client}{port}".replace("    ", "  ")
    yield f"{head}  {many(session.commands, 'line')}, {session.refused} refused"
    for line in session.lines:
        yield from _line(line)
    if session.left_out:
        yield f"    and {many(session.left_out, 'more such line')}"
    for told in session.told:
        yield f"    note: {told}"


def _line(line: Line) -> Iterator[str]:
    supposed = "; answered as supposed" if line.before.supposed else ""
    yield f"    {line.number}: {line.shown}"
    if line.then and line.changed and line.after is None:
        yield f"        then   {line.then}"
    yield f"        {'before' if line.after else 'now   '} {_what(line.before)}{supposed}"
    if line.after is not None:
        yield f"        after  {_what(line.after)}" if line.changed else "        after  the same"


def _what(outcome: Outcome) -> str:
    shadow = f"; in shadow: {outcome.would}  [{outcome.would_rule}]" if outcome.would else ""
    return f"{outcome.told}  [{outcome.rule or 'no rule'}]{shadow}"


def summary(run: Run, told: Mapping[str, int], interrupted: bool) -> Shown:
    """Return the totals."""
    tally, comparison = run.tally, run.comparison
    facts = [
        ("policy", printable(run.before.name)),
        *([("against", printable(run.after.name))] if run.after else []),
        (
            "sessions",
            _sessions(tally),
        ),
        ("lines", _counts(tally)),
        *([("refused", f"{sum(tally.refused.values())} by the first policy")] if run.after else []),
        *(("note", f"{what}: {number}") for what, number in sorted([*told.items(), *tally.told.items()])),
    ]
    tables = [*_differing(comparison)] if run.after else [*_refusing(tally)]
    return Shown(not interrupted, _headline(run, interrupted), [], facts, [one for one in tables if one.rows])


def _sessions(tally: Tally) -> str:
    return f"{tally.sessions}" + (f", {tally.silent} without a line that can be read" if tally.silent else "")


def _headline(run: Run, interrupted: bool) -> str:
    if run.after is None:
        found = f"{many(sum(run.tally.refused.values()), 'line')} refused in {many(run.tally.sessions, 'session')}"
    elif run.comparison.count:
        found = f"{many(run.comparison.count, 'difference')} in {many(run.comparison.sessions, 'session')}"
    else:
        found = f"no difference in {many(run.tally.sessions, 'session')}"
    return f"interrupted; so far: {found}" if interrupted else found


def _counts(tally: Tally) -> str:
    refused = sum(tally.refused.values())
    parts = [f"{tally.forwarded} forwarded", f"{refused} refused"]
    if tally.shadowed:
        parts.append(f"{sum(tally.shadowed.values())} would have been treated otherwise but for shadow")
    if tally.unsaid:
        parts.append(f"{tally.unsaid} left out, since the client was told otherwise before")
    if tally.over:
        parts.append(f"{tally.over} behind the end of a session")
    if tally.supposed:
        parts.append(f"{tally.supposed} whose answer was supposed")
    return f"{tally.commands}: {', '.join(parts)}"


def _refusing(tally: Tally) -> Iterator[Table]:
    def table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
        return Table(title, columns, rows[:ROWS], max(len(rows) - ROWS, 0))

    columns = ("lines #", "verb", "answer", "rule")
    rows = [(str(n), one.verb, _cut(one.told), _place(one.rule)) for one, n in tally.refused.most_common()]
    yield table("Refused, by rule", columns, rows)
    rows = [(str(n), one.verb, _cut(one.told), _place(one.rule)) for one, n in tally.shadowed.most_common()]
    yield table("In shadow: what would have been done", columns, rows)
    changes = []
    for change, n in tally.changes.most_common():
        number, line, then = tally.samples.get(change, (0, "", ""))
        changes.append((str(n), change.verb, change.then, _cut(change.now), f"{number}: {_cut(line)}: {_cut(then)}"))
    yield table("Told otherwise than then", ("lines #", "verb", "then", "now", "as in session"), changes)
    clients = [(who, str(n)) for who, n in tally.clients.most_common(ROWS)]
    yield Table("Refused most", ("client", "lines #"), clients, max(len(tally.clients) - ROWS, 0))


def _differing(comparison: Comparison) -> Iterator[Table]:
    ordered = sorted(comparison.kinds.items(), key=lambda item: (-item[1].count, item[0]))
    rows = []
    for kind, kept in ordered:
        before = f"{_cut(kind.before)} [{_place(kind.before_rule) or 'no rule'}]"
        after = f"{_cut(kind.after)} [{_place(kind.after_rule) or 'no rule'}]"
        number, line = kept.sample
        rows.append((str(kept.count), str(len(kept.clients)), kind.verb, before, after, f"{number}: {_cut(line)}"))
    columns = ("lines #", "clients #", "verb", "before", "after", "as in session")
    yield Table("Differences", columns, rows[:ROWS], max(len(rows) - ROWS, 0))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _place(rule: str) -> str:
    """Return a rule's name with no more of its file's than tells it from others."""
    file, colon, rest = rule.partition(":")
    return printable(file.rpartition("/")[2] + colon + rest)


# -- for programs ----------------------------------------------------------------------------------


def row(session: Session) -> dict[str, Any]:
    """Return a session as an object."""
    return {
        "session": session.number,
        "client": session.client,
        "client_port": session.client_port,
        "server_port": session.server_port,
        "began": session.began,
        "lines": session.commands,
        "refused": session.refused,
        "told": [
            {
                "line": line.number,
                "said": line.shown,
                "then": line.then,
                "changed": line.changed,
                "before": _outcome(line.before),
                **({} if line.after is None else {"after": _outcome(line.after)}),
            }
            for line in session.lines
        ],
        "left_out": session.left_out,
        "notes": list(session.told),
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "verdict": outcome.happened.value,
        "reply": outcome.reply,
        "rule": outcome.rule,
        "delay": outcome.delay,
        "would": outcome.would,
        "would_rule": outcome.would_rule,
        "supposed": outcome.supposed,
    }


def totals(run: Run, told: Mapping[str, int], interrupted: bool) -> dict[str, Any]:
    """Return the totals as an object; the one that has `totals`."""
    tally = run.tally
    found: dict[str, Any] = {
        "totals": True,
        "interrupted": interrupted,
        "policy": run.before.name,
        "sessions": tally.sessions,
        "lines": tally.commands,
        "forwarded": tally.forwarded,
        "unsaid": tally.unsaid,
        "over": tally.over,
        "supposed": tally.supposed,
        "refused": [
            {"rule": one.rule, "verb": one.verb, "answer": one.told, "count": n}
            for one, n in tally.refused.most_common()
        ],
        "shadowed": [
            {"rule": one.rule, "verb": one.verb, "answer": one.told, "count": n}
            for one, n in tally.shadowed.most_common()
        ],
        "changes": [
            {"verb": one.verb, "then": one.then, "now": one.now, "count": n} for one, n in tally.changes.most_common()
        ],
        "clients": dict(tally.clients.most_common()),
        "notes": {**told, **tally.told},
    }
    if run.after is not None:
        found["against"] = run.after.name
        found["differences"] = [
            {
                "verb": kind.verb,
                "before": {"answer": kind.before, "rule": kind.before_rule},
                "after": {"answer": kind.after, "rule": kind.after_rule},
                "count": kept.count,
                "clients": len(kept.clients),
                "unread": kept.unread,
                "session": kept.sample[0],
                "said": kept.sample[1],
            }
            for kind, kept in run.comparison.kinds.items()
        ]
    return found
