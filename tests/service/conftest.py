"""The mail server that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .sink import Sink


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Accept everything."""
    with Sink() as running:
        yield running
