"""The hosts, which all tests of this folder share, and a sendmail behind a transparent guard on them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .placed import OTHER_HOST, SAME_HOST, Placed, placing
from .support import Net, network


@pytest.fixture(scope="session")
def net() -> Iterator[Net]:
    """Hosts and wires; what a test starts on them ends with it."""
    with network() as made:
        yield made


@pytest.fixture(scope="module", params=[SAME_HOST, OTHER_HOST])
def placed(request: pytest.FixtureRequest, net: Net, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Placed]:
    """A guard before a sendmail in either place."""
    with placing(net, request.param, tmp_path_factory.mktemp("transparent")) as made:
        yield made
