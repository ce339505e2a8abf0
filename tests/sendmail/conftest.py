"""Servers that many tests of this folder share, since no test leaves anything behind in them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rig.guard import Guard
from tests.rig.sendmail import RealSendmail

from .support import ConfiguredGuard, policy

BOTH_FAMILIES = ("127.0.0.1", "::1")


@pytest.fixture(scope="session")
def stock() -> Iterator[RealSendmail]:
    """A sendmail with its default privacy, at 127.0.0.1 and ::1."""
    with RealSendmail(listen=[(address, 0) for address in BOTH_FAMILIES]) as server:
        yield server


@pytest.fixture(scope="session")
def private() -> Iterator[RealSendmail]:
    """A sendmail that refuses VRFY and EXPN itself."""
    with RealSendmail(privacy_options="novrfy,noexpn", listen=[(address, 0) for address in BOTH_FAMILIES]) as server:
        yield server


@pytest.fixture(scope="module")
def guard(stock: RealSendmail, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    """A guard before `stock`, at both addresses: 127.0.0.1 and ::1 are inside, 127.0.0.2 is outside."""
    backend = stock.address, stock.port
    with ConfiguredGuard(tmp_path_factory.mktemp("guard"), backend, policy(), listen=BOTH_FAMILIES) as running:
        yield running


@pytest.fixture(scope="module")
def strict_guard(stock: RealSendmail, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    """The same, but nobody is inside who comes from this machine."""
    folder = tmp_path_factory.mktemp("strict")
    text = policy(internal=("192.0.2.0/24",))
    with ConfiguredGuard(folder, (stock.address, stock.port), text, listen=BOTH_FAMILIES) as running:
        yield running
