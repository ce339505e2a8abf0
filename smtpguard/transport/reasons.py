"""What a system call's error is to Twisted.

Contract: the exceptions and the words are those of Twisted's own transports, so that logs and `check`s
do not depend on the reactor.  A connection's end has one Failure for all connections, as there.
"""

from __future__ import annotations

import errno
import os
from typing import Any, Final

from twisted.internet.error import (
    ConnectBindError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    getConnectError,
)
from twisted.python.failure import Failure


class PeerGone(ConnectionError):
    """The peer has gone before anybody has asked for its address."""


DONE: Final = Failure(ConnectionDone())
LOST: Final = Failure(ConnectionLost())
ABORTED: Final = Failure(ConnectionAborted())

_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)


def of_end(error: BaseException) -> Failure:
    """Return why a connection broke; `error` is asyncio's word for it."""
    return LOST if isinstance(error, OSError) else Failure(error)


def of_connect(error: OSError) -> Failure:
    """Return why a connection could not be made."""
    if error.errno in _NO_DESCRIPTOR:
        return of_bind(error)  # as Twisted has it: nothing went out
    made: Any = getConnectError(_named(error))
    return Failure(made)


def of_bind(error: OSError) -> Failure:
    """Return why there was no socket, or why it could not have the address that it was to come from."""
    return Failure(ConnectBindError(*_named(error)))


def _named(error: OSError) -> tuple[int, str]:
    number = error.errno or 0
    return number, os.strerror(number) if number else str(error)
