"""The status of a service for a person.

Contract: pure; takes the status document (docs/monitoring.md), of which any part may be missing, and returns text that
a terminal may be given: no control characters, whatever clients have sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..ledger.words import many
from .shown import Shown
from .status_tables import tables
from .status_words import ago, list_of, mapping, number, span, text_of

FAULTS: Final = 10
"""Of a refused reload; `smtpguard check` tells all.  As many warnings of one that was done."""
RELAYING: Final = {
    "serve": "clients are served",
    "wait": "no client is served yet",
    "relays": "no client is served",
}
"""What the relay check lets the guard do, by its `standing`."""
WATCHING: Final = "the policy, or part of it, is only logged; smtpguard report tells what it would refuse"


def show(status: Mapping[str, Any], changed: float = 0.0) -> Shown:
    """Return what there is to say; `changed` is when the policy's file was (seconds of the epoch), if known."""
    now = number(status.get("now"))
    ready = status.get("ready") is True
    reload = mapping(status.get("reload"))
    refused = bool(reload) and reload.get("ok") is False
    because = text_of(status.get("ready_because")) or "no reason given"
    return Shown(
        ready and not refused,
        f"smtpguard {text_of(status.get('version'))} on {text_of(status.get('host'))}: "
        + ("ready" if ready else f"NOT READY: {because}"),
        [*(_reload_troubles(reload, now) if refused else _not_in_use(status, changed, now))],
        list(_facts(status, now)),
        [table for table in tables(status, now) if table.rows],
    )


def _reload_troubles(reload: Mapping[str, Any], now: float) -> Iterable[str]:
    faults = reload.get("faults")
    told = [text_of(fault) for fault in faults] if isinstance(faults, list) else []
    yield f"the last reload was refused {ago(reload.get('at'), now)}; what was in use before stays in use"
    yield from told[:FAULTS]
    if len(told) > FAULTS:
        yield f"and {len(told) - FAULTS} more: smtpguard check tells all"


def _not_in_use(status: Mapping[str, Any], changed: float, now: float) -> Iterable[str]:
    policy = mapping(status.get("policy"))
    if changed > number(policy.get("loaded")) > 0:
        path = text_of(policy.get("path"))
        yield f"{path} was changed {ago(changed, now)}, after it was loaded, and is not in use yet:"
        yield "smtpguard check, then systemctl reload smtpguard"
    yield from _reload_warnings(mapping(status.get("reload")), now)


def _reload_warnings(reload: Mapping[str, Any], now: float) -> Iterable[str]:
    told = [text_of(warning) for warning in list_of(reload.get("warnings"))]
    if told:
        yield f"the last reload, {ago(reload.get('at'), now)}, came with {many(len(told), 'warning')}:"
    yield from told[:FAULTS]
    if len(told) > FAULTS:
        yield f"and {len(told) - FAULTS} more, in the log"


def _facts(status: Mapping[str, Any], now: float) -> Iterable[tuple[str, str]]:
    policy, sessions = mapping(status.get("policy")), mapping(status.get("sessions"))
    reload, relay = mapping(status.get("reload")), mapping(status.get("relay_check"))
    state, log = mapping(status.get("state")), mapping(status.get("log"))
    yield "running", f"for {span(now - number(status.get('started')))}, process {text_of(status.get('pid'))}"
    rules = f"{many(text_of(policy.get('rules')), 'rule')}, loaded {ago(policy.get('loaded'), now)}"
    yield "policy", f"{text_of(policy.get('path'))} (version {text_of(policy.get('version'))}), {rules}"
    if number(policy.get("shadow")):
        yield "in shadow", WATCHING
    if reload:
        outcome = "done" if reload.get("ok") else "REFUSED"
        yield "last reload", f"{outcome} {ago(reload.get('at'), now)}"
    counted = (
        f"{text_of(sessions.get('now'))} of {text_of(sessions.get('limit'))}, {text_of(sessions.get('total'))} in all"
    )
    if number(sessions.get("configured")) > number(sessions.get("limit")):
        counted += f"; too few descriptors for {text_of(sessions.get('configured'))} (limits.sessions)"
    yield "sessions", counted
    away = mapping(sessions.get("turned_away"))
    if away:
        yield "turned away", ", ".join(f"{text_of(count)} for {text_of(why)}" for why, count in away.items())
    if relay:
        standing = text_of(relay.get("standing"))
        yield "relay check", " - ".join(filter(None, (RELAYING.get(standing, standing), text_of(relay.get("because")))))
    counting = f"counting {text_of(state.get('counting'))}"
    kept = [text_of(state.get("file")), text_of(state.get("fault")), text_of(state.get("shared")), counting]
    if state:
        yield "state", ", ".join(filter(None, kept))
    if log.get("lost"):
        yield "log", f"{many(text_of(log['lost']), 'line')} lost"
