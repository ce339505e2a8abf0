"""A host with addresses of all kinds, and a sendmail on it that refuses nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rig.hosts import Host, hosts
from tests.rig.sendmail import RealSendmail

from .support import ADDRESSES

EVERYWHERE = (("0.0.0.0", 0), ("::", 0))


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    """The host; on `lo`, so that who connects to one of its addresses comes from the same."""
    with hosts("files") as (one,):
        for address in ADDRESSES:
            if address not in ("127.0.0.1", "::1"):
                one.ip("address", "add", f"{address}/{128 if ':' in address else 32}", "dev", "lo", "nodad")
        yield one


@pytest.fixture(scope="session")
def plain(host: Host) -> Iterator[RealSendmail]:
    """A sendmail as it is without any of its own refusals."""
    with host.inside(), RealSendmail(listen=EVERYWHERE, auth=True) as server:
        yield server
