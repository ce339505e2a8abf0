"""All workers of a service: those who serve, those who are to, and those who did.

Contract: a generation is one worker of each number, and follows one configuration.  There is one that serves
(`current`), perhaps one that gets ready (`coming`), and what is left of older ones (`leaving`), of which there are
never more than the board has seats for; so `limits` hold for all of them together.  Nothing here decides.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ..journal.journal import Sink
from ..lifecycle.configuration import Configuration
from .channel import Order
from .clerk import Mail
from .places import Board
from .processes import Process
from .sockets import Listener
from .worker import Worker

MOST_RETIRING: Final = 3
"""Older generations whose sessions may last as long as they like; with one more, the oldest has to finish its
transactions.  Each costs memory, and a region of the board that every client is looked for in."""
GENERATIONS: Final = MOST_RETIRING + 3
"""With the one that serves, the one that comes, and the one that has to finish."""
PING_SECONDS: Final = 3.0
"""Between two pings; whoever leaves processes.HUNG of them unanswered is killed."""

Work = Callable[[Worker, Configuration], int]
"""What a worker does, until it ends with a status."""


class Crew:
    """The processes, and what they are given."""

    def __init__(self, workers: int, listeners: Sequence[Listener], board: Board, mail: Mail, work: Work) -> None:
        self.workers: Final = workers
        self.board: Final = board
        self._by_prefix = Board(board.workers, board.places)  # has the same seats
        self.current: list[Process] = []
        """By number."""
        self.coming: list[Process] = []
        self.leaving: list[Process] = []
        """The oldest first."""
        self.not_for_workers: list[socket.socket] = []
        """What a worker closes, beside what is others'."""
        self._listeners = listeners
        self._mail = mail
        self._work = work
        self._generation = 0

    @property
    def all(self) -> list[Process]:
        return [*self.current, *self.coming, *self.leaving]

    @property
    def living(self) -> list[Process]:
        return [one for one in self.all if one.pid]

    @property
    def has_room(self) -> bool:
        """True if there are seats for one more generation."""
        return self.board.free >= self.workers

    def generation(self, configuration: Configuration, sinks: list[Sink]) -> list[Process]:
        """Make the next one; nothing is started yet."""
        self._generation += 1
        seats = [self.board.allot() for _ in range(self.workers)]
        return [Process(number, self._generation, configuration, sinks, seat) for number, seat in enumerate(seats)]

    def start(self, process: Process) -> None:
        """Start the process; raises OSError if there can be none now."""
        process.start(time.monotonic(), lambda supervisor: self._as_worker(process, supervisor))

    def _as_worker(self, process: Process, supervisor: socket.socket) -> int:
        """In the worker: let go of what is not its own, and serve."""
        others = [one.channel for one in self.all if one.channel is not None]
        for end in (*self.not_for_workers, *others):
            end.close()
        for listener in self._listeners:
            listener.keep_only(process.number)
        places, by_prefix = self.board.seen_by(process.seat), self._by_prefix.seen_by(process.seat)
        worker = Worker(
            process.number,
            supervisor,
            places,
            by_prefix,
            self._listeners,
            process.sinks,
            process.replaces,
            process.believes,
            self._mail.post,
        )
        return self._work(worker, process.configuration)

    # -- who comes and goes ------------------------------------------------------------------------------

    def take_over(self, deadline: float) -> None:
        """Let the generation that comes be the one that serves, and tell it so.

        The one before goes on until the new worker of its number serves (`retire`).  The oldest of too many has to
        finish its transactions, and is killed at `deadline`.
        """
        before, self.current, self.coming = self.current, self.coming, []
        for process in before:
            self._let_go(process)
        for process in self.current:
            process.order(Order.SERVE)
        retiring = [one for one in self.leaving if one.leaves in (None, Order.RETIRE)]
        for process in retiring:
            newer = {one.generation for one in retiring if one.generation > process.generation}
            if len(newer) >= MOST_RETIRING:
                process.leave(Order.DRAIN, deadline)

    def retire(self, number: int) -> None:
        """The new worker of that number serves: those before it need not."""
        for process in self.leaving:
            if process.number == number and process.leaves is None:
                process.leave(Order.RETIRE)

    def give_up(self, deadline: float) -> None:
        """Send those away who were to come; nobody has come to them yet."""
        coming, self.coming = self.coming, []
        for process in coming:
            self._let_go(process)
            process.leave(Order.DRAIN, deadline)

    def _let_go(self, process: Process) -> None:
        process.due = None
        if process.pid:
            self.leaving.append(process)
        else:
            self._by_prefix.wipe(process.seat)
            self.board.take_back(process.seat)

    def buried(self, process: Process) -> bool:
        """Take back what a dead process had; False if nobody comes in its place."""
        if process in self.leaving:
            self.leaving.remove(process)
            self._by_prefix.wipe(process.seat)
            self.board.take_back(process.seat)
            return False
        self._by_prefix.wipe(process.seat)
        self.board.wipe(process.seat)
        return True

    # -- whether they live -------------------------------------------------------------------------------

    def ping(self) -> Iterator[Process]:
        """Ask all whether they live, and yield those that have not answered for too long.

        Pings are counted, not seconds: where everything was stopped, as by `systemctl freeze`, nobody is blamed for it.
        """
        for process in self.living:
            process.unanswered += 1
            if process.hangs:
                yield process
            else:
                process.order(Order.PING)

    @property
    def answers(self) -> bool:
        """True unless somebody hangs, as one does who cannot even be killed."""
        return not any(one.hangs for one in self.living)

    def order(self, what: Order) -> None:
        """Tell everybody."""
        for process in self.living:
            process.order(what)


def kill(process: Process) -> None:
    """End a process that does not end by itself."""
    os.kill(process.pid, signal.SIGKILL)
