"""The process that holds the listening sockets, and sees to it that somebody serves them.

Contract: a plain loop over signals and what workers say, without a reactor.  The first worker has a head
start, so that what keeps it from serving is told once; when it serves, the others start.  A worker that ends before all
of them have served for the first time, or that finds a relay, ends the service with its status; any other
one is replaced.  SIGTERM and SIGINT drain, a second one cuts off; SIGHUP reads certificates again, here
first: with any fault no worker hears of it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import syslog
import time
from collections.abc import Callable, Sequence
from typing import Final

from ..config.faults import Faulty
from ..config.policy_file import PolicyFile
from ..config.settings import Settings
from ..journal.journal import Journal, Sink
from ..service import RELOADED, announce, announce_stop
from ..tls import settings as tls_settings
from ..tls.settings import LoadedTls
from . import channel
from .channel import Done, Order, Said
from .places import Board
from .processes import TAKEN, TOLD, Process, how_it_ended
from .sayings import Sayings
from .sockets import Listener
from .worker import Worker

HEAD_START_SECONDS: Final = 3.0
"""For the first worker.  The others do not wait longer for it: a mail server that does not answer keeps each of them
for a minute, and systemd waits for two (TimeoutStartSec)."""
GRACE_SECONDS: Final = 5.0
"""Beyond `timeouts.shutdown`, after which a worker that has not ended is killed; systemd's own time is longer
(TimeoutStopSec)."""
CUT_OFF_SECONDS: Final = 2.0
"""The same when workers were told not to wait for anybody."""

Work = Callable[[Worker, LoadedTls], int]
"""What a worker does, until it ends with a status."""


class Supervisor:
    """Runs the workers of one service."""

    def __init__(
        self,
        settings: Settings,
        policy: PolicyFile,
        tls: LoadedTls,
        listeners: Sequence[Listener],
        board: Board,
        workers: int,
        journal: Journal,
        sinks: list[Sink],
        work: Work,
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._tls = tls
        self._listeners = listeners
        self._board = board
        self._journal = journal
        self._sinks = sinks
        self._work = work
        self._processes = [Process(number) for number in range(workers)]
        self._sayings = Sayings()
        self._signals = socket.socketpair()
        self._announced = False
        self._reloading: set[int] = set()
        """Those that have not yet said that they show new certificates."""
        self._status: int | None = None
        """What the service ends with, once it is to end."""
        self._deadline = float("inf")

    def run(self) -> int:
        """Serve until a signal or a fault ends it; returns the exit status."""
        self._catch_signals()
        for process in self._processes:
            process.due = time.monotonic() + HEAD_START_SECONDS
        self._start(self._processes[0])
        while self._status is None or self._living:
            self._wait()
            self._reap()
            self._start_due()
            self._see_to_the_end()
        return self._status

    @property
    def _living(self) -> list[Process]:
        return [one for one in self._processes if one.pid]

    # -- waiting -----------------------------------------------------------------------------------

    def _catch_signals(self) -> None:
        here, there = self._signals
        here.setblocking(False)
        there.setblocking(False)
        signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
        for number in TAKEN:
            signal.signal(number, lambda *_: None)  # it is the wake-up that counts
        signal.pthread_sigmask(signal.SIG_UNBLOCK, TAKEN)

    def _wait(self) -> None:
        """Wait for a signal, a word from a worker or the next moment at which something is due."""
        poll = select.poll()
        here = self._signals[0]
        poll.register(here, select.POLLIN)
        by_descriptor = {one.channel.fileno(): one for one in self._processes if one.channel is not None}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN)
        times = [one.due for one in self._processes if one.due is not None] + [self._deadline]
        seconds = max(0.0, min(times) - time.monotonic())
        # Rounded up, or it would be looked at again and again in the last millisecond.
        for descriptor, _ in poll.poll(None if seconds == float("inf") else int(seconds * 1000) + 1):
            if descriptor == here.fileno():
                self._signalled(here.recv(4096))
            else:
                self._listen_to(by_descriptor[descriptor])

    def _signalled(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGHUP:
                self._reload()
            elif number in TOLD:
                self._stop()

    def _listen_to(self, process: Process) -> None:
        if process.channel is None:
            return
        for report in channel.reports(process.channel):
            match report:
                case Done.READY:
                    process.was_ready = True
                    self._go_on()
                case Done.RELOADED:
                    self._reloaded(process)
                case Said(priority, text):
                    if self._sayings.is_new(process.number, text, time.monotonic()):
                        self._journal.service(text, priority)
                case None:  # the signal that it is dead follows
                    process.channel.close()
                    process.channel = None
                    return

    # -- workers -----------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """One more worker serves, and perhaps all do."""
        if self._announced or self._status is not None:
            return
        for one in self._processes:
            if not one.pid and not one.was_ready:
                self._start(one)
        if all(one.was_ready for one in self._processes):
            self._announced = True
            shown = [listener.shown for listener in self._listeners]
            announce(self._journal, self._settings, self._policy, shown, f" with {len(self._processes)} workers")

    def _start(self, process: Process) -> None:
        try:
            process.start(time.monotonic(), lambda supervisor: self._as_worker(process, supervisor))
        except OSError as error:
            self._journal.service(f"{_name(process)} cannot be started: {error.strerror}", syslog.LOG_CRIT)
            if self._announced:
                process.due = time.monotonic() + process.ended(time.monotonic())
            else:
                self._end(os.EX_OSERR)

    def _as_worker(self, process: Process, supervisor: socket.socket) -> int:
        """In the worker: let go of what is not its own, and serve."""
        for end in self._signals:
            end.close()
        for one in self._processes:
            if one.channel is not None:
                one.channel.close()
        for listener in self._listeners:
            listener.keep_only(process.number)
        places = self._board.seen_by(process.number)
        worker = Worker(process.number, supervisor, places, self._listeners, self._sinks, process.replaces)
        return self._work(worker, self._tls)

    def _start_due(self) -> None:
        now = time.monotonic()
        for process in self._processes:
            if process.due is not None and process.due <= now and self._status is None:
                process.due = None
                self._start(process)

    def _reap(self) -> None:
        for process in self._living:
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            if pid:
                self._listen_to(process)  # its last words
                self._died(process, status)

    def _died(self, process: Process, status: int) -> None:
        now = time.monotonic()
        name, pid, code = _name(process), process.pid, os.waitstatus_to_exitcode(status)
        pause = process.ended(now)
        self._board.wipe(process.number)
        self._reloaded(process)  # whoever comes instead does
        if self._status is not None:
            if code not in (os.EX_OK, self._status):  # several may have found the same fault
                self._journal.service(f"{name} (process {pid}) {how_it_ended(status)}", syslog.LOG_ERR)
            return
        if not self._announced or (code == os.EX_CONFIG and not process.replaces):
            if not os.EX_USAGE <= code <= os.EX_CONFIG:  # else it has said why
                self._journal.service(f"{name} (process {pid}) {how_it_ended(status)} at start", syslog.LOG_CRIT)
            self._end(code if code > 0 else os.EX_SOFTWARE)
            return
        process.due = now + pause
        when = f"in {pause:g} s" if pause else "now"
        text = f"{name} (process {pid}) {how_it_ended(status)}, and its sessions with it; another one starts {when}"
        self._journal.service(text, syslog.LOG_ERR)

    # -- orders ------------------------------------------------------------------------------------

    def _order(self, what: Order) -> None:
        for process in self._living:
            if process.channel is not None:
                channel.order(process.channel, what)

    def _reload(self) -> None:
        if self._status is not None:
            return
        try:
            # Whoever replaces a worker from now on shows these.
            self._tls = tls_settings.load(self._settings)
        except (Faulty, OSError) as error:
            for fault in error.faults if isinstance(error, Faulty) else [error]:
                self._journal.service(str(fault), syslog.LOG_ERR)
            self._journal.service("SIGHUP: the certificates in use stay in use", syslog.LOG_ERR)
            return
        self._reloading = {process.number for process in self._living}
        self._order(Order.RELOAD)

    def _reloaded(self, process: Process) -> None:
        """One more shows the new certificates, and perhaps all do: only then it is true."""
        if process.number in self._reloading:
            self._reloading.discard(process.number)
            if not self._reloading:
                self._journal.service(RELOADED)

    def _stop(self) -> None:
        if self._status is not None:
            self._order(Order.CUT_OFF)
            self._deadline = min(self._deadline, time.monotonic() + CUT_OFF_SECONDS)
            return
        announce_stop(self._journal, self._board.taken())
        self._end(os.EX_OK)

    def _end(self, status: int) -> None:
        """Let all workers finish; no client can come any more once they have closed their sockets."""
        if self._status is not None:
            return
        self._status = status
        for listener in self._listeners:
            listener.close()
        for process in self._processes:
            process.due = None
        self._order(Order.DRAIN)
        self._deadline = time.monotonic() + self._settings.timeouts.shutdown + GRACE_SECONDS

    def _see_to_the_end(self) -> None:
        if time.monotonic() < self._deadline:
            return
        self._deadline = float("inf")
        for process in self._living:
            self._journal.service(f"{_name(process)} (process {process.pid}) does not end: killed", syslog.LOG_ERR)
            os.kill(process.pid, signal.SIGKILL)


def _name(process: Process) -> str:
    return f"worker {process.number + 1}"
