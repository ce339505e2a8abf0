"""One look at a piece of a message, by C where it is compiled and by Python where not: both see the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smtpguard.smtp.survey import BARE_CR, BARE_LF, DOT, EIGHT_BIT, FLAGS, NUL, survey, survey_plainly

BOTH = pytest.mark.parametrize("look", [survey, survey_plainly], ids=["fastest", "plain"])
# Around the sizes at which vectors and counters end.
PIECES = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"x", b"\0", b"\xff", b"x" * 15, b"x" * 239, b"x" * 240])
)


def told(octets: bytes) -> int:
    """Say the same octet by octet."""
    flags = newlines = 0
    for place, octet in enumerate(octets):
        before, behind = octets[place - 1 : place] if place else b"", octets[place + 1 : place + 2]
        newlines += octet == 0x0A
        flags |= BARE_LF * (octet == 0x0A and before != b"\r")
        flags |= BARE_CR * (octet == 0x0D and behind not in (b"\n", b""))
        flags |= NUL * (octet == 0)
        flags |= EIGHT_BIT * (octet > 0x7F)
        flags |= DOT * (octet == 0x2E and before == b"\n")
    return newlines << FLAGS | flags


@BOTH
@given(PIECES.map(b"".join))
@example(b"")
@example(b"\r")
@example(b"\n")
@example(b"x" * 239 + b"\r\n.\r\n")
@example(b"x" * 240 + b"\r\n.\r\n")
@example(b"\r\n" * 300)
@example(b"\n" * 600)
def test_every_octet_is_seen(look: Callable[[bytes], int], octets: bytes) -> None:
    """Wherever it stands, and whatever stands around it."""
    assert look(octets) == told(octets)
