"""What the log and systemd are told of the service as a whole: that it serves, what, and that it stops.

Contract: texts, and lines to the journal; the same of a service that is one process and of one that is several.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any, Final

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
    if policy.shadow:
        journal.service(f"in shadow, so that it is only logged: {', '.join(policy.shadow)}")


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


_LOW_PORTS: Final = "; ports below 1024 need CAP_NET_BIND_SERVICE or a socket from systemd"
_HINTS: Final = {
    errno.EPERM: _LOW_PORTS,
    errno.EACCES: _LOW_PORTS,
    errno.EADDRINUSE: "; `ss -ltnp` shows who listens there, often the mail server itself, which has to move first",
    errno.EADDRNOTAVAIL: "; this host has no such address: `ip address` shows those that it has",
}
"""What to do where a TCP port cannot be had."""


def cannot_listen(endpoint: str, error: Exception) -> tuple[str, int]:
    """Return what to say, and the exit status."""
    reason = getattr(error, "socketError", error)
    number = getattr(reason, "errno", None)
    denied = number in (errno.EPERM, errno.EACCES)
    hint = _HINTS.get(number or 0, "") if endpoint.startswith("tcp") else ""
    return f"cannot listen at {endpoint}: {reason}{hint}", os.EX_NOPERM if denied else os.EX_UNAVAILABLE


def shown(address: Any) -> str:
    """Return an address as HOST:PORT."""
    if isinstance(address, UNIXAddress):
        return f"unix:{os.fsdecode(address.name or b'')}"
    host = f"[{address.host}]" if isinstance(address, IPv6Address) else address.host
    return f"{host}:{address.port}"
