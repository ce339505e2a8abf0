"""As whom a backend is asked whether it relays, and when two configurations ask it the same.

Contract: pure.  Where the backend is shown its clients it is asked as an outsider, once for each family that they may
have; else as the guard itself, from the address that outsiders come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from attrs import frozen

from ..config.settings import Settings
from ..identity.origin import Origin
from ..policy.networks import UNKNOWN_PEER, Peer
from ..policy.rules import Policy
from .backend import Client

DOCUMENTATION: Final = {
    4: ("198.51.100.1", "203.0.113.1", "192.0.2.1"),  # RFC 5737; Debian's access map of sendmail rejects 192.0.2
    6: ("2001:db8::1", "3fff::1"),  # RFC 3849, RFC 9637
}
"""Addresses that nobody has, to be shown to a backend as an outsider's."""
_PORT: Final = 25025  # an outsider's; any will do


@frozen
class Question:
    """One way in which outsiders are seen."""

    client: Client
    shown: str
    """The address that the backend is shown; empty for that of the guard's end of the connection."""


def questions(settings: Settings, policy: Policy) -> Iterator[Question]:
    """Yield one for each way in which outsiders are seen; there is one at least."""
    if settings.backend.identity == "none":
        yield Question(Client(UNKNOWN_PEER, lambda: None), "")
        return
    families = settings.backend.families if settings.backend.identity == "transparent" else {4}
    sources = list(map(Peer.parse, settings.relay_check_source)) or [
        _outsider(family, policy) for family in sorted(families)
    ]
    for peer in sources:
        yield Question(Client(peer, partial(Origin, peer, _PORT, None, 0)), peer.text)


def _outsider(family: int, policy: Policy) -> Peer:
    """Return an address that nobody has and that is in no network of the policy, if there is one."""
    peers = list(map(Peer.parse, DOCUMENTATION[family]))
    return next((peer for peer in peers if not policy.networks.classify(peer)), peers[-1])


def what_is_asked(settings: Settings, policy: Policy) -> tuple[object, ...]:
    """Return what tells one check from another: whom it asks, as whom, and what the answer means; to be compared."""
    outsiders = [tuple(policy.networks.names_of(Peer.parse(text))) for text in sum(DOCUMENTATION.values(), ())]
    return (
        settings.backend,
        settings.relay_check,
        settings.relay_check_recipient,
        settings.relay_check_source,
        policy.refuses_relaying,
        settings.passes_starttls,
        outsiders,
    )
