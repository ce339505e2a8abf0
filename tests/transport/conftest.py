"""Each test runs on both reactors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .running import KINDS, Running


@pytest.fixture(scope="package", params=KINDS)
def _started(request: pytest.FixtureRequest) -> Iterator[Running]:
    with Running(request.param) as running:
        yield running


@pytest.fixture
def running(_started: Running) -> Iterator[Running]:
    """A reactor that runs, Twisted's own in one test and libuv's in the next."""
    yield _started
    _started.clear()
