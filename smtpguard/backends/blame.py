"""Whose fault it is that no connection could be made.

Contract: pure; what is this host's fault, or that of the one client, says nothing of the backend.
"""

from __future__ import annotations

import errno
from typing import Final

from twisted.internet.error import ConnectBindError
from twisted.python.failure import Failure

from .backend import Unshowable
from .transparent import NoPortLeft

_OURS: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM}
)
"""No descriptor, no memory, no port, or the host's own firewall."""


def is_ours(failure: Failure) -> bool:
    """True if another attempt, or another client's, may well succeed while the backend is as it is."""
    if failure.check(Unshowable, ConnectBindError, NoPortLeft):
        return True
    error = failure.value
    number = getattr(error, "osError", None)
    return (number if isinstance(number, int) else getattr(error, "errno", None)) in _OURS
