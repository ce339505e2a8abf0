"""The status of a service for a person: lines and tables of text.

Contract: pure; takes the status document (docs/monitoring.md), of which any part may be missing, and returns text that
a terminal may be given: no control characters, whatever clients have sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from attrs import field, frozen

from ..config.faults import printable
from ..ledger.words import deeds, many

ROWS: Final = 12
"""Of a table; `--json`, `smtpguard bans` and `smtpguard incidents` have all."""
LONGEST_CELL: Final = 60
"""Characters; of more the end is left out, since what counts is in front."""
FAULTS: Final = 10
"""Of a refused reload; `smtpguard check` tells all.  As many warnings of one that was done."""
MOST: Final = 1e15
"""A number of rows that is larger is none."""
RELAYING: Final = {
    "serve": "clients are served",
    "wait": "no client is served yet",
    "relays": "no client is served",
}
"""What the relay check lets the guard do, by its `standing`."""
WATCHING: Final = "the policy, or part of it, is only logged; smtpguard report tells what it would refuse"
_STEPS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@frozen
class Table:
    """One table."""

    title: str
    columns: tuple[str, ...]
    """Numbers stand to the right: their names end in `#`, which is not shown."""
    rows: Sequence[tuple[str, ...]]
    more: int = 0
    """Rows that are left out."""
    bars: Sequence[Sequence[int]] = field(factory=list)
    """What was counted in each minute, for each row, where that is drawn."""


@frozen
class Shown:
    """All of it."""

    good: bool
    """Clients are served, and the last reload was not refused."""
    headline: str
    troubles: Sequence[str]
    facts: Sequence[tuple[str, str]]
    tables: Sequence[Table]


def show(status: Mapping[str, Any]) -> Shown:
    """Return what there is to say."""
    now = _number(status.get("now"))
    ready = status.get("ready") is True
    reload = _mapping(status.get("reload"))
    refused = bool(reload) and reload.get("ok") is False
    because = _text(status.get("ready_because")) or "no reason given"
    return Shown(
        ready and not refused,
        f"smtpguard {_text(status.get('version'))} on {_text(status.get('host'))}: "
        + ("ready" if ready else f"NOT READY: {because}"),
        [*(_reload_troubles(reload, now) if refused else _reload_warnings(reload, now))],
        list(_facts(status, now)),
        [table for table in _tables(status, now) if table.rows],
    )


def _reload_troubles(reload: Mapping[str, Any], now: float) -> Iterable[str]:
    faults = reload.get("faults")
    told = [_text(fault) for fault in faults] if isinstance(faults, list) else []
    yield f"the last reload was refused {_ago(reload.get('at'), now)}; what was in use before stays in use"
    yield from told[:FAULTS]
    if len(told) > FAULTS:
        yield f"and {len(told) - FAULTS} more: smtpguard check tells all"


def _reload_warnings(reload: Mapping[str, Any], now: float) -> Iterable[str]:
    told = [_text(warning) for warning in _list(reload.get("warnings"))]
    if told:
        yield f"the last reload, {_ago(reload.get('at'), now)}, came with {many(len(told), 'warning')}:"
    yield from told[:FAULTS]
    if len(told) > FAULTS:
        yield f"and {len(told) - FAULTS} more, in the log"


def _facts(status: Mapping[str, Any], now: float) -> Iterable[tuple[str, str]]:
    policy, sessions = _mapping(status.get("policy")), _mapping(status.get("sessions"))
    reload, relay = _mapping(status.get("reload")), _mapping(status.get("relay_check"))
    state, log = _mapping(status.get("state")), _mapping(status.get("log"))
    yield "running", f"for {_span(now - _number(status.get('started')))}, process {_text(status.get('pid'))}"
    rules = f"{many(_text(policy.get('rules')), 'rule')}, loaded {_ago(policy.get('loaded'), now)}"
    yield "policy", f"{_text(policy.get('path'))} (version {_text(policy.get('version'))}), {rules}"
    if _number(policy.get("shadow")):
        yield "in shadow", WATCHING
    if reload:
        outcome = "done" if reload.get("ok") else "REFUSED"
        yield "last reload", f"{outcome} {_ago(reload.get('at'), now)}"
    counted = f"{_text(sessions.get('now'))} of {_text(sessions.get('limit'))}, {_text(sessions.get('total'))} in all"
    if _number(sessions.get("configured")) > _number(sessions.get("limit")):
        counted += f"; too few descriptors for {_text(sessions.get('configured'))} (limits.sessions)"
    yield "sessions", counted
    away = _mapping(sessions.get("turned_away"))
    if away:
        yield "turned away", ", ".join(f"{_text(number)} for {_text(why)}" for why, number in away.items())
    if relay:
        standing = _text(relay.get("standing"))
        yield "relay check", " - ".join(filter(None, (RELAYING.get(standing, standing), _text(relay.get("because")))))
    counting = f"counting {_text(state.get('counting'))}"
    kept = [_text(state.get("file")), _text(state.get("fault")), _text(state.get("shared")), counting]
    if state:
        yield "state", ", ".join(filter(None, kept))
    if log.get("lost"):
        yield "log", f"{many(_text(log['lost']), 'line')} lost"


def _tables(status: Mapping[str, Any], now: float) -> Iterable[Table]:
    def table(title: str, key: str, columns: Mapping[str, Callable[[Mapping[str, Any]], str]]) -> Table:
        rows = [row for row in _list(status.get(key)) if isinstance(row, Mapping)]
        cells = [tuple(_cut(cell(row)) for cell in columns.values()) for row in rows[:ROWS]]
        return Table(title, tuple(columns), cells, len(rows) - len(cells))

    def of(key: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda row: _text(row.get(key))

    def ago(key: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda row: _ago(row.get(key), now)

    listening = {"listener": of("name"), "address": of("address")}
    yield table("Listeners", "listeners", listening)
    yield table(
        "Processes",
        "processes",
        {
            "process": of("name"),
            "pid #": of("pid"),
            "state": of("state"),
            "sessions #": of("sessions"),
            "since": ago("since"),
        },
    )
    yield table(
        "Backends",
        "backends",
        {
            "backend": of("endpoint"),
            "state": of("state"),
            "since": ago("since"),
            "sessions #": of("sessions"),
            "failures #": of("failures"),
            "last fault": of("fault"),
        },
    )
    verdicts = table(
        "Verdicts",
        "verdicts",
        {
            "rule": lambda row: _without_folder(_text(row.get("rule"))),
            "action": of("action"),
            "last hour #": lambda row: str(sum(_minutes(row))),
            "all #": of("count"),
        },
    )
    drawn = [_minutes(row) for row in _list(status.get("verdicts"))[: len(verdicts.rows)]]
    yield Table(verdicts.title, verdicts.columns, verdicts.rows, verdicts.more, drawn)
    yield table("Commands", "verbs", {"verb": of("verb"), "passed #": of("passed"), "all #": of("all")})
    yield table(
        "Limits",
        "limits",
        {
            "limit": of("name"),
            "counts": of("counts"),
            "rate": of("rate"),
            "crossed #": of("crossed"),
            "standing #": of("standing"),
        },
    )
    yield table(
        "Bans", "bans", {"who": of("key"), "for": of("limit"), "until": lambda row: _clock(row.get("until"), now)}
    )
    held = table(
        "Slowed or sent away",
        "standing",
        {
            "who": of("key"),
            "step": step,
            "for": of("limit"),
            "until": lambda row: _clock(row.get("until"), now),
        },
    )
    total = int(min(_number(status.get("standing_total")), MOST))
    yield Table(held.title, held.columns, held.rows, max(held.more, total - len(held.rows)))
    yield table(
        "Incidents",
        "incidents",
        {
            "id #": of("id"),
            "who": of("key"),
            "verdict": of("verdict"),
            "state": lambda row: "open" if row.get("closed") is None else "closed",
            "last": ago("last"),
            "deeds": lambda row: ", ".join(
                deeds(_text(n), _text(kind)) for kind, n in _mapping(row.get("deeds")).items()
            ),
            "tried": lambda row: ", ".join(map(_text, _list(row.get("names"))[:5])),
        },
    )
    live = {"sessions": _list(_mapping(status.get("sessions")).get("live"))}
    status = live
    yield table(
        "Sessions",
        "sessions",
        {
            "session": of("id"),
            "client": of("address"),
            "state": of("state"),
            "for": lambda row: _span(_number(row.get("seconds"))),
            "commands #": of("commands"),
            "TLS": lambda row: "yes" if row.get("tls") else "",
            "backend": of("backend"),
        },
    )


def step(row: Mapping[str, Any]) -> str:
    """Return what is done to somebody, a row of `bans` or of `standing`."""
    match row.get("step", "ban"):
        case "ban":
            return "banned"
        case "close":
            return "sent away"
        case "delay":
            return f"each command waits {_text(row.get('seconds'))} s"
    return _text(row.get("step"))


# -- words -----------------------------------------------------------------------------------------


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return printable(str(value))


def _without_folder(rule: str) -> str:
    """Return the name of a rule, which begins with its file's, with no more of that than tells it from others."""
    file, colon, rest = rule.partition(":")
    return file.rpartition("/")[2] + colon + rest


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 3] + "..."


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _minutes(row: object) -> list[int]:
    return [int(_number(one)) for one in _list(_mapping(row).get("history"))]


def _span(seconds: float) -> str:
    """Return a time in its two largest units."""
    rest = int(max(seconds, 0))
    parts: list[str] = []
    for length, name in _STEPS:
        number, rest = divmod(rest, length)
        if parts:  # the second one, which is left out if there is none of it
            return " ".join([*parts, f"{number} {name}"] if number else parts)
        if number:
            parts.append(f"{number} {name}")
    return parts[0] if parts else "0 s"


def _ago(when: object, now: float) -> str:
    return f"{_span(now - _number(when))} ago" if isinstance(when, int | float) else ""


def _clock(when: object, now: float) -> str:
    """Return a moment to come, in this host's time."""
    if not isinstance(when, int | float):
        return ""
    try:
        at = datetime.fromtimestamp(when).astimezone()
    except (OverflowError, OSError, ValueError):
        return "the end of time"
    return f"{at:%Y-%m-%d %H:%M:%S} (in {_span(when - now)})"
