"""Servers drawn by seed, each with laxities of its own.

Contract: `drawn` is a function of its seed.  A server for the default profile splits no line that the
profile lets through; one for the legacy profile may have its short buffers and drop every eighth bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random  # noqa: TID251 - seeded
from typing import Any, Final

from tests.models.lax import EighthBit, End, Lax, Laxity, LineEnd, Nul, Tail

_SKIPPED: Final = (b"", b"", b" \t", b" \t\n\r\x0b\x0c", b" \t\n\r\x0b\x0c\0")
_SEPARATORS: Final = (b" ", b" \t", b" \t\n\r\x0b\x0c", b" \t\n\r\x0b\x0c\0", b" :")
_LINE_BOUNDS: Final = ((None, False), (2000, False), (2047, False), (1000, True), (1023, True), (16384, False))
"""With whether SASL lines may be longer, as they are by the default profile."""


class Drawn(Lax):
    """A server of the default profile."""

    name = "lax-drawn"


class DrawnLegacy(Lax):
    """A server of the legacy profile."""

    name = "lax-drawn-legacy"
    profile = "sendmail-legacy"


def drawn(seed: int) -> Lax:
    """Return a server for the default profile."""
    rng = Random(seed ^ 0x1A)
    bound, sasl_too = rng.choice(_LINE_BOUNDS)
    eighth_bit = rng.choice((EighthBit.KEPT, EighthBit.DROPPED_ONCE_DECLARED))
    return Drawn(_laxity(rng, bound, eighth_bit, body_bound=None, sasl_hides_length=sasl_too or rng.random() < 0.3))


def drawn_legacy(seed: int) -> Lax:
    """Return a server for the legacy profile."""
    rng = Random(seed ^ 0x1B)
    bound, body_bound = rng.choice((255, 1023, 2047)), rng.choice((2047, 2499, 4095))
    sasl_too = rng.random() < 0.3
    return DrawnLegacy(_laxity(rng, bound, rng.choice([*EighthBit]), body_bound, sasl_hides_length=sasl_too))


def _laxity(
    rng: Random, line_bound: int | None, eighth_bit: EighthBit, body_bound: int | None, *, sasl_hides_length: bool
) -> Laxity:
    return Laxity(
        line_end=rng.choice([*LineEnd]),
        skipped=rng.choice(_SKIPPED),
        separators=rng.choice(_SEPARATORS),
        nul=rng.choice([*Nul]),
        eighth_bit=eighth_bit,
        line_bound=line_bound,
        tail=rng.choice([*Tail]),
        nul_hides_length=rng.random() < 0.3,
        sasl_hides_length=sasl_hides_length,
        body_bound=body_bound,
        ends=_some_ends(rng, 0.5),
        aborts=_some_ends(rng, 0.1),
        executes_partial=rng.random() < 0.5,
        takes_partial=rng.random() < 0.5,
        knows_bdat=True,  # it offers CHUNKING
        echoes=rng.random() < 0.3,
    )


def _some_ends(rng: Random, share: float) -> Iterable[Any]:
    return [end for end in End if rng.random() < share]
