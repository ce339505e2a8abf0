"""The process that holds the listening sockets, and sees to it that somebody serves them.

Contract: a plain loop over signals and what workers say, without a reactor.  The first worker has a head
start, so that what keeps it from serving is told once; when it serves, the others start.  A worker that ends before all
of them have served for the first time, or that finds a relay, ends the service with its status; any other
one is replaced, and so is one that hangs.  SIGTERM and SIGINT drain, a second one cuts off; SIGHUP brings a new
generation of workers (renewal.py); SIGUSR1 opens the files of the log again.  It alone talks to systemd.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import syslog
import time
from typing import Final

from ..journal.journal import Journal, Sink
from ..lifecycle import systemd
from ..lifecycle.announcing import announce, announce_end, announce_stop, status
from ..lifecycle.configuration import Configuration, Read
from ..office.facts import KEEPING, Facts, ProcessFacts, facts_of
from . import channel
from .alarm import Alarm
from .channel import Done, Order, Said, Shut, Told
from .clerk import Keep, Mail
from .crew import PING_SECONDS, Crew, kill
from .processes import MOST_FAULTS, TAKEN, TOLD, Process, how_it_ended
from .renewal import GRACE_SECONDS, Renewal
from .sayings import Sayings
from .seat import Seat
from .sockets import Listener

HEAD_START_SECONDS: Final = 3.0
"""For the first worker.  The others do not wait longer for it: a mail server that does not answer keeps each of them
for a minute, and systemd waits for two (TimeoutStartSec)."""
CUT_OFF_SECONDS: Final = 2.0
"""For workers that were told not to wait for anybody; then they are killed."""


class Supervisor:
    """Runs the workers of one service."""

    def __init__(
        self,
        configuration: Configuration,
        again: Read,
        crew: Crew,
        listeners: list[Listener],
        journal: Journal,
        sinks: list[Sink],
        mail: Mail,
        keep: Keep,
    ) -> None:
        """`again` reads the configuration once more; `keep` is what the clerk does."""
        self._listeners = listeners
        self._journal = journal
        self._alarm = Alarm()
        journal.call_later = self._alarm.call_later
        self._line = systemd.StatusLine()
        self.crew = crew
        self.renewal = Renewal(crew, journal, configuration, sinks, again, self._tell_status)
        crew.current = crew.generation(configuration, sinks)
        self._sayings = Sayings()
        self._signals = socket.socketpair()
        crew.not_for_workers += [*self._signals, mail.inbox]
        self._started = time.time()
        self.seat = Seat(mail, keep, self._facts, journal, self._not_for_the_clerk)
        self._announced = False
        self._status: int | None = None
        """What the service ends with, once it is to end."""
        self._deadline = float("inf")
        self._ping_at = time.monotonic() + PING_SECONDS
        self._watchdog = systemd.watchdog_seconds()
        self._feed_at = float("inf") if self._watchdog is None else time.monotonic()

    def run(self) -> int:
        """Serve until a signal or a fault ends it; returns the exit status."""
        self._catch_signals()
        for process in self.crew.current:
            process.due = time.monotonic() + HEAD_START_SECONDS
        self.seat.start(self.renewal.configuration, self.renewal.sinks)
        self._start(self.crew.current[0])
        while self._status is None or self.crew.living:
            self._wait()
            self._reap()
            self._start_due()
            if self._status is None and self._announced:
                self.renewal.step()
            self._see_who_lives()
            self._see_to_the_end()
        self.seat.end(self._listen_to)
        if self._status == os.EX_OK:  # it was told to; what ends it otherwise has said so
            announce_end(self._journal)
        self._journal.drain()
        return self._status

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
        by_descriptor = {one.channel.fileno(): one for one in self._everybody if one.channel is not None}
        for descriptor, process in by_descriptor.items():
            poll.register(descriptor, select.POLLIN | (select.POLLOUT if process.outgoing.waits else 0))
        times = [one.due for one in self.crew.current if one.due is not None]
        times += [one.deadline for one in self.crew.leaving]
        times += [self._deadline, self._alarm.due, self.renewal.due, self._ping_at, self._feed_at, self.seat.due]
        seconds = max(0.0, min(times) - time.monotonic())
        # Rounded up, or it would be looked at again and again in the last millisecond.
        for descriptor, _ in poll.poll(int(seconds * 1000) + 1):
            if descriptor == here.fileno():
                self._signalled(here.recv(4096))
            else:
                self._listen_to(by_descriptor[descriptor])
        for process in by_descriptor.values():
            if process.outgoing.waits and process.channel is not None:
                process.outgoing.flush(process.channel)
        self._alarm.ring()

    def _signalled(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGHUP:
                self.renewal.wanted = True
            elif number == signal.SIGUSR1:
                self._journal.reopen()
                for one in self._everybody:
                    one.order(Order.REOPEN)
            elif number in TOLD:
                self._stop()

    def _listen_to(self, process: Process) -> None:
        if process.channel is None:
            return
        for report in channel.reports(process.channel):
            process.unanswered, process.heard = 0, True
            match report:
                case Done.PREPARED:
                    process.prepared = True
                    self.seat.tell_what_stands()
                    if process not in self.crew.coming:
                        process.order(Order.SERVE)
                case Done.READY:
                    process.was_ready = True
                    self.seat.tell(self.renewal.configuration)
                    self.crew.retire(process.number)
                    self._go_on()
                case Done.RETIRED:
                    process.retired = True
                case Told(octets):
                    for one in self.crew.living:
                        one.pass_on(octets)
                case Shut(why):
                    process.shut = why
                    self._tell_status()
                case Said(priority, text, event, fields):
                    if priority <= syslog.LOG_ERR and len(process.faults) < MOST_FAULTS:
                        process.faults.append(text)
                    if self._sayings.is_new(process.number, text, time.monotonic()):
                        self._journal.service(text, priority, event, fields)
                case None:  # the signal that it is dead follows
                    process.channel.close()
                    process.channel = None
                    return

    # -- systemd -----------------------------------------------------------------------------------

    def _tell_status(self, with_it: str = "") -> None:
        if self._announced and self._status is None:
            shut = next(filter(None, (one.shut for one in self.crew.current)), None)
            text = status(self.renewal.configuration, self.crew.board.taken(), shut, self.renewal.last)
            self._line.show(text, with_it)
        self.seat.tell(self.renewal.configuration)

    def _see_who_lives(self) -> None:
        """Ask the workers whether they live, kill those who hang, and tell systemd that the others serve."""
        now = time.monotonic()
        if now >= self._ping_at:
            self._ping_at = now + PING_SECONDS
            for process in self.crew.ping():
                self._journal.service(f"{process.name} hangs: killed", syslog.LOG_ERR)
                kill(process)
            self.seat.ping()
            self._tell_status()
        if self._watchdog is not None and now >= self._feed_at:
            self._feed_at = now + self._watchdog / 2
            if self.crew.answers:
                systemd.notify("WATCHDOG=1")

    # -- workers -----------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """One more worker serves, and perhaps all do."""
        if self._announced or self._status is not None:
            return
        for one in self.crew.current:
            if not one.pid and not one.was_ready:
                self._start(one)
        if all(one.was_ready for one in self.crew.current):
            self._announced = True
            shown = [listener.shown for listener in self._listeners]
            announce(self._journal, self.renewal.configuration, shown, f" with {self.crew.workers} workers")
            self._tell_status("READY=1")

    def _start(self, process: Process) -> None:
        try:
            self.crew.start(process)
        except OSError as error:
            self._journal.service(f"{process.name} cannot be started: {error.strerror}", syslog.LOG_CRIT)
            if self._announced:
                process.due = time.monotonic() + process.ended(time.monotonic())
            else:
                self._end(os.EX_OSERR)

    def _start_due(self) -> None:
        now = time.monotonic()
        if self.seat.due <= now and self._status is None:
            self.seat.start(self.renewal.configuration, self.renewal.sinks)
        for process in self.crew.current:
            if process.due is not None and process.due <= now and self._status is None:
                process.due = None
                self._start(process)

    def _reap(self) -> None:
        self.seat.reap(self._listen_to, self._status is None)
        for process in self.crew.living:
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            if pid:
                self._listen_to(process)  # its last words
                self._died(process, status)

    def _died(self, process: Process, status: int) -> None:
        now = time.monotonic()
        name, code, how = process.name, os.waitstatus_to_exitcode(status), how_it_ended(status)
        pause = process.ended(now)
        if self.renewal.died(process, how):
            return
        is_replaced = self.crew.buried(process)
        if self._status is not None:
            if code not in (os.EX_OK, self._status):  # several may have found the same fault
                self._journal.service(f"{name} {how}", syslog.LOG_ERR)
            return
        if not is_replaced:
            if code != os.EX_OK and process.was_ready:
                self._journal.service(f"{name} {how}, and its sessions with it", syslog.LOG_ERR)
            return
        is_first = process.generation == 1 and not process.replaces
        if not self._announced or (code == os.EX_CONFIG and is_first):
            if not os.EX_USAGE <= code <= os.EX_CONFIG:  # else it has said why
                self._journal.service(f"{name} {how} at start", syslog.LOG_CRIT)
            self._end(code if code > 0 else os.EX_SOFTWARE)
            return
        process.due = now + pause
        when = f"in {pause:g} s" if pause else "now"
        self._journal.service(f"{name} {how}, and its sessions with it; another one starts {when}", syslog.LOG_ERR)

    # -- the clerk ---------------------------------------------------------------------------------

    @property
    def _everybody(self) -> list[Process]:
        clerk = self.seat.process
        return self.crew.all if clerk is None else [*self.crew.all, clerk]

    def _facts(self) -> Facts:
        processes = [
            ProcessFacts(f"worker {one.number + 1}", one.pid, one.since, _state(one, self.crew))
            for one in self.crew.living
        ]
        listeners = [listener.shown for listener in self._listeners]
        configuration, last = self.renewal.configuration, self.renewal.last
        stopping = self._status is not None
        one = self.seat.process
        clerk = ProcessFacts("clerk", one.pid, one.since, KEEPING) if one is not None and one.pid else None
        return facts_of(configuration, last, listeners, processes, self._started, os.getpid(), stopping, clerk)

    def _not_for_the_clerk(self) -> None:
        """In the clerk: let go of what is not its own."""
        for end in self._signals:
            end.close()
        for one in self.crew.all:
            if one.channel is not None:
                one.channel.close()
        for listener in self._listeners:
            listener.let_go()

    # -- the end -----------------------------------------------------------------------------------

    def _stop(self) -> None:
        if self._status is not None:
            self.crew.order(Order.CUT_OFF)
            self._deadline = min(self._deadline, time.monotonic() + CUT_OFF_SECONDS)
            return
        systemd.notify("STOPPING=1\nSTATUS=stopping")
        announce_stop(self._journal, self.crew.board.taken())
        self._end(os.EX_OK)

    def _end(self, status: int) -> None:
        """Let all workers finish; no client can come any more once they have closed their sockets."""
        if self._status is not None:
            return
        self._status = status
        self.renewal.stop()
        for listener in self._listeners:
            listener.close()
        for process in self.crew.current:
            process.due = None
        self.crew.order(Order.DRAIN)
        self._deadline = time.monotonic() + self.renewal.configuration.settings.timeouts.shutdown + GRACE_SECONDS

    def _see_to_the_end(self) -> None:
        now = time.monotonic()
        late = [one for one in self.crew.leaving if one.pid and one.deadline <= now]
        if self._deadline <= now:
            self._deadline = float("inf")
            late = self.crew.living
        for process in late:
            process.deadline = float("inf")
            self._journal.service(f"{process.name} does not end: killed", syslog.LOG_ERR)
            kill(process)


def _state(process: Process, crew: Crew) -> str:
    if process in crew.leaving:
        return "retiring"
    return "serving" if process.was_ready else "starting"
