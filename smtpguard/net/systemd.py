"""What systemd is told (sd_notify(3)), and what it passes (sd_listen_fds(3)).

Contract: does nothing where the process was not started by systemd; never raises.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Final

from attrs import frozen

_FIRST: Final = 3
"""SD_LISTEN_FDS_START."""
MOST_PASSED: Final = 1024
"""Sockets; far more than units have, and no number that somebody else put into the environment costs more."""


@frozen
class Passed:
    """A socket that systemd holds."""

    name: str
    """FileDescriptorName of its unit (systemd.socket(5))."""
    descriptor: int


def passed_sockets() -> list[Passed]:
    """Return the sockets that were passed to this process, in order.

    To be asked before twisted.internet.endpoints is imported, which takes them out of the environment.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = os.environ.get("LISTEN_FDS", "")
    if not count.isascii() or not count.isdigit() or len(count) > 6 or int(count) > MOST_PASSED:
        return []
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    names += [""] * (int(count) - len(names))
    return [Passed(name, _FIRST + place) for place, name in enumerate(names[: int(count)])]


def notify(state: str) -> None:
    """Send `READY=1`, `STOPPING=1` or `STATUS=...` to the service manager."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        manager.setblocking(False)
        with contextlib.suppress(OSError):  # the service goes on without a manager
            manager.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
