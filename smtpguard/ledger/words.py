"""What deeds are called, and numbers with the right form of what they count.

Contract: pure; the log, the commands and the page have their words from here, so that one thing has one name.
"""

from __future__ import annotations

from typing import Final

_DEEDS: Final = {
    "connections": ("connection", "connections"),
    "commands": ("command", "commands"),
    "probes": ("probe", "probes"),
    "malformed": ("malformed line", "malformed lines"),
    "recipients": ("refused recipient", "refused recipients"),
    "auth": ("refused AUTH", "refused AUTHs"),
    "slow": ("slow session", "slow sessions"),
    "parallel": ("connection at once", "connections at once"),
}
"""By smtpguard.ledger.deeds.Kind, and what else limits count."""


def many(number: int | str, one: str, more: str = "") -> str:
    """Return `1 session`, `2 sessions`."""
    return f"{number} {one if number in (1, '1') else more or one + 's'}"


def deeds(number: int | str, kind: str) -> str:
    """Return `1 refused recipient`; a kind that is not known is its own word."""
    return many(number, *_DEEDS.get(kind, (kind, kind)))
