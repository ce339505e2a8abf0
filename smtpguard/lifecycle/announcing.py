"""What the log and systemd are told of the service as a whole: that it serves, what, and that it stops."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv6Address, UNIXAddress

from .. import __version__
from ..journal.journal import Journal
from ..ledger.words import many
from .configuration import Configuration
from .reloading import LastReload


def announce(journal: Journal, configuration: Configuration, places: Sequence[str], more: str = "") -> None:
    """Tell the log that the service listens at these places."""
    for place in places:
        journal.service(f"listening on {place}")
    backend, policy = ", ".join(configuration.settings.backend.endpoints), configuration.policy
    journal.service(f"smtpguard {__version__} serves {backend} under {policy.path} (version {policy.version}){more}")


def status(configuration: Configuration, sessions: int, shut: str | None, last: LastReload | None) -> str:
    """Return the status line; `shut` says why clients are turned away, if they are."""
    parts = [
        f"serving {', '.join(configuration.settings.backend.endpoints)} under policy {configuration.policy.version}",
        many(sessions, "session"),
        *([f"clients get 421: {shut}"] if shut else []),
        *([last.refusal] if last is not None and last.refusal else []),
    ]
    return "; ".join(parts)


def announce_stop(journal: Journal, sessions: int) -> None:
    """Tell the log that the service takes no more clients."""
    journal.service(f"stopping; {many(sessions, 'session')}")


def announce_end(journal: Journal) -> None:
    """Tell the log that the last session has ended, and the service with it."""
    journal.service("stopped")


def cannot_listen(endpoint: str, error: Exception) -> tuple[str, int]:
    """Return what to say, and the exit status."""
    reason = getattr(error, "socketError", error)
    denied = getattr(reason, "errno", None) in (1, 13)
    tcp = endpoint.startswith("tcp")
    hint = "; ports below 1024 need CAP_NET_BIND_SERVICE or a socket from systemd" if denied and tcp else ""
    return f"cannot listen at {endpoint}: {reason}{hint}", os.EX_NOPERM if denied else os.EX_UNAVAILABLE


def shown(address: Any) -> str:
    """Return an address as HOST:PORT."""
    if isinstance(address, UNIXAddress):
        return f"unix:{os.fsdecode(address.name or b'')}"
    host = f"[{address.host}]" if isinstance(address, IPv6Address) else address.host
    return f"{host}:{address.port}"
