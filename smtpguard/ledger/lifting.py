"""Letting off: whom it concerns, and what the log says.

Contract: pure.  An address is let off with the prefixes that have it, a prefix with everything in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_network
from typing import Final

LIFTED: Final = 900
"""Keys that are let off at once; as many fit into what is told to other guards (smtpguard.ledger.together.BANS)."""
LIFTED_SAID: Final = 20
"""That a line of the log names."""


def concerned(wanted: str, keys: Iterable[str]) -> list[str]:
    """Return the keys that are let off with one, each once, at most LIFTED; `wanted` is written as keys are."""
    found: dict[str, None] = {}
    network = ip_network(wanted)
    within = "/" in wanted
    for key in keys:
        if key != wanted:
            if not within and "/" not in key:
                continue
            try:
                other = ip_network(key)
            except ValueError:
                continue
            if other.version != network.version:
                continue
            outer, inner = (network, other) if within else (other, network)
            if outer.prefixlen > inner.prefixlen or inner.network_address not in outer:
                continue
        found[key] = None
        if len(found) == LIFTED:
            break
    return list(found)


def lines(wanted: str, bans: Sequence[str], others: Sequence[str]) -> Iterator[str]:
    """Yield what the log says; `others` were slowed or sent away."""
    if bans:
        yield f"ban lifted: {_named(bans)}"
    if others:
        yield f"let off, no longer slowed or sent away: {_named(others)}"
    if not bans and not others:
        was = "nobody in it was" if "/" in wanted else "it was not"
        yield f"to be let off: {wanted}: {was} slowed, sent away or banned"


def _named(keys: Sequence[str]) -> str:
    more = len(keys) - LIFTED_SAID
    return ", ".join(keys[:LIFTED_SAID]) + (f" and {more} more" if more > 0 else "")
