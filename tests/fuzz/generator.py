"""Client streams by seed: sessions that mean mail, and what an attacker would make of them.

Contract: `stream(seed)` is a function of its seed alone, and so is every octet of what it returns.
About a quarter of the streams are valid: a client that conforms to RFC 5321 and waits where it must
may have sent them, and `messages` is what it meant to send.  All others hold an attack or went
through mutations.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random  # noqa: TID251 - seeded
from typing import Final

from attrs import frozen

from . import attacks, mutations, sessions
from .sessions import Step

VALID_SHARE: Final = 0.25
ATTACK_SHARE: Final = 0.4
"""Of the others: sessions with one attack, where the rest are mutated at random."""
_MOST_MUTATIONS: Final = 5


@frozen
class ClientStream:
    """All that one client sends."""

    seed: int
    octets: bytes
    valid: bool = False
    """The client conforms, provided that it waits at `waits`."""
    messages: tuple[bytes, ...] = ()
    """Contents as on the wire, with the last line end and without the dot; set if valid."""
    waits: tuple[int, ...] = ()
    """Positions at which a polite client waits for all replies before it goes on."""

    @property
    def turns(self) -> list[bytes]:
        """The octets between one wait and the next."""
        bounds = [0, *self.waits, len(self.octets)]
        return [self.octets[a:b] for a, b in pairwise(bounds) if a < b]


def stream(seed: int) -> ClientStream:
    """Return the stream of this seed."""
    rng = Random(seed)
    if rng.random() < VALID_SHARE:
        steps, messages = sessions.conforming(rng)
        return assemble(seed, steps, valid=True, messages=tuple(messages))
    if rng.random() < ATTACK_SHARE:
        steps = attacks.attack(rng)
        if rng.random() < 0.2:
            mutations.mutate(rng, steps)
        return assemble(seed, steps)
    steps = sessions.loose(rng)
    if rng.random() < 0.08:
        other = sessions.loose(rng)
        steps = steps[: rng.randrange(len(steps)) + 1] + other[rng.randrange(len(other)) :]
    count = 1
    while count < _MOST_MUTATIONS and rng.random() < 0.4:
        count += 1
    for _ in range(count):
        mutations.mutate(rng, steps)
    return assemble(seed, steps)


def assemble(seed: int, steps: list[Step], *, valid: bool = False, messages: tuple[bytes, ...] = ()) -> ClientStream:
    """Return the stream that these steps make."""
    waits = []
    at = 0
    for step in steps:
        at += len(step.octets)
        if step.waits:
            waits.append(at)
    return ClientStream(seed, b"".join([step.octets for step in steps]), valid, messages, tuple(waits))
