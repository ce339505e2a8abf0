"""Exit statuses for files that cannot be read (sysexits(3))."""

from __future__ import annotations

import os


def status_of(error: OSError) -> int:
    """Return the status that says why."""
    if isinstance(error, FileNotFoundError | IsADirectoryError):
        return os.EX_NOINPUT
    return os.EX_NOPERM if isinstance(error, PermissionError) else os.EX_IOERR
