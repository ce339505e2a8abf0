"""Servers and guards that many tests of this folder share, since no test leaves anything behind in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.rig.guard import Guard
from tests.rig.sendmail import RealSendmail
from tests.sendmail.support import ConfiguredGuard

from .support import BACKEND, POLICY, Certified, EncryptingSendmail, listener, listening


@pytest.fixture(scope="session")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """The authority that everybody here trusts."""
    return Certified(tmp_path_factory.mktemp("certified"))


@pytest.fixture(scope="session")
def plain_mx() -> Iterator[RealSendmail]:
    """A sendmail without STARTTLS, but with AUTH."""
    with RealSendmail(auth=True) as server:
        yield server


@pytest.fixture(scope="session")
def encrypting_mx(certified: Certified) -> Iterator[RealSendmail]:
    """A sendmail with STARTTLS of its own."""
    with EncryptingSendmail(certified.authority.issue((BACKEND,)), certified.authority.ca_pem) as server:
        yield server


@pytest.fixture(scope="session", params=["plain", "encrypting"])
def mx(request: pytest.FixtureRequest) -> RealSendmail:
    """The one and the other: what the backend offers itself must make no difference to clients."""
    server: RealSendmail = request.getfixturevalue(f"{request.param}_mx")
    return server


class Ports:
    """A guard with a listener of each kind, and the mail server behind it."""

    def __init__(self, guard: Guard, server: RealSendmail) -> None:
        self.guard, self.server = guard, server
        self.starttls, self.implicit, self.proxied, self.proxied_implicit = guard.ports


def serving(certified: Certified) -> dict[str, Any]:
    """Return the settings of such a guard."""
    from_balancer = {"proxy_protocol": "required", "trusted": "127.0.0.4"}
    return listening(
        listener("mx", starttls=certified.starttls),
        listener("submissions", starttls=certified.starttls, tls="implicit"),
        listener("balanced", starttls=certified.starttls, **from_balancer),
        listener("balanced submissions", starttls=certified.starttls, tls="implicit", **from_balancer),
        log={"level": 14},
    )


@pytest.fixture(scope="session")
def ports(certified: Certified, mx: RealSendmail, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """A guard before each `mx`; 127.0.0.1 is inside."""
    folder = tmp_path_factory.mktemp("ports")
    with ConfiguredGuard(folder, (mx.address, mx.port), POLICY, **serving(certified)) as guard:
        yield Ports(guard, mx)


@pytest.fixture(scope="session")
def plain_ports(
    certified: Certified, plain_mx: RealSendmail, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ports]:
    """The same for tests that one kind of backend is enough for."""
    folder = tmp_path_factory.mktemp("plain-ports")
    with ConfiguredGuard(folder, (plain_mx.address, plain_mx.port), POLICY, **serving(certified)) as guard:
        yield Ports(guard, plain_mx)
