"""Where lines are written: stderr, syslog, a file.

Contract: `write` never raises, never waits, and never lets a line become two.  What an outlet
(smtpguard.journal.outlets) does not take waits in a backlog that is bounded; what has no room there is lost, and
counted.  When lines go out again, those that waited come first, in their order, and then one line that tells how
many are missing at this place.
"""

from __future__ import annotations

import os
import sys
import syslog
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Final, TextIO

from . import outlets
from .files import FileOutlet
from .outlets import LONGEST_LINE, Outlet, SyslogOutlet

BACKLOG_OCTETS: Final = 262_144
"""Of lines that wait, for each sink of each process: some 2,000 lines, which is what a burst makes while a syslog
daemon restarts, and next to nothing beside what a session may hold."""
SYSLOG_SOCKET: Final = "/dev/log"
"""Where syslog(3) writes."""
FACILITY: Final = syslog.LOG_MAIL

_CUT: Final = b"..."


def one_line(text: str) -> str:
    """Return `text` with all escaped that some reader takes for more than a character, or that has no UTF-8 form.

    As line ends and marks of direction of Unicode; a file name may hold anything.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escaped(one) for one in text)


def _escaped(one: str) -> str:
    return f"\\{ord(one):03o}" if ord(one) < 0x80 else one.encode("unicode_escape").decode("ascii")


def lost_text(count: int) -> str:
    """Return what is written in the place of lines that are missing."""
    return f"log: {count} {'line' if count == 1 else 'lines'} lost here, as nobody took them"


def _octets(head: str, text: str, end: str = "") -> bytes:
    """Return a line as it is written; one that is too long loses its middle, as sendmail's do."""
    octets = f"{head}{one_line(text)}{end}".encode()
    if len(octets) <= LONGEST_LINE:
        return octets
    half = (LONGEST_LINE - len(_CUT)) // 2
    return (octets[:half] + _CUT + octets[-half:]).decode("utf-8", "ignore").encode()


class QueuedSink:
    """Lines of one form for one outlet."""

    def __init__(self, outlet: Outlet, form: Callable[[int, str], bytes]) -> None:
        self.lost = 0
        """Lines, since the process began."""
        self.late = 0
        """Lines that waited, and then were taken."""
        self.lost_text: Callable[[int], str] = lost_text
        self._outlet = outlet
        self._form = form
        self._backlog: deque[bytes] = deque()
        self._octets = 0
        self._untold = 0

    @property
    def waiting(self) -> bool:
        """True if there is something to write that has not been taken."""
        return self._untold > 0 or len(self._backlog) > 0 or not self._outlet.finish()

    def write(self, priority: int, text: str) -> None:
        """Write a line, now or later or not at all."""
        line = self._form(priority, text)
        if self.flush() and self._outlet.put(line):
            return
        # Nothing more waits once something is lost, so that what is told to be missing is missing at one place.
        if self._untold or self._octets + len(line) > BACKLOG_OCTETS:
            self.lost += 1
            self._untold += 1
            return
        self._backlog.append(line)
        self._octets += len(line)

    def flush(self) -> bool:
        """Write what waits, as far as it is taken; True if nothing waits any more."""
        while self._backlog:
            if not self._outlet.put(self._backlog[0]):
                return False
            self._octets -= len(self._backlog.popleft())
            self.late += 1
        if self._untold and self._outlet.put(self._form(syslog.LOG_WARNING, self.lost_text(self._untold))):
            self._untold = 0
        return not self._untold and self._outlet.finish()

    def reopen(self) -> str:
        """Write to what the name means from now on; returns what is wrong, if that cannot be."""
        return self._outlet.reopen()

    def close(self) -> None:
        """Let go; what waits is lost."""
        self._outlet.close()

    def forked(self) -> None:
        """This process is a copy: what waits is written by the first."""
        self._backlog.clear()
        self._octets = self._untold = self.lost = 0
        self._outlet.forked()


class StderrSink(QueuedSink):
    """One line an event.  Under systemd each carries its priority, as sd-daemon(3) describes."""

    def __init__(self, stream: TextIO | None = None, with_priority: bool | None = None) -> None:
        with_priority = "JOURNAL_STREAM" in os.environ if with_priority is None else with_priority
        super().__init__(outlets.for_stream(stream or sys.stderr), _with_priority if with_priority else _bare)


def _with_priority(priority: int, text: str) -> bytes:
    return _octets(f"<{priority}>", text, "\n")


def _bare(_priority: int, text: str) -> bytes:
    return _octets("", text, "\n")


class SyslogSink(QueuedSink):
    """What syslog(3) does, facility mail, without waiting for the daemon."""

    def __init__(self, ident: str, path: str = SYSLOG_SOCKET) -> None:
        self._ident = ident
        self._second = -1
        self._stamp = ""
        self._syslog = SyslogOutlet(path)
        super().__init__(self._syslog, self._datagram)

    def fault(self) -> str:
        """Return why lines have to wait for now, or an empty text."""
        return self._syslog.fault()

    def _datagram(self, priority: int, text: str) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            # Month names are English unless somebody calls setlocale, and nobody does.
            self._stamp = time.strftime("%b %e %H:%M:%S", time.localtime(second))
        return _octets(f"<{FACILITY | priority}>{self._stamp} {self._ident}[{os.getpid()}]: ", text)


class FileSink(QueuedSink):
    """A file, with the time, the host and the process before each line, as rsyslogd writes them; or bare, for JSON."""

    def __init__(self, path: str, ident: str, host: str, bare: bool = False) -> None:
        self._head = f"{host} {ident}"
        self._file = FileOutlet(path)
        super().__init__(self._file, _bare if bare else self._line)

    def fault(self) -> str:
        """Return why lines have to wait for now, or an empty text."""
        return self._file.fault()

    def _line(self, _priority: int, text: str) -> bytes:
        stamp = datetime.now().astimezone().isoformat(timespec="milliseconds")
        return _octets(f"{stamp} {self._head}[{os.getpid()}]: ", text, "\n")
