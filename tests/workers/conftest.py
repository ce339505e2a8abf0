"""The mail server that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rig.sendmail import RealSendmail


@pytest.fixture(scope="session")
def server() -> Iterator[RealSendmail]:
    """A sendmail with its default privacy."""
    with RealSendmail() as running:
        yield running
