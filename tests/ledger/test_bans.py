"""Bans by key: one stands for each, the one that ends last; bounded, and lifted by whoever they hold."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from smtpguard.ledger import bans as module
from smtpguard.ledger import together
from smtpguard.ledger.bans import Bans
from smtpguard.ledger.lifting import LIFTED, concerned
from smtpguard.ledger.measures import Hardness, Measure
from smtpguard.ledger.sources import around, holds, prefix_of, written
from tests.ledger.support import NOW, ban


def test_of_two_for_one_key_the_later_end_stands() -> None:
    """The other one is no news."""
    table = Bans()
    assert table.add(ban(seconds=60), NOW) == []
    assert table.add(ban(seconds=30), NOW) is None
    assert table.add(ban(seconds=90), NOW) == []
    assert [one.until for one in table] == [NOW + 90]


@pytest.mark.parametrize("hardness", [Hardness.DELAY, Hardness.CLOSE])
def test_nothing_else_than_a_ban_is_one(hardness: Hardness) -> None:
    """Nor one that is over."""
    table = Bans()
    assert table.add(evolve(ban(), hardness=hardness), NOW) is None
    assert table.add(ban(seconds=60), NOW + 60) is None
    assert len(table) == 0


def test_bans_end() -> None:
    """At their moment, and are told."""
    table = Bans()
    table.add(ban("192.0.2.1", 60), NOW)
    table.add(ban("192.0.2.2", 61), NOW)
    assert table.expire(NOW + 60) == ["192.0.2.1"]
    assert table.expire(NOW + 60) == []


def test_an_address_is_let_off_with_the_prefixes_that_have_it() -> None:
    """In any form in which an address may be written; and of a prefix all that is in it."""
    table = Bans()
    keys = ["2001:db8:1:2::9", "2001:db8:1:2::/64", "2001:db8:1:3::/64", "192.0.2.7", "192.0.2.0/24"]
    for key in keys:
        table.add(ban(key), NOW)
    assert table.lift("2001:DB8:1:2:0::0009") == keys[:2]
    table.add(ban("192.0.3.7"), NOW)
    assert table.lift("192.0.2.8") == ["192.0.2.0/24"]
    table.add(ban("192.0.2.0/28"), NOW)
    assert table.lift("192.0.2.0/24") == ["192.0.2.7", "192.0.2.0/28"]
    assert table.lift("192.0.2.0/24") == []
    for nonsense in ("", "localhost", "192.0.2.7/x", "192.0.2.7\n", "[192.0.2.7]"):
        assert table.lift(nonsense) == []
    assert table.lift("192.0.3.7") == ["192.0.3.7"]


def test_the_table_is_bounded() -> None:
    """Who would be let off first anyway makes room; who would be sooner still does not come in."""
    table = Bans()
    for number in range(module.BANS):
        table.add(ban(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 100 + number), NOW)
    assert table.add(ban("192.0.2.7", 99), NOW) is None
    assert table.add(ban("192.0.2.7", 101), NOW) == ["10.0.0.0"]
    assert len(table) == module.BANS
    assert table.crowded_out == 1


def test_what_is_told_of_them() -> None:
    """The newest first."""
    table = Bans()
    table.add(ban("192.0.2.1"), NOW)
    table.add(ban("192.0.2.2", since=NOW + 1), NOW)
    assert table.rows() == [
        {"key": "192.0.2.2", "until": NOW + 3601, "since": NOW + 1, "limit": "scanners", "count": 60},
        {"key": "192.0.2.1", "until": NOW + 3600, "since": NOW, "limit": "scanners", "count": 60},
    ]


keys = st.sampled_from([f"192.0.2.{number}" for number in range(8)])


@given(st.lists(st.tuples(keys, st.integers(0, 100), st.integers(0, 200), st.booleans())))
def test_the_table_is_what_a_plain_one_would_be(steps: list[tuple[str, int, int, bool]]) -> None:
    """Of each key the latest end of those that were added behind the last time it was let off."""
    table = Bans()
    model: dict[str, Measure] = {}
    now = 0.0
    for key, later, seconds, lift in steps:
        now += later
        model = {one: its for one, its in model.items() if its.until > now}
        table.expire(now)
        if lift:
            assert table.lift(key) == ([key] if model.pop(key, None) else [])
            continue
        made = ban(key, seconds, since=now)
        if seconds and (key not in model or model[key].until < made.until):
            model[key] = made
        table.add(made, now)
        assert {one.key: one for one in table} == model


@pytest.mark.parametrize(
    ("address", "prefix", "network"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("unix", "unix", "unix"),
    ],
)
def test_whom_a_deed_is_laid_to(address: str, prefix: str, network: str) -> None:
    """And the network around."""
    assert (prefix_of(address), around(address)) == (prefix, network)


def test_a_policy_has_prefixes_of_its_own() -> None:
    """The network around is never narrower."""
    assert prefix_of("192.0.2.7", 16, 56) == "192.0.0.0/16"
    assert around("192.0.2.7", 16, 56) == "192.0.0.0/16"
    assert prefix_of("2001:db8:1:2ff::1", 16, 56) == "2001:db8:1:200::/56"


def test_keys_are_written_in_one_form() -> None:
    """Whatever the person writes."""
    assert written("2001:0DB8::1") == "2001:db8::1"
    assert written("2001:db8::1/64") == "2001:db8::/64"
    assert written("192.0.2.7/32") == "192.0.2.7"
    assert holds("2001:db8::/64", "2001:db8::9")
    assert not holds("2001:db8::/64", "192.0.2.7")
    for nonsense in ("", "/", "a/b", "192.0.2.300"):
        with pytest.raises(ValueError):
            written(nonsense)


def test_no_more_are_let_off_at_once_than_can_be_told_to_others() -> None:
    """The rest of a large network the next time."""
    keys = [f"10.0.{number >> 8}.{number & 255}" for number in range(LIFTED + 5)]
    assert concerned("10.0.0.0/8", keys) == keys[:LIFTED]
    assert LIFTED < together.BANS
