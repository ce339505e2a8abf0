"""The upper part of the page: whose it is, whether all is well, and the numbers that say how much goes on.

Contract: as page.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .page_chart import Series, line, share
from .page_markup import Child, Markup, el
from .page_troubles import NEARLY_FULL, Trouble, backend_level, written
from .page_words import (
    NOTHING,
    count,
    duration,
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

REASONS: Final = {
    "sessions": "all sessions taken",
    "sessions_per_address": "too many of one address",
    "unavailable": "no mail server",
    "limit": "by a limit",
    "untrusted": "PROXY header not believed",
    "connections": "too many connections",
}
"""Words for smtpguard.metrics.catalogue.REASONS; any other reason is its own word."""


def masthead(status: Mapping[str, Any], now: float) -> Markup:
    """Return the head: the host, whether it serves, what runs there."""
    policy, reload = record(status.get("policy")), record(status.get("reload"))
    ready = status.get("ready") is True
    since = now - number(status.get("started"))
    return el(
        "div",
        el(
            "div",
            el("h1", shown(status.get("host"))),
            state("ready", "good") if ready else state("not ready", "bad"),
            class_="host",
        ),
        el(
            "p",
            *_apart(
                ["smtpguard ", el("bdi", text(status.get("version")))],
                ["up ", el("span", duration(since))] if number(status.get("started")) else [],
                ["policy ", el("bdi", shown(policy.get("path"))), " version ", el("bdi", shown(policy.get("version")))],
                [many(policy.get("rules"), "rule"), ", ", many(policy.get("tests"), "test")],
                ["loaded ", moment(policy.get("loaded"), now)],
                _reloaded(reload, now),
            ),
            class_="about",
        ),
        id="masthead",
        data_live=True,
    )


def _reloaded(reload: Mapping[str, Any], now: float) -> list[Child]:
    if not reload:
        return []
    if reload.get("ok") is True:
        return ["last reload ", moment(reload.get("at"), now)]
    return [el("strong", "reload refused ", moment(reload.get("at"), now), class_="bad")]


def _apart(*parts: list[Child]) -> list[Child]:
    return [el("span", *part) for part in parts if part]


def attention(found: list[Trouble]) -> Markup:
    """Return what is wrong, or that nothing is."""
    body = written(found) if found else el("p", state("All is well.", "good"), class_="well")
    title = el(
        "h2",
        "Needs attention" if found else "State of things",
        id="attention-title",
        class_=None if found else "hidden",
    )
    return el("section", title, body, id="attention", aria_labelledby="attention-title", data_live=True)


def tiles(status: Mapping[str, Any], verdicts: Series) -> Markup:
    """Return the numbers."""
    sessions = record(status.get("sessions"))
    current, limit = count(sessions.get("now")), count(sessions.get("limit"))
    away = record(sessions.get("turned_away"))
    part = current / limit if limit else 0.0
    backends = records(status.get("backends"))
    up = sum(backend_level(one) == "good" for one in backends)
    incidents, bans = count(status.get("incidents_open")), count(status.get("bans_total"))
    turned = sum(map(count, away.values()))
    return el(
        "section",
        el("h2", "In numbers", id="tiles-title", class_="hidden"),
        el(
            "ul",
            _tile(
                "sessions", "Sessions now", whole(current),
                f"of {whole(limit)}" if limit else "no limit",
                share(part, "warn" if part >= NEARLY_FULL else "") if limit else None,
            ),
            _tile("sessions", "Turned away", whole(turned), _most(away)),
            _tile("verdicts", "Verdicts, last hour", whole(verdicts.total), None, line(verdicts.history)),
            _tile(
                "incidents", "Open incidents", whole(incidents), _latest(status) if incidents else "nobody attacks",
                None, incidents > 0,
            ),
            _tile("bans", "Bans", whole(bans), "nobody is banned" if not bans else "stand now"),
            _tile(
                "backends", "Mail servers up", f"{up} of {len(backends)}" if backends else NOTHING,
                None if up == len(backends) else "see which", None, up < len(backends),
            ),
        ),
        id="tiles",
        aria_labelledby="tiles-title",
        data_live=True,
    )  # fmt: skip


def _tile(place: str, label: str, value: str, below: str | None, drawn: Child = None, notable: bool = False) -> Markup:
    link = el(
        "a",
        el("span", label, class_="label"),
        el("span", value, class_="value"),
        drawn,
        el("span", below, class_="below") if below else None,
        href=f"#{place}",
    )
    return el("li", link, class_="notable" if notable else None)


def _latest(status: Mapping[str, Any]) -> str | None:
    verdict = next((text(one.get("verdict")) for one in records(status.get("incidents"))), "")
    return f"latest: {verdict}" if verdict else None


def _most(away: Mapping[str, Any]) -> str:
    reason = max(away, key=lambda one: count(away[one]), default="")
    return f"most: {reason_words(reason)}" if reason and count(away[reason]) else "nobody"


def reason_words(reason: object) -> str:
    """Return why clients are turned away, in words."""
    return REASONS.get(text(reason), text(reason))
