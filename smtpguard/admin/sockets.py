"""The unix socket of the admin endpoint.

Contract: `listen` returns a socket that listens, and that never had other rights, or raises OSError.  What a service
that died has left behind is replaced; where somebody answers, nothing is touched.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from typing import Final

BACKLOG: Final = 64
"""Connections that wait to be accepted."""


def listen(path: str, mode: int) -> socket.socket:
    """Listen at `path`, with these rights; raises OSError."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # Linux gives the path the rights that the socket has: there is no moment with others.
        os.fchmod(bound.fileno(), mode)
        try:
            bound.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _clear(path)
            bound.bind(path)
        os.chmod(path, mode)  # what the umask has taken
        bound.listen(BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound


def _clear(path: str) -> None:
    """Remove a socket that nobody listens at; raises OSError if that is not what is there."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise OSError(errno.EEXIST, "what is there is no socket", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # it has more to accept than may wait, so it is there
    raise OSError(errno.EADDRINUSE, "somebody answers there already", path)


def identity(path: str) -> tuple[int, int] | None:
    """Return what tells a file from another that is put in its place, or None if there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def remove(path: str, was: tuple[int, int] | None) -> None:
    """Remove the socket, unless another has taken its place."""
    if was is not None and identity(path) == was:
        with contextlib.suppress(OSError):
            os.unlink(path)
