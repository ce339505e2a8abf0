"""What the log says of the steps that limits lead to.

Contract: pure; the address of a client stands behind the name of the limit, and nothing that a client chose stands
anywhere.  An attack from many addresses takes many steps: of more than LINES a minute, only how many is said.
"""

from __future__ import annotations

import syslog
from datetime import UTC, datetime
from typing import Any, Final

from ..journal.journal import Say
from ..journal.lines import Level, Line
from ..policy.limits import Hardness, Rate, span
from .measures import Measure
from .words import deeds, many

LINES: Final = 60
"""A minute."""
MINUTE: Final = 60.0
STEPS: Final = 5000
"""That are remembered as told."""


def begun(measure: Measure, what: str, rate: Rate | None, now: float) -> Line:
    """Return the line for a measure that is new: `limit a: 192.0.2.7: 41 probes in 1 hour, sent away for 1 hour`."""
    within = f" in {span(rate.seconds)}" if rate is not None else ""
    counted = f"{deeds(measure.count, what)}{within}"
    return _begun(measure, counted, what, now)


def begun_by_coming(ban: Measure, came: int, now: float) -> Line:
    """Return the line for a ban that was reached by coming again, `came` times, while sent away."""
    return _begun(ban, f"{ban.count} in all with {many(came, 'connection')} turned away", "", now)


def ordered(measure: Measure, now: float) -> Line:
    """Return the line for a measure that was decided for all processes or guards."""
    return _begun(measure, f"{measure.count} in all", "", now)


def _begun(measure: Measure, counted: str, what: str, now: float) -> Line:
    until = None
    if measure.until > now:
        until = datetime.fromtimestamp(measure.until, UTC).isoformat(timespec="milliseconds")
    fields = {"count": measure.count, "what": what, "until": until}
    text = f"{counted}, {follows(measure, now)}"
    # Another word for what only would have begun: share/fail2ban looks for this one.
    state = "in shadow" if measure.shadow else "begun"
    return _line(syslog.LOG_NOTICE, measure.limit, measure.key, state, measure.hardness, text, fields)


def follows(measure: Measure, now: float) -> str:
    """Return what is done, or would be."""
    left = measure.until - now
    time = span(round(left / MINUTE) * MINUTE if left > 10 * MINUTE else round(left))
    if measure.shadow:
        return _would_follow(measure, time if left > 0 else "")
    match measure.hardness:
        case Hardness.DELAY:
            return f"each command waits {span(measure.seconds)}"
        case Hardness.BAN:
            return f"banned for {time}"
    return f"sent away for {time}" if measure.until > now else "no more are let in"


def _would_follow(measure: Measure, time: str) -> str:
    match measure.hardness:
        case Hardness.DELAY:
            return f"each command would have waited {span(measure.seconds)}"
        case Hardness.BAN:
            return f"would have been banned for {time}"
    return f"would have been sent away for {time}" if time else "no more would have been let in"


def ended(measure: Measure, count: int) -> Line:
    """Return the line for a client that may come again."""
    was = "ban over" if measure.hardness is Hardness.BAN else "may come again"
    away = many(count, "connection was", "connections were")
    text, fields = f"{was}; {away} turned away", {"turned_away": count}
    return _line(syslog.LOG_INFO, measure.limit, measure.key, "ended", measure.hardness, text, fields)


def crowded(limit: str, key: str, count: int, seconds: float, shadow: bool = False) -> Line:
    """Return the line for a client that goes on having too many sessions at once."""
    if shadow:
        more = many(count, "more connection", "more connections")
        text, state = f"{more} would have been turned away in {span(seconds)}", "in shadow"
    else:
        away = many(count, "more connection was", "more connections were")
        text, state = f"{away} turned away in {span(seconds)}", "goes on"
    return _line(syslog.LOG_INFO, limit, key, state, Hardness.CLOSE, text, {"turned_away": count})


def let_off(count: int) -> Line:
    """Return the line for clients that made room for others."""
    clients = many(count, "client was", "clients were")
    text = f"limits: {clients} let off early: too many are sent away at once"
    return Line(Level.SERVICE, syslog.LOG_WARNING, "service", text)


def _line(priority: int, limit: str, key: str, state: str, step: Hardness, text: str, fields: dict[str, Any]) -> Line:
    # What share/fail2ban looks for comes first, and in this order.
    whole = {"client": key, "limit": limit, "state": state, "step": step.value, **fields}
    return Line(Level.SERVICE, priority, "limit", f"limit {limit}: {key}: {text}", lambda: whole)


class Said:
    """Which steps the log has been told of, where two may come to the same: a process, and who counts for all."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, Hardness, bool], float] = {}

    def news(self, measure: Measure, now: float) -> bool:
        """True if a step is to be told of; from then on it is known until it ends."""
        key = measure.key, measure.hardness, measure.shadow
        known = self._until.pop(key, 0.0)
        self._until[key] = max(known, measure.until)
        if len(self._until) > STEPS:
            del self._until[next(iter(self._until))]
        return known <= now


class LineBudget:
    """Says so many lines a minute, and of the others how many they were.

    What only would have followed has as many of its own, so that it leaves out no line of what does.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._until = 0.0
        self._said = 0
        self._said_of_shadow = 0
        self._left_out = 0

    def say(self, line: Line, now: float, shadow: bool = False) -> None:
        """Say a line, if there is room for it in this minute."""
        self.tick(now)
        if (self._said_of_shadow if shadow else self._said) < LINES:
            self._said += not shadow
            self._said_of_shadow += shadow
            self._say(line.text, line.priority, line.event, line.fields)
        else:
            self._left_out += 1

    def tick(self, now: float) -> None:
        """Begin another minute, if it is time."""
        if self._until - MINUTE <= now < self._until:  # unless the clock was set back
            return
        if self._left_out:
            lines = many(self._left_out, "more line was", "more lines were")
            self._say(f"limits: {lines} left out in a minute", syslog.LOG_WARNING)
        self._until = now + MINUTE
        self._said = self._said_of_shadow = self._left_out = 0
