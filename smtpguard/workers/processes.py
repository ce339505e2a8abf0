"""One worker as its supervisor has it: a process, or the wait for the next one.

Contract: workers are forks of the supervisor, not programs started anew.  So they have the very settings,
policy and certificates that were checked, whatever has become of the files since; a policy of 100,000
networks is in memory once; and a dead worker is replaced in milliseconds.  A fork is safe as long as there
is one thread and no reactor, which the supervisor never has: a worker makes its own.  OpenSSL, Python's
hashes of sets and Twisted's resolver draw from the kernel, or ask for the process id.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..journal.journal import Sink
from ..lifecycle.configuration import Configuration
from . import channel
from .channel import Order
from .restarts import Restarts

TOLD: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1})
"""Signals that the supervisor takes, and passes on in its own way."""
TAKEN: Final = TOLD | {signal.SIGCHLD}

HUNG: Final = 5
"""Pings without an answer, after which it hangs: its event loop has not turned for 15 s, and whoever needs it waits."""
HUNG_AT_START: Final = 30
"""The same before its first answer; a machine on which all workers start at once may be slow."""
MOST_FAULTS: Final = 20
"""Of those that a worker tells, kept as the reason why it could not serve."""


class Process:
    """The worker of one number."""

    def __init__(
        self, number: int, generation: int, configuration: Configuration, sinks: list[Sink], seat: int
    ) -> None:
        """`seat` is the number of its region of the board."""
        self.number: Final = number
        self.generation: Final = generation
        self.configuration: Final = configuration
        self.sinks: Final = sinks
        self.seat: Final = seat
        self.pid = 0
        """0 if there is none now."""
        self.since = 0.0
        """When it was started, in seconds since 1970."""
        self.channel: socket.socket | None = None
        self.was_ready = False
        """It, or one before it, serves or has served."""
        self.replaces = False
        """One before it has served."""
        self.due: float | None = None
        """When the next one starts, if that is settled."""
        self.prepared = False
        self.believes = False
        """See smtpguard.lifecycle.share.Share."""
        self.shut: str | None = None
        """Why it turns clients away, "" if it does not; None as long as it has not said."""
        self.unanswered = 0
        """Pings since it was heard of last."""
        self.heard = False
        """It has said something since it was started."""
        self.faults: list[str] = []
        """What it has said that is wrong, since it was started."""
        self.leaves: Order | None = None
        """How it was told to go."""
        self.deadline = float("inf")
        """When it is killed."""
        self.retired = False
        self.outgoing = channel.Outgoing()
        self._began = 0.0
        self._restarts = Restarts()

    def start(self, now: float, work: Callable[[socket.socket], int]) -> None:
        """Fork; `work` is what the worker does, with its end of the channel, and returns the exit status.

        Raises OSError if there can be no process now.
        """
        ours, theirs = channel.pair()
        # What is there already is never collected, so that no reference count of it is written to: pages stay shared.
        gc.collect()
        gc.freeze()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        self.replaces = self.was_ready
        # A signal that came to the fork before it has let go of our handlers would seem to have come to us.
        signal.pthread_sigmask(signal.SIG_BLOCK, TAKEN)
        try:
            pid = os.fork()
            if pid == 0:
                ours.close()
                _become(lambda: work(theirs), self.title)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, TAKEN)
        self.pid, self.channel, self.due, self._began = pid, ours, None, now
        self.outgoing = channel.Outgoing()
        self.since = time.time()
        self.unanswered, self.heard, self.prepared, self.shut, self.faults = 0, False, False, None, []

    @property
    def name(self) -> str:
        """As the log has it, with the process id while there is one."""
        return f"worker {self.number + 1}" + (f" (process {self.pid})" if self.pid else "")

    @property
    def title(self) -> str:
        """What ps(1) calls it."""
        return f"smtpguard-w{self.number + 1}"

    @property
    def listens_no_more(self) -> bool:
        """True of one that was told to go, and takes no more clients."""
        return self.retired or self.leaves in (Order.DRAIN, Order.CUT_OFF)

    @property
    def hangs(self) -> bool:
        """True of one that has left too many pings unanswered."""
        return self.unanswered > (HUNG if self.heard else HUNG_AT_START)

    def order(self, what: Order) -> None:
        """Tell it, if it is there; one that reads nothing will be killed in the end."""
        if self.channel is not None:
            self.outgoing.send(self.channel, what.value, must=True)

    def pass_on(self, octets: bytes) -> bool:
        """Tell it what the clerk orders; False if too much waits for it already."""
        return self.channel is None or self.outgoing.send(self.channel, octets)

    def leave(self, how: Order, deadline: float = float("inf")) -> None:
        """Tell it to go, and how; it is killed if it has not gone by `deadline`."""
        self.leaves, self.deadline, self.due = how, min(self.deadline, deadline), None
        self.order(how)

    def ended(self, now: float) -> float:
        """Note that the process has ended, and return how many seconds to wait before the next."""
        self.pid = 0
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        return self._restarts.pause_after(now - self._began)


def how_it_ended(status: int) -> str:
    """Return what waitpid(2) says of a process, in words."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _become(work: Callable[[], int], title: str) -> None:
    """Be the worker; nothing of the supervisor's stack is returned to, nor is done what it would do at its end."""
    status = os.EX_SOFTWARE
    try:
        with contextlib.suppress(OSError):
            Path("/proc/self/comm").write_text(title)  # 15 octets at most (proc(5))
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in TOLD:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, TAKEN)
        status = work()
    except BaseException:  # noqa: BLE001 - whatever it is, the process ends here
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)
