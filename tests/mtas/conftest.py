"""Servers that all tests of this folder share, since no test leaves anything behind in them but mail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rig.unpacked import UnpackedServer

from .support import SERVERS, Chain, chain


@pytest.fixture(scope="session", params=SERVERS, ids=[kind.name for kind in SERVERS])
def server(request: pytest.FixtureRequest) -> Iterator[UnpackedServer]:
    """Each server in turn."""
    with request.param() as running:
        yield running


@pytest.fixture(scope="module")
def behind(server: UnpackedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """The server behind a guard with the perimeter rules."""
    with chain(server, tmp_path_factory.mktemp("perimeter")) as running:
        yield running


@pytest.fixture(scope="module")
def obliged(server: UnpackedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """The same, but that all is allowed that there is to allow."""
    with chain(server, tmp_path_factory.mktemp("obliging"), obliging=True) as running:
        yield running
