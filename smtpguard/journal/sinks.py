"""Where lines are written: stderr, syslog.

Contract: `write` never raises and never lets a line become two.
"""

from __future__ import annotations

import os
import sys
import syslog
from typing import Final, TextIO

_CONTROLS: Final = {octet: f"\\{octet:03o}" for octet in (*range(0x20), 0x7F)}


def one_line(text: str) -> str:
    """Return `text` with control characters escaped, and what has no UTF-8 form (a file name may have none)."""
    if text.isascii() and text.isprintable():
        return text
    return text.translate(_CONTROLS).encode("utf-8", "backslashreplace").decode("utf-8")


class StderrSink:
    """One line an event.  Under systemd each carries its priority, as sd-daemon(3) describes."""

    def __init__(self, stream: TextIO | None = None, with_priority: bool | None = None) -> None:
        self._stream = stream or sys.stderr
        self._with_priority = "JOURNAL_STREAM" in os.environ if with_priority is None else with_priority

    def write(self, priority: int, text: str) -> None:
        prefix = f"<{priority}>" if self._with_priority else ""
        try:
            self._stream.write(f"{prefix}{one_line(text)}\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass  # nobody is left to be told


SYSLOG_SOCKET: Final = "/dev/log"
"""Where syslog(3) writes; it says nothing if nobody reads there."""


def syslog_is_there() -> bool:
    """Return False if lines for syslog are lost for now."""
    return os.path.exists(SYSLOG_SOCKET)


class SyslogSink:
    """syslog(3), facility mail."""

    def __init__(self, ident: str) -> None:
        syslog.openlog(ident, syslog.LOG_PID, syslog.LOG_MAIL)

    def write(self, priority: int, text: str) -> None:
        syslog.syslog(priority, one_line(text))
