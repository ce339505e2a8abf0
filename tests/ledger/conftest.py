"""The mail server that the guards of this folder stand before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rig.sendmail import RealSendmail


@pytest.fixture(scope="session")
def sendmail() -> Iterator[RealSendmail]:
    """A sendmail that knows george, alice and bob of x.test."""
    with RealSendmail() as server:
        yield server
