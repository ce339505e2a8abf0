"""How much a deed says, and what somebody who does such deeds is called.

Contract: pure.  Connections and commands say nothing by themselves: a limit that is crossed does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..smtp.verbs import PROBES
from .deeds import Deed, Kind
from .telling import FORWARDED

ENOUGH: Final = 10
"""Points within WATCH_SECONDS, with which an incident begins.  One line mistyped and one VRFY of a mail program outside
are less, together too."""
WATCH_SECONDS: Final = 600.0
"""For which a deed that was not enough is remembered."""
OLD_HOLE: Final = ENOUGH
"""DEBUG and its like: no mail program has said them since 1988."""
_POINTS: Final = {
    Kind.PROBE: 4,
    Kind.MALFORMED: 4,
    Kind.SLOW: 4,
    Kind.AUTH: 3,  # passwords change, and a phone tries the old one
    Kind.RECIPIENT: 1,  # mail to a list of which some have left
}
_OLD_HOLES: Final = frozenset(verb.decode("ascii") for verb in PROBES)
_ASK_FOR_NAMES: Final = frozenset({"VRFY", "EXPN"})

SCANNER: Final = "scanner"
"""Looks for holes, or speaks something else than SMTP."""
HARVESTER: Final = "harvester"
"""Looks for names that there are."""
GUESSER: Final = "guesser"
"""Looks for passwords."""
RELAYER: Final = "relayer"
"""Looks for somebody who passes its mail on to others."""
STALLER: Final = "staller"
"""Holds sessions and says as little as it can."""
FLOODER: Final = "flooder"
"""Crossed a limit, and did nothing else that counts."""
WORDS: Final = (SCANNER, HARVESTER, GUESSER, RELAYER, STALLER, FLOODER)
"""Of words that are equally true the first one is said."""


def points(deed: Deed) -> int:
    """Return how much it says; 0 for what says nothing."""
    if is_old_hole(deed):
        return OLD_HOLE
    if deed.kind is Kind.PROBE and deed.verdict == FORWARDED:
        return 0  # the policy allows it
    return _POINTS.get(deed.kind, 0) * max(1, deed.times)


def is_old_hole(deed: Deed) -> bool:
    """True for what only a scanner says."""
    return deed.kind is Kind.PROBE and deed.verb in _OLD_HOLES


def word(deed: Deed) -> str:
    """Return what somebody is called who does this."""
    match deed.kind:
        case Kind.RECIPIENT:
            return HARVESTER
        case Kind.AUTH:
            return GUESSER
        case Kind.SLOW:
            return STALLER
        case Kind.PROBE if deed.verb in _ASK_FOR_NAMES:
            return HARVESTER
        case Kind.PROBE if deed.verb == "RCPT":
            return RELAYER
    return SCANNER


def weight(deed: Deed) -> int:
    """Return how much it counts for that word: a scanner's list has few old holes and more names.

    Nothing where only the number is told: the samples that are told with it say what they were (telling.py).
    """
    if deed.kind is Kind.PROBE and not deed.verb:
        return 0
    return OLD_HOLE if is_old_hole(deed) else max(1, deed.times)


def verdict(tally: Mapping[str, int]) -> str:
    """Return the word that counts most."""
    return max(WORDS[:-1], key=lambda one: tally.get(one, 0)) if any(tally.values()) else FLOODER


def name_tried(deed: Deed) -> str:
    """Return the name that it asks for, or nothing."""
    if deed.kind is Kind.RECIPIENT:
        return deed.shown
    if deed.kind is Kind.PROBE and deed.verb in _ASK_FOR_NAMES:
        return deed.shown.partition(" ")[2].strip()
    return ""
