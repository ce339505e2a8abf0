"""What a session counts for its summary in the log.

Contract: the keys are verbs of the table, or UNKNOWN for all others, so that no client can fill
memory, or a log, with names of its own.
"""

from __future__ import annotations

from typing import Final

from .verbs import KNOWN_VERBS

UNKNOWN: Final = b"UNKNOWN"
"""Stands for every verb outside the table, and for lines that have none."""


def named(verb: bytes) -> str:
    """Return a verb as the log, metrics and incidents may name it: one of the table, or UNKNOWN."""
    return (verb if verb in KNOWN_VERBS else UNKNOWN).decode("ascii")


class Tally:
    """The commands of one session."""

    __slots__ = ("by_verb",)

    def __init__(self) -> None:
        self.by_verb: dict[bytes, list[int]] = {}
        """Verb to [forwarded and answered with 2yz, all]; DATA counts when its message is accepted."""

    def seen(self, verb: bytes) -> None:
        self._of(verb)[1] += 1

    def passed(self, verb: bytes) -> None:
        self._of(verb)[0] += 1

    def _of(self, verb: bytes) -> list[int]:
        pair = self.by_verb.get(verb)
        if pair is None:
            pair = self.by_verb.setdefault(verb if verb in KNOWN_VERBS else UNKNOWN, [0, 0])
        return pair
