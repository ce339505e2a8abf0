"""What the guard is made of: mail servers, processes, listeners, limits, bans, what it remembers.

Contract: as page.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .page_markup import Child, Markup, el, together, visible
from .page_tables import Column, facts, section, table
from .page_troubles import FAULT_CHARACTERS, backend_level, backend_words, process_level
from .page_words import (
    NOTHING,
    WRAPPED,
    code,
    count,
    many,
    moment,
    number,
    record,
    records,
    shown,
    state,
    text,
    whole,
)

BACKENDS: Final = 16
"""As many as the settings take."""
PROCESSES: Final = 128
"""More than the workers of a large host."""
LISTENERS: Final = 64
"""More than a host has addresses for mail."""
LIMITS: Final = 32
"""As many as a policy takes."""
BANS: Final = 100
"""`smtpguard bans` tells all."""


def backends(status: Mapping[str, Any], now: float) -> Markup:
    """Return the section of mail servers."""
    rows = (
        (
            code(one.get("endpoint")),
            state(backend_words(one), backend_level(one)),
            _since(one, now),
            whole(one.get("sessions")),
            whole(one.get("failures")),
            _next(one, now),
            _fault(text(one.get("fault"))),
        )
        for one in records(status.get("backends"))
    )
    columns = [
        Column("Mail server"), Column("State"), Column("Since"), Column("Sessions", "number"),
        Column("Failures", "number"), Column("Next try"), Column("Last fault", "wide"),
    ]  # fmt: skip
    relay = record(status.get("relay_check"))
    standing = text(relay.get("standing"))
    word, level = _RELAY_CHECK.get(standing, (standing, "off"))
    because = text(relay.get("because"))
    return section(
        "backends",
        "Mail servers",
        table(
            "Mail servers behind the guard",
            columns,
            rows,
            "The guard has told of no mail server.",
            BACKENDS,
            alone=True,
        ),
        facts(("Relay check", el("span", state(word, level), " ", el("bdi", because, most=FAULT_CHARACTERS))))
        if standing
        else None,
    )


_RELAY_CHECK: Final = {
    "serve": ("passed", "good"),
    "wait": ("no answer yet", "warn"),
    "relays": ("would relay for outsiders", "bad"),
}
"""Words for smtpguard.backends.relay_watch.Standing."""


def _fault(fault: str) -> Child:
    words = visible(shown(fault), FAULT_CHARACTERS)
    return el("span", words, most=FAULT_CHARACTERS, class_="long" if len(words) > WRAPPED else None)


def _since(backend: Mapping[str, Any], now: float) -> Child:
    """Return since when, of what smtpguard.backends.pool tells: a moment, or for how long."""
    span = backend.get("for_seconds")
    return moment(now - number(span) if span is not None else backend.get("since"), now)


def _next(backend: Mapping[str, Any], now: float) -> Child:
    """Return when it is tried again, likewise."""
    span = number(backend.get("next_try_seconds") or backend.get("next_try"))
    return moment(span if span > _A_CLOCK else now + span, now) if span > 0 else NOTHING


_A_CLOCK: Final = 1e9
"""Seconds since 1970; what is less is a span from now."""


def processes(status: Mapping[str, Any], now: float) -> Markup:
    """Return the section of processes and of what they listen at."""
    rows = (
        (
            together([shown(one.get("name")), " ", el("span", f"pid {count(one.get('pid'))}", class_="note")]),
            state(text(one.get("state")) or "running", process_level(one)),
            whole(one.get("sessions")) if one.get("sessions") is not None else NOTHING,
            moment(one.get("since"), now),
        )
        for one in records(status.get("processes"))
    )
    columns = [
        Column("Process", "wide"), Column("State"), Column("Sessions", "number"), Column("Since"),
    ]  # fmt: skip
    listeners = (
        (shown(one.get("name")), code(one.get("address")), code(one.get("endpoint")))
        for one in records(status.get("listeners"))
    )
    return section(
        "processes",
        "Processes and listeners",
        table("Processes", columns, rows, "No process has reported yet.", PROCESSES),
        table(
            "Listeners", [Column("Listener"), Column("Address"), Column("Endpoint", "wide")], listeners,
            "The guard listens nowhere.", LISTENERS,
        ),
    )  # fmt: skip


def limits(status: Mapping[str, Any]) -> Markup:
    """Return the section of limits."""
    rows = (
        (
            shown(one.get("name")),
            f"{shown(one.get('counts'))}, {shown(one.get('rate'))}, by {_by(one.get('by'))}",
            whole(one.get("crossed")),
            whole(one.get("standing")),
        )
        for one in records(status.get("limits"))
    )
    columns = [
        Column("Limit"), Column("Counts", "wide"), Column("Crossed", "number"),
        Column("Stand now", "number"),
    ]  # fmt: skip
    return section(
        "limits",
        "Limits",
        table("Limits of the policy", columns, rows, "The policy has no limits.", LIMITS, alone=True),
    )


def _by(value: object) -> str:
    return " and ".join(map(text, value)) if isinstance(value, list | tuple) else shown(value)


def bans(status: Mapping[str, Any], now: float) -> Markup:
    """Return the section of bans."""
    found = records(status.get("bans"))
    total = max(len(found), count(status.get("bans_total")))
    rows = (
        (
            code(one.get("key")),
            moment(one.get("until"), now),
            shown(one.get("limit")) + (f" ({whole(one.get('count'))})" if count(one.get("count")) else ""),
            moment(one.get("since"), now),
        )
        for one in found
    )
    columns = [Column("Client or prefix", "wide"), Column("Ends"), Column("By limit"), Column("Since")]
    held = records(status.get("standing"))
    return section(
        "bans",
        "Bans",
        table("Who is banned", columns, rows, "Nobody is banned.", BANS, total, alone=not held),
        _held(held, max(len(held), count(status.get("standing_total"))), now) if held else None,
        note=el("span", "lift one with ", el("code", "smtpguard bans lift ADDRESS")) if found or held else None,
    )


def _held(found: list[Mapping[str, Any]], total: int, now: float) -> Markup:
    rows = (
        (
            code(one.get("key")),
            moment(one.get("until"), now),
            shown(one.get("limit")) + (f" ({whole(one.get('count'))})" if count(one.get("count")) else ""),
            _step(one),
        )
        for one in found
    )
    columns = [Column("Client or prefix", "wide"), Column("Ends"), Column("By limit"), Column("What is done")]
    return table("Slowed or sent away", columns, rows, "Nobody is slowed or sent away.", BANS, total)


def _step(one: Mapping[str, Any]) -> str:
    step = text(one.get("step"))
    return {"close": "sent away", "delay": f"waits {number(one.get('seconds')):g} s"}.get(step, step or NOTHING)


def memory(status: Mapping[str, Any]) -> Markup:
    """Return the section of what is remembered, and of the log."""
    known = record(status.get("state"))
    shared, fault = text(known.get("shared")), text(known.get("fault"))
    together = "together with other guards" if shared else "over all processes"
    counting = {"here": "by each process alone", "together": together}
    lost = count(record(status.get("log")).get("lost"))
    file = text(known.get("file"))
    return section(
        "state",
        "State and log",
        facts(
            ("State file", el("code", file) if file else "none: bans and incidents are forgotten at a restart"),
            ("Fault", state(fault, "warn") if fault else None),
            ("Shared", state(shared, "good" if shared == "redis ok" else "warn") if shared else "with nobody"),
            ("Counted", counting.get(text(known.get("counting")), shown(known.get("counting")))),
            ("Hook", _hook(record(status.get("hook")))),
            ("Log", state(f"{many(lost, 'line')} lost", "warn") if lost else "no line lost"),
            ("Process", f"pid {count(status.get('pid'))}"),
        ),
    )


def _hook(hook: Mapping[str, Any]) -> Child:
    if not hook:
        return None
    told, failed = many(hook.get("told"), "time"), count(hook.get("failed"))
    return state(f"told {told}, {failed:,} failed", "warn") if failed else f"told {told}"
