"""What is said of a connection that could not be made, and whose fault that is.

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


CANNOT_CONNECT: Final = "cannot connect: "
"""How it begins wherever it is told; by that metrics and the relay watch know a backend that was not reached."""


def not_connected(failure: Failure) -> str:
    """Return what is told of it."""
    return CANNOT_CONNECT + failure.getErrorMessage()


def is_about_one_client(failure: Failure) -> bool:
    """True if others may well be connected for as it is."""
    return failure.check(Unshowable, ConnectBindError, NoPortLeft) is not None


def is_ours(failure: Failure) -> bool:
    """True if another attempt, or another client's, may well succeed while the backend is as it is."""
    if is_about_one_client(failure):
        return True
    error = failure.value
    number = getattr(error, "osError", None)
    return (number if isinstance(number, int) else getattr(error, "errno", None)) in _OURS
