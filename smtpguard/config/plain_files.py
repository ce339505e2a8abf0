"""Files of other programs, read whole.

Contract: `octets_of` blocks no longer than the disk does: a FIFO or a device, which may never end, is no file.  Raises
OSError.
"""

from __future__ import annotations

import os
import stat
from errno import EAGAIN, EINVAL
from pathlib import Path


def octets_of(name: str | Path, most: int) -> bytes:
    """Return what the file has, or one octet more than `most`."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(EINVAL, "Not a regular file", os.fspath(name))
        octets: bytes | None = file.read(most + 1)
    if octets is None:  # one of the kernel's that is no device and has nothing to say now, as /proc/kmsg
        raise OSError(EAGAIN, os.strerror(EAGAIN), os.fspath(name))
    return octets
