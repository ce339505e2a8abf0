"""The status page: what goes on, for somebody who looks at it.

Contract: pure.  `render` makes a whole HTML document of a status document (`GET /status.json`), which may lack
anything.  Nothing on the page changes anything, nothing on it is from elsewhere, and it is complete without its
script, which only reads the page again (assets/page.js).  What it is served with: page_assets.py.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from .page_head import attention, masthead, tiles
from .page_incidents import incidents
from .page_markup import Markup, el
from .page_places import backends, bans, limits, memory, processes
from .page_traffic import all_of, sessions, verbs, verdicts, verdicts_in
from .page_troubles import in_short, troubles, worst
from .page_words import local, number, shown

CONTENT_TYPE: Final = "text/html; charset=utf-8"
_YEARS: Final = (1e9, 1e11)
"""Between 2001 and 5138 a clock may be."""


def render(status: Mapping[str, Any], now: float | None = None) -> bytes:
    """Return the page; `now` (seconds since 1970) is what `3 min ago` counts from, or the document's own time."""
    moment = number(status.get("now")) if now is None else number(now)
    if not _YEARS[0] < moment < _YEARS[1]:
        moment = time.time()
    return b"<!DOCTYPE html>\n" + _page(status, moment).html.encode("utf-8")


def _page(status: Mapping[str, Any], now: float) -> Markup:
    found = troubles(status, now)
    decided = verdicts_in(status)
    level = worst(found)
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="robots", content="noindex"),
        el("title", f"{shown(status.get('host'))}: {in_short(found)} · smtpguard"),
        el("link", id="icon", rel="icon", type="image/svg+xml", href=f"/assets/{level}.svg"),
        el("link", rel="stylesheet", href="/assets/style.css"),
        el("script", src="/assets/page.js", defer=True),
    )
    main = el(
        "main",
        attention(found),
        tiles(status, all_of(decided)),
        el(
            "div",
            verdicts(decided, now),
            incidents(status, now),
            backends(status, now),
            sessions(status),
            class_="column",
        ),
        el(
            "div",
            verbs(status),
            bans(status, now),
            limits(status),
            processes(status, now),
            memory(status),
            class_="column",
        ),
        id="main",
        tabindex="-1",
    )
    as_of = local(now).strftime("%Y-%m-%d %H:%M:%S %z")
    return el(
        "html",
        head,
        el(
            "body",
            el("a", "Skip to the content", href="#main", class_="skip"),
            el("header", masthead(status, now), _controls()),
            main,
            el("footer", el("p", f"As of {as_of}. Read-only.", id="as-of", data_live=True)),
        ),
        lang="en",
    )


def _controls() -> Markup:
    """Return what the script speaks through."""
    return el(
        "div",
        el("p", id="freshness", role="status"),
        el("button", "Pause", id="pause", type="button", hidden=True),
        el("noscript", el("p", "Without JavaScript: reload the page for news.")),
        class_="controls",
    )
