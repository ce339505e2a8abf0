"""What systemd is told (sd_notify(3)).

Contract: does nothing where the process was not started by systemd; never raises.
"""

from __future__ import annotations

import contextlib
import os
import socket


def notify(state: str) -> None:
    """Send `READY=1`, `STOPPING=1` or `STATUS=...` to the service manager."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        manager.setblocking(False)
        with contextlib.suppress(OSError):  # the service goes on without a manager
            manager.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
