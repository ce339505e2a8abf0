"""A guard that speaks TLS to the mail server behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from smtpguard.service import own_host_name
from tests.rig.guard import Guard, client_endpoint
from tests.sendmail.support import ConfiguredGuard

from .support import BACKEND, POLICY, Certified, listener, listening

GREETING: Final = f"EHLO {own_host_name()}".encode()
"""What the guard says itself."""


@contextmanager
def guarding(
    folder: Path, certified: Certified, address: tuple[str, int], relay_check: str = "off", **backend: object
) -> Iterator[Guard]:
    """A guard that takes clients in clear and in TLS; `backend` is what its settings say of the server."""
    settings = listening(
        listener("mx", starttls=certified.starttls),
        backend={"endpoint": client_endpoint(*address), **backend},
        relay_check=relay_check,
    )
    with ConfiguredGuard(folder, address, POLICY, **settings) as guard:
        yield guard


def required(certified: Certified) -> dict[str, Any]:
    return {"starttls": "required", "server_name": BACKEND, "ca": str(certified.ca)}
