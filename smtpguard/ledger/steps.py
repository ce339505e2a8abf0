"""What the log says of the steps that limits lead to.

Contract: pure; the address of a client stands behind the name of the limit, and nothing that a client chose stands
anywhere.  An attack from many addresses takes many steps: of more than LINES a minute, only how many is said.
"""

from __future__ import annotations

import syslog
from collections.abc import Callable
from typing import Final

from ..policy.limits import Hardness, Rate, span
from .measures import Measure

LINES: Final = 60
"""A minute."""
MINUTE: Final = 60.0
STEPS: Final = 5000
"""That are remembered as told."""
_WORDS: Final = {
    "parallel": "connections at once", "malformed": "malformed lines", "recipients": "refused recipients",
    "auth": "refused AUTHs", "slow": "slow sessions",
}  # fmt: skip


def begun(measure: Measure, what: str, rate: Rate | None, now: float) -> str:
    """Return the line for a measure that is new: `limit a: 192.0.2.7: 41 probes in 1 hour, sent away for 1 hour`."""
    within = f" in {span(rate.seconds)}" if rate is not None else ""
    counted = f"{measure.count} {_WORDS.get(what, what)}{within}"
    return f"limit {measure.limit}: {measure.key}: {counted}, {follows(measure, now)}"


def ordered(measure: Measure, now: float) -> str:
    """Return the line for a measure that was decided for all processes or guards."""
    return f"limit {measure.limit}: {measure.key}: {measure.count} in all, {follows(measure, now)}"


def follows(measure: Measure, now: float) -> str:
    """Return what is done."""
    left = measure.until - now
    time = span(round(left / MINUTE) * MINUTE if left > 10 * MINUTE else round(left))
    match measure.hardness:
        case Hardness.DELAY:
            return f"each command waits {span(measure.seconds)}"
        case Hardness.BAN:
            return f"banned for {time}"
    return f"sent away for {time}" if measure.until > now else "no more are let in"


def ended(measure: Measure, count: int) -> str:
    """Return the line for a client that may come again."""
    was = "ban over" if measure.hardness is Hardness.BAN else "may come again"
    return f"limit {measure.limit}: {measure.key}: {was}; {count} connections were turned away"


def crowded(limit: str, key: str, count: int, seconds: float) -> str:
    """Return the line for a client that goes on having too many sessions at once."""
    return f"limit {limit}: {key}: {count} more connections were turned away in {span(seconds)}"


class Said:
    """Which steps the log has been told of, where two may come to the same: a process, and who counts for all."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, Hardness], float] = {}

    def news(self, measure: Measure, now: float) -> bool:
        """True if a step is to be told of; from then on it is known until it ends."""
        key = measure.key, measure.hardness
        known = self._until.pop(key, 0.0)
        self._until[key] = max(known, measure.until)
        if len(self._until) > STEPS:
            del self._until[next(iter(self._until))]
        return known <= now


class LineBudget:
    """Says so many lines a minute, and of the others how many they were."""

    def __init__(self, say: Callable[[str, int], None]) -> None:
        self._say = say
        self._until = 0.0
        self._said = 0
        self._left_out = 0

    def say(self, text: str, priority: int, now: float) -> None:
        """Say a line, if there is room for it in this minute."""
        self.tick(now)
        if self._said < LINES:
            self._said += 1
            self._say(text, priority)
        else:
            self._left_out += 1

    def tick(self, now: float) -> None:
        """Begin another minute, if it is time."""
        if self._until - MINUTE <= now < self._until:  # unless the clock was set back
            return
        if self._left_out:
            self._say(f"limits: {self._left_out} more lines were left out in a minute", syslog.LOG_WARNING)
        self._until = now + MINUTE
        self._said = self._left_out = 0
