"""Where the octets of a line leave the process: a descriptor, syslog's socket; a file is in files.py.

Contract: `put` takes a line whole, or not at all and returns False; it never raises and never waits, whoever reads at
the other end, or does not.  No threads: a supervisor forks (smtpguard.workers.processes), and a fork with a thread is
not safe.  `O_NONBLOCK` is never set on a descriptor that another process gave us: it belongs to what was opened, and so
to everybody who shares it, a shell among them.
"""

from __future__ import annotations

import os
import select
import socket
import stat
from collections.abc import Callable
from typing import Final, Protocol, TextIO

LONGEST_LINE: Final = 4096
"""Octets, its end included: PIPE_BUF (pipe(7)), what a pipe takes all at once or not at all.  It is less than what
rsyslogd (8K) and journald (48K) take for one line."""


class Outlet(Protocol):
    """Takes lines, or does not."""

    def put(self, line: bytes) -> bool:
        """Take a line of at most LONGEST_LINE octets; False if there is no room now."""

    def finish(self) -> bool:
        """Write the rest of a line of which a part was taken; True if there is none."""

    def reopen(self) -> str:
        """Begin anew with what the name means now; returns what is wrong, and then goes on with what there was."""

    def forked(self) -> None:
        """This process is a copy: share nothing with the first that could be confused."""

    def close(self) -> None:
        """Let go; what was given to us stays open."""


def for_stream(stream: TextIO | None) -> Outlet:
    """Return the outlet to what a text stream writes to; None is a stderr that was closed."""
    try:
        descriptor = -1 if stream is None else stream.fileno()
        kind = 0 if stream is None else os.fstat(descriptor).st_mode
    except (OSError, ValueError):
        return _TextOutlet(stream)  # in memory, or closed
    if stat.S_ISSOCK(kind):
        return _to_socket(descriptor)
    if stat.S_ISFIFO(kind) or os.isatty(descriptor):
        return _to_pipe(descriptor)
    return _TextOutlet(None) if stream is None else _PlainOutlet(descriptor)


class _Given:
    """What was there before the guard, and is there behind it: nothing to open, to close or to finish."""

    def finish(self) -> bool:
        return True

    def reopen(self) -> str:
        return ""

    def forked(self) -> None:
        pass

    def close(self) -> None:
        pass


class _TextOutlet(_Given):
    """A stream without a descriptor."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def put(self, line: bytes) -> bool:
        if self._stream is not None:
            try:
                self._stream.write(line.decode("utf-8", "replace"))
                self._stream.flush()
            except (OSError, ValueError):
                pass  # nobody is left to be told
        return True


class _PlainOutlet(_Given):
    """A descriptor whose other end is always there: a file, /dev/null."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._torn = False

    def put(self, line: bytes) -> bool:
        octets = b"\n" + line if self._torn else line
        try:
            written = os.write(self._descriptor, octets)
        except OSError:
            return False
        # What a full disk took of a line stays there, for the file is not ours; the next line is not glued to it.
        self._torn = written < len(octets) and not octets[:written].endswith(b"\n")
        return written == len(octets)


class _StreamOutlet:
    """Takes parts of lines too: the rest of one that was begun goes out before anything else."""

    def __init__(self, write: Callable[[bytes], int], close: Callable[[], None] = lambda: None) -> None:
        """`write` writes what there is room for now, and returns how much; it raises OSError if it is nothing."""
        self._write = write
        self._close = close
        self._rest = b""

    def put(self, line: bytes) -> bool:
        octets = self._rest + line
        try:
            written = self._write(octets)
        except OSError:
            return False
        taken = written > 0 and written >= len(self._rest)
        self._rest = octets[written:] if taken else self._rest[written:]
        return taken

    def finish(self) -> bool:
        if self._rest:
            try:
                self._rest = self._rest[self._write(self._rest) :]
            except OSError:
                return False
        return not self._rest

    def reopen(self) -> str:
        return ""

    def forked(self) -> None:
        self._rest = b""  # the first process writes it

    def close(self) -> None:
        self._close()


def _to_socket(descriptor: int) -> _StreamOutlet:
    """A stream socket, as systemd gives for stderr: each call says that it does not want to wait."""
    found = socket.socket(fileno=os.dup(descriptor))
    return _StreamOutlet(lambda octets: found.send(octets, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL), found.close)


def _to_pipe(descriptor: int) -> _StreamOutlet:
    """A pipe or a terminal: opened once more, for ourselves, so that not to wait is our own choice.

    Where that cannot be (a pipe of another user's), it is asked before each line whether there is room.  Of several
    processes that ask at the same moment one may then wait for the reader; the other way has no such gap.
    """
    try:
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return _StreamOutlet(_asking_writer(descriptor))
    return _StreamOutlet(lambda octets: os.write(own, octets), lambda: os.close(own))


def _asking_writer(descriptor: int) -> Callable[[bytes], int]:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)

    def write(octets: bytes) -> int:
        if not any(found & select.POLLOUT for _, found in poll.poll(0)):
            raise BlockingIOError
        # No more than a pipe with room has room for.
        return os.write(descriptor, octets[:LONGEST_LINE])

    return write


class SyslogOutlet:
    """The socket of a syslog daemon, connected to again when the daemon has come back."""

    def __init__(self, path: str) -> None:
        self.path: Final = path
        self._socket: socket.socket | None = None

    def fault(self) -> str:
        """Return why there is nobody to talk to, or an empty text."""
        if self._socket is not None:
            return ""
        found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        found.setblocking(False)
        try:
            found.connect(self.path)
        except OSError as error:
            found.close()
            return error.strerror or str(error)
        self._socket = found
        return ""

    def put(self, line: bytes) -> bool:
        # Twice: a daemon that was started anew has refused the first.
        return self._send(line) or (self._socket is None and self._send(line))

    def _send(self, line: bytes) -> bool:
        if self.fault() or self._socket is None:
            return False
        try:
            self._socket.send(line)
        except OSError:
            # Full, or gone.  If it is full and nobody reads, the name may soon mean another daemon.
            self.close()
            return False
        return True

    def finish(self) -> bool:
        return True

    def reopen(self) -> str:
        self.close()
        return ""

    def forked(self) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
