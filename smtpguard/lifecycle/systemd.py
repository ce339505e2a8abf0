"""What systemd is told (sd_notify(3)), and what it passes (sd_listen_fds(3), sd_watchdog_enabled(3)).

Contract: does nothing where the process was not started by systemd; never raises.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Final

from attrs import frozen

_FIRST: Final = 3
"""SD_LISTEN_FDS_START."""
MOST_PASSED: Final = 1024
"""Sockets; far more than units have, and no number that somebody else put into the environment costs more."""

_LONGEST_NUMBER: Final = 18
"""Digits of what comes from the environment; more would be no number of microseconds."""
LONGEST_STATUS: Final = 300
"""Letters: `systemctl status` shows one line."""


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
    """Send `READY=1`, `STOPPING=1`, `STATUS=...` and the like to the service manager, one a line."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        manager.setblocking(False)
        with contextlib.suppress(OSError):  # the service goes on without a manager
            manager.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)


def is_told() -> bool:
    """True if there is a service manager that wants to be told."""
    return os.environ.get("NOTIFY_SOCKET", "")[:1] in ("/", "@")


def reloading() -> None:
    """Say that a reload begins; `READY=1` ends it."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_seconds() -> float | None:
    """Return within what time the service manager wants to hear from this process each time; None if it does not."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isascii() or not microseconds.isdigit() or len(microseconds) > _LONGEST_NUMBER:
        return None
    return int(microseconds) / 1e6 or None


class StatusLine:
    """The one line that `systemctl status` shows, sent when it has changed."""

    def __init__(self) -> None:
        self._sent = ""

    def show(self, text: str, with_it: str = "") -> None:
        """Send it, with what is to be told in any case, such as `READY=1`."""
        text = text if len(text) <= LONGEST_STATUS else f"{text[: LONGEST_STATUS - 3]}..."
        changed = [f"STATUS={text}"] if text != self._sent else []
        self._sent = text
        if state := [*filter(None, [with_it]), *changed]:
            notify("\n".join(state))
