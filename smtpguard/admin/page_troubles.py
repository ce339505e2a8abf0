"""What an operator has to know at once.

Contract: pure.  `troubles` finds in a status document what is not as it should be, the worst first; an empty list means
that all is well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from .page_markup import Child, Markup, el, together
from .page_words import count, joined, many, moment, record, records, shown, text, texts, whole

NEARLY_FULL: Final = 0.9
"""Of the sessions that there may be: from here on one more wave turns clients away."""
FAULTS: Final = 20
"""Faults of a refused policy that are shown; `smtpguard check` tells all."""
FAULT_CHARACTERS: Final = 400
"""Of a fault: a path, a place and a suggestion."""

BACKENDS: Final = {
    "up": ("up", "good"),
    "checking": ("is being checked", "warn"),
    "down": ("down", "bad"),
    "relays": ("would relay", "bad"),
}
"""What a backend's state is called (smtpguard.backends.member), and means; any other is its own word, and a warning."""
RUNNING: Final = frozenset({"", "running", "ready", "serving", "up", "keeping the books"})
"""Words for a process that does its work."""
STARTING: Final = frozenset({"starting", "stopping", "draining", "checking", "retiring"})
"""Words for one that will soon, or that has done so: no trouble."""


@frozen
class Trouble:
    """One of them."""

    level: str
    """`bad`: clients are turned away, or what the operator wanted did not happen; `warn`: it may come to that."""
    what: Child
    place: str = ""
    """The section that has more."""
    details: tuple[str, ...] = ()
    more: int = 0
    """Details that are not shown."""


def troubles(status: Mapping[str, Any], now: float) -> list[Trouble]:
    """Return all that there are."""
    found = [*_serving(status), *_reload(status, now), *_backends(status), *_processes(status), *_memory(status)]
    return sorted(found, key=lambda one: one.level)  # "bad" before "warn"


def _serving(status: Mapping[str, Any]) -> Iterator[Trouble]:
    if status.get("ready") is not True:
        because = text(status.get("ready_because")) or "no reason was given"
        yield Trouble("bad", together(["Clients are turned away: ", el("bdi", because)]))
    relay = record(status.get("relay_check"))
    if (standing := text(relay.get("standing"))) in {"relays", "wait"}:
        because = text(relay.get("because"))
        words = (
            "The mail server would relay for outsiders" if standing == "relays" else "No answer to the relay check yet"
        )
        yield Trouble("bad" if standing == "relays" else "warn", _with(words, because), "backends")
    sessions = record(status.get("sessions"))
    limit, wanted = count(sessions.get("limit")), count(sessions.get("configured"))
    if limit < wanted:
        words = f"There are descriptors for {many(limit, 'session')}, and limits.sessions is {wanted:,}"
        yield Trouble("warn", words, "sessions")
    if limit and count(sessions.get("now")) >= NEARLY_FULL * limit:
        yield Trouble("warn", f"{whole(sessions.get('now'))} of {many(limit, 'session')} are taken", "sessions")


def _reload(status: Mapping[str, Any], now: float) -> Iterator[Trouble]:
    reload = record(status.get("reload"))
    if not reload:
        return
    policy = record(status.get("policy"))
    when = moment(reload.get("at"), now)
    if reload.get("ok") is not True:
        kept = together([
            el("strong", "The reload was refused"), " ", when, ". The policy of before, version ",
            el("bdi", shown(policy.get("version"))), ", stays in force.",
        ])  # fmt: skip
        yield _with_details("bad", kept, texts(reload.get("faults")))
    if warnings := texts(reload.get("warnings")):
        yield _with_details(
            "warn", together(["The reload ", when, f" came with {many(len(warnings), 'warning')}."]), warnings
        )


def _backends(status: Mapping[str, Any]) -> Iterator[Trouble]:
    every = records(status.get("backends"))
    down = [one for one in every if backend_level(one) == "bad"]
    for one in down:
        words = together(["Mail server ", el("bdi", shown(one.get("endpoint"))), ": ", el("bdi", backend_words(one))])
        yield Trouble("bad" if len(down) == len(every) else "warn", _with(words, text(one.get("fault"))), "backends")


def _processes(status: Mapping[str, Any]) -> Iterator[Trouble]:
    for one in records(status.get("processes")):
        if process_level(one) == "bad":
            words = together([el("bdi", shown(one.get("name"))), ": ", el("bdi", text(one.get("state")))])
            yield Trouble("warn", words, "processes")


def _memory(status: Mapping[str, Any]) -> Iterator[Trouble]:
    state = record(status.get("state"))
    shared = text(state.get("shared"))
    if shared and shared != "redis ok":
        yield Trouble("warn", _with("Each guard counts for itself", shared), "state")
    if fault := text(state.get("fault")):
        yield Trouble("warn", _with("The state file", fault), "state")
    if lost := count(record(status.get("log")).get("lost")):
        yield Trouble("warn", f"{many(lost, 'line')} of the log {'was' if lost == 1 else 'were'} lost", "state")


def backend_level(backend: Mapping[str, Any]) -> str:
    """Return what its state means."""
    return BACKENDS.get(text(backend.get("state")), ("", "warn"))[1]


def backend_words(backend: Mapping[str, Any]) -> str:
    """Return its state in words."""
    word = text(backend.get("state"))
    return BACKENDS.get(word, (word or "unknown", ""))[0]


def process_level(process: Mapping[str, Any]) -> str:
    """Return what its state means."""
    word = text(process.get("state"))
    return "good" if word in RUNNING else "warn" if word in STARTING else "bad"


def _with(words: Child, because: str) -> Child:
    return together([words, ": ", el("bdi", because, most=FAULT_CHARACTERS)]) if because else words


def _with_details(level: str, what: Child, details: list[str]) -> Trouble:
    return Trouble(level, what, "", tuple(details[:FAULTS]), max(0, len(details) - FAULTS))


def written(found: list[Trouble]) -> Markup:
    """Return them as the page shows them."""
    return el("ul", *map(_item, found), class_="troubles")


def _item(trouble: Trouble) -> Markup:
    word = "Alarm" if trouble.level == "bad" else "Warning"
    place = el("a", "details", href=f"#{trouble.place}") if trouble.place else None
    details = [el("li", el("code", one, most=FAULT_CHARACTERS)) for one in trouble.details]
    if trouble.more:
        details.append(el("li", f"and {trouble.more:,} more"))
    return el(
        "li",
        el("span", word, class_=f"badge {trouble.level}"),
        el("div", el("p", trouble.what, " " if place else None, place), el("ul", *details) if details else None),
        class_=trouble.level,
    )


def in_short(found: list[Trouble]) -> str:
    """Return how many there are, for the title of the window."""
    bad = sum(one.level == "bad" for one in found)
    warnings = len(found) - bad
    return joined((many(bad, "alarm") if bad else "", many(warnings, "warning") if warnings else "")) or "all is well"


def worst(found: list[Trouble]) -> str:
    """Return the level of all of them together."""
    return found[0].level if found else "good"
