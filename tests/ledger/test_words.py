"""Numbers and what they count, in the log."""

from __future__ import annotations

import pytest

from smtpguard.ledger.deeds import Kind
from smtpguard.ledger.measures import Hardness, Measure
from smtpguard.ledger.steps import begun, crowded, ended
from smtpguard.ledger.words import deeds, many
from smtpguard.policy.limits import PARALLEL

AWAY = Measure(Hardness.CLOSE, "192.0.2.7", 3600.0, "scanners", 0.0, count=1)


@pytest.mark.parametrize("kind", [*(kind.value for kind in Kind), PARALLEL])
def test_one_of_each_kind_of_deed_is_one(kind: str) -> None:
    """And no kind is its own word for one."""
    assert deeds(1, kind) != f"1 {kind}"
    assert deeds("1", kind) == deeds(1, kind)
    assert deeds(2, kind) != f"2 {deeds(1, kind)[2:]}"


def test_a_kind_that_is_not_known_is_its_own_word() -> None:
    """A newer service may tell of it."""
    assert deeds(1, "novelties") == "1 novelties"
    assert (many(0, "ban"), many("1", "ban"), many(2, "ban")) == ("0 bans", "1 ban", "2 bans")


def test_a_step_that_one_deed_led_to_says_one() -> None:
    """At its beginning, in between and at its end."""
    assert begun(AWAY, "recipients", None, 0.0).text == (
        "limit scanners: 192.0.2.7: 1 refused recipient, sent away for 1 hour"
    )
    assert ended(AWAY, 1).text == "limit scanners: 192.0.2.7: may come again; 1 connection was turned away"
    assert crowded("crowd", "192.0.2.7", 1, 60.0).text == (
        "limit crowd: 192.0.2.7: 1 more connection was turned away in 1 minute"
    )
