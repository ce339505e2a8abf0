"""What is decided: verdicts by rule, commands by verb, and sessions as they are now.

Contract: as page.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .page_chart import MINUTES, Series, bars, history, line, share, top
from .page_head import reason_words
from .page_markup import Markup, el
from .page_tables import Column, section, table
from .page_words import NOTHING, code, count, duration, number, record, records, shown, text, whole

RULES: Final = 60
"""Rows of the table of rules; a policy may have more, and most of those say nothing in an hour."""
VERBS: Final = 40
"""More than there are verbs."""
SESSIONS: Final = 100
"""As many as a report tells of (smtpguard.ledger.reports.LIVE_SESSIONS)."""
REASONS_SHOWN: Final = 12
"""More than there are reasons."""


def verdicts_in(status: Mapping[str, Any]) -> list[tuple[Series, Mapping[str, Any]]]:
    """Return the history of each rule and action, and what else is known of it."""
    return [(Series(_name(one), history(one.get("history"))), one) for one in records(status.get("verdicts"))]


def _name(verdict: Mapping[str, Any]) -> str:
    return f"{text(verdict.get('rule')) or 'no rule'}: {shown(verdict.get('action'))}"


def all_of(verdicts: list[tuple[Series, Mapping[str, Any]]]) -> Series:
    """Return them as one."""
    sums = tuple(sum(one.history[minute] for one, _ in verdicts) for minute in range(MINUTES))
    return Series("verdicts", sums)


def verdicts(found: list[tuple[Series, Mapping[str, Any]]], now: float) -> Markup:
    """Return the section of verdicts."""
    drawn = top([series for series, _ in found])
    ranked = sorted(found, key=lambda one: (-one[0].total, -count(one[1].get("count")), one[0].name))
    rows = (
        (
            text(one.get("rule")) or "no rule",
            shown(one.get("action")),
            line(series.history),
            f"{series.total:,}",
            whole(one.get("count")),
        )
        for series, one in ranked
    )
    columns = [
        Column("Rule", "wide"), Column("Action"), Column("60 min", "drawn"), Column("Last hour", "number"),
        Column("Since start", "number"),
    ]  # fmt: skip
    return section(
        "verdicts",
        "Verdicts by rule",
        _hour(drawn, now) if found else None,
        table(
            "Verdicts by rule and action, most in the last hour first",
            columns,
            rows,
            "No rule has decided yet.",
            RULES,
            alone=True,
        ),
        note="in each of the last 60 minutes",
    )


def _hour(drawn: list[Series], now: float) -> Markup:
    return bars(drawn, now) if drawn else el("p", "No verdict in the last hour.", class_="empty")


def verbs(status: Mapping[str, Any]) -> Markup:
    """Return the section of commands."""
    found = sorted(records(status.get("verbs")), key=lambda one: -count(one.get("all")))
    rows = ((shown(one.get("verb")), *_numbers(count(one.get("passed")), count(one.get("all")))) for one in found)
    columns = [
        Column("Verb", "wide"),
        Column("Share", "drawn"),
        *(Column(name, "number") for name in ("Passed", "Refused", "All")),
    ]
    return section(
        "verbs",
        "Commands",
        table("Commands by verb, and how many were passed on", columns, rows, "No command yet.", VERBS, alone=True),
        note="since the start",
    )


def _numbers(passed: int, every: int) -> tuple[Markup, str, str, str]:
    refused = max(0, every - passed)
    return share(passed / every if every else 0.0), f"{passed:,}", f"{refused:,}" if refused else NOTHING, f"{every:,}"


def sessions(status: Mapping[str, Any]) -> Markup:
    """Return the section of sessions, and of clients that got none."""
    told = record(status.get("sessions"))
    live = sorted(records(told.get("live")), key=lambda one: -number(one.get("seconds")))
    rows = (
        (
            code(one.get("address")),
            shown(one.get("listener")),
            shown(one.get("state")),
            "TLS" if one.get("tls") is True else NOTHING,
            shown(one.get("backend")),
            whole(one.get("commands")),
            duration(number(one.get("seconds"))),
            code(one.get("id")),
        )
        for one in live
    )
    columns = [
        Column("Client", "wide"), Column("Listener"), Column("Waits for"), Column("TLS"), Column("Mail server"),
        Column("Commands", "number"), Column("Time", "number"), Column("Session"),
    ]  # fmt: skip
    away = sorted(record(told.get("turned_away")).items(), key=lambda one: -count(one[1]))
    reasons = ((reason_words(reason), whole(times)) for reason, times in away if count(times))
    return section(
        "sessions",
        "Sessions",
        table("Sessions now, the longest first", columns, rows, "No session now.", SESSIONS, count(told.get("now"))),
        table(
            "Clients turned away since the start, by reason", [Column("Reason", "wide"), Column("Clients", "number")],
            reasons, "No client was turned away.", REASONS_SHOWN,
        ),
        note=f"{whole(told.get('now'))} now, {whole(told.get('total'))} since the start",
    )  # fmt: skip
