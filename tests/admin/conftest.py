"""An admin endpoint on each of the two reactors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.admin.serving import Served, served

UNIX, TCP = 0, 1
"""Which place is what."""


@pytest.fixture(scope="module", params=["uvloop", "stock"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An endpoint with a unix socket and a port."""
    path: Path = tmp_path_factory.mktemp("admin") / "admin.sock"
    with served(request.param, f"unix:{path}", "tcp:0:interface=127.0.0.1") as running:
        yield running
