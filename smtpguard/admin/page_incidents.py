"""Incidents: who tries what, and how it is known.

Contract: as page.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..ledger.words import deeds
from .page_markup import Child, Markup, el
from .page_tables import Column, facts, section, table
from .page_words import (
    NOTHING,
    code,
    count,
    joined,
    listed,
    many,
    moment,
    number,
    record,
    records,
    shown,
    state,
    text,
    texts,
    whole,
)

INCIDENTS: Final = 50
"""As many as the status document has; `smtpguard incidents` tells all."""
NAMES: Final = 30
"""Names that were tried, of one incident."""
EVIDENCE: Final = 8
"""Lines of evidence of one."""
ADDRESSES: Final = 10
"""Of a prefix."""
LINE_CHARACTERS: Final = 240
"""Of a line that a client sent, which the log cuts at 203 octets."""


def incidents(status: Mapping[str, Any], now: float) -> Markup:
    """Return the section of incidents."""
    found = records(status.get("incidents"))[:INCIDENTS]
    still = count(status.get("incidents_open"))
    if found:
        body = el("ul", *(el("li", _incident(place, one, now)) for place, one in enumerate(found)), class_="incidents")
    else:
        body = el("p", "Nothing that looks like an attack.", class_="empty")
    return section(
        "incidents",
        "Incidents",
        body,
        note=f"{whole(still)} open; the latest {len(found)}" if found else None,
    )


def _incident(place: int, one: Mapping[str, Any], now: float) -> Markup:
    going = not number(one.get("closed"))
    # The number is the name by which the script keeps it open; without one its place has to do.
    name = f"incident-{count(one['id'])}" if "id" in one else f"incident-at-{place}"
    kinds = record(one.get("deeds"))
    told = joined(deeds(whole(times), text(kind)) for kind, times in kinds.items() if count(times))
    head = el(
        "summary",
        el("span", state("open" if going else "closed", "warn" if going else "off"), class_="is"),
        el("strong", code(one.get("key"))),
        el("span", shown(one.get("verdict")), class_="verdict"),
        el("span", "banned", class_="banned badge bad") if one.get("banned") is True else None,
        el("span", f"{told or 'nothing counted'} in {many(one.get('sessions'), 'session')}", class_="deeds"),
        el("span", moment(one.get("last") or one.get("opened"), now), class_="number"),
        id=f"{name}-head",
    )
    return el("details", head, el("div", *_body(one, now), class_="body"), id=name)


def _body(one: Mapping[str, Any], now: float) -> list[Child]:
    addresses = texts(one.get("addresses"))
    more = len(addresses) - ADDRESSES
    return [
        facts(
            ("First seen", moment(one.get("opened"), now)),
            ("Last seen", moment(one.get("last"), now)),
            ("Closed", moment(one.get("closed"), now) if one.get("closed") else None),
            ("Number", whole(one.get("id"))),
            ("Addresses", el("span", *_codes(addresses[:ADDRESSES]), f"and {more:,} more" if more > 0 else None)),
        ),
        *_names(one),
        _evidence(one, now),
    ]


def _names(one: Mapping[str, Any]) -> list[Child]:
    names = texts(one.get("names"))
    more = max(0, len(names) - NAMES) + count(one.get("names_more"))
    if not names:
        return [el("p", "No names were tried.", class_="empty")]
    last = el("li", f"and {more:,} more") if more else None
    return [
        el("h3", "Names tried"),
        el("ul", *(el("li", el("code", name)) for name in names[:NAMES]), last, class_="names"),
    ]


def _evidence(one: Mapping[str, Any], now: float) -> Markup:
    every = [row for row in listed(one.get("evidence")) if isinstance(row, Mapping)]
    rows = (
        (
            moment(row.get("when"), now),
            code(row.get("shown"), LINE_CHARACTERS),
            shown(row.get("verdict")),
            code(row.get("session")),
        )
        for row in every
    )
    columns = [Column("When"), Column("Line", "wide"), Column("Answer"), Column("Session")]
    return table("Evidence, a sample", columns, rows, "There is no evidence left.", EVIDENCE)


def _codes(names: list[str]) -> list[Child]:
    return [child for name in names for child in (el("code", name), " ")] or [NOTHING]
