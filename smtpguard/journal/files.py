"""The outlet to a file of our own: opened again by its name, and whole lines only.

Contract: smtpguard.journal.outlets.Outlet.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

FILE_MODE: Final = 0o640
"""Of a file that is made, less the umask."""
_WITHOUT_ROOM: Final = (errno.EAGAIN, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EINTR)
"""What a file that is right says when there is no room."""


class FileOutlet:
    """A file of our own.  Writing to a disk may take its time, and that cannot be helped; a full one does not."""

    def __init__(self, path: str) -> None:
        self.path: Final = path
        self._descriptor = -1
        self._torn = False

    def fault(self) -> str:
        """Return why the file cannot be written to, or an empty text."""
        return "" if self._descriptor >= 0 else self._open()

    def put(self, line: bytes) -> bool:
        if self._descriptor < 0 and self._open():
            return False
        octets = b"\n" + line if self._torn else line
        try:
            written = os.write(self._descriptor, octets)
        except OSError as error:
            if error.errno not in _WITHOUT_ROOM:
                self.close()  # a file server that came back, a pipe without a reader: the name may mean better now
            return False
        if written == len(octets):
            self._torn = False
            return True
        self._take_back(written)
        return False

    def _take_back(self, written: int) -> None:
        """A disk that became full took a part of a line: leave no part of a line."""
        try:
            end = os.lseek(self._descriptor, 0, os.SEEK_CUR)
            # If another process had room to write behind it, it stays.
            if os.fstat(self._descriptor).st_size == end:
                os.ftruncate(self._descriptor, end - written)
                return
        except OSError:
            pass  # it may only be appended to (chattr +a)
        self._torn = True

    def _open(self) -> str:
        """Open the file, and go on with what there was if that cannot be."""
        # O_NONBLOCK is for a named pipe.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        try:
            descriptor = os.open(self.path, flags, FILE_MODE)
        except OSError as error:
            return error.strerror or str(error)
        self.close()
        self._descriptor = descriptor
        self._torn = _ends_amid_a_line(self.path)
        return ""

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def finish(self) -> bool:
        return True

    def reopen(self) -> str:
        return self._open()

    def forked(self) -> None:
        # A description of its own, as `_take_back` asks it where its own last line ended.
        self._open()


def _ends_amid_a_line(path: str) -> bool:
    """True if the last line of a file has no end, as after a power cut."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size == 0:
            return False
        return os.pread(descriptor, 1, found.st_size - 1) != b"\n"
    except OSError:
        return False
    finally:
        os.close(descriptor)
