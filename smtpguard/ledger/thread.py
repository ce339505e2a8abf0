"""A thread that does what would make the event loop wait: files, Redis, hooks.

Contract: one piece of work after another, in order; a bounded number wait, and what has no room is not taken.  The
thread begins with the first one, and so behind any fork.  What a piece of work raises is our bug, and is told.
"""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

WAITING: Final = 100
"""Pieces of work that wait; each owner has one or two under way, so more are a fault."""


class WorkThread:
    """The thread, and what waits for it."""

    def __init__(self, name: str, failed: Callable[[Exception], None], most: int = WAITING) -> None:
        """`failed` is called in the thread."""
        self._failed = failed
        self._most = most
        self._waiting: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def put(self, work: Callable[[], None]) -> bool:
        """Have something done; False if too much waits, or if it is closed."""
        with self._changed:
            if self._closed or len(self._waiting) >= self._most:
                return False
            self._waiting.append(work)
            self._changed.notify()
            if self._thread.ident is None:
                self._thread.start()
        return True

    def close(self, seconds: float) -> bool:
        """Take no more, do what waits, and end; False if that takes longer than this."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread.ident is None:
            return True  # there was nothing to do
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        # Those are for the main thread, which would not wake up for one that this thread gets.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                work = self._waiting.popleft()
            try:
                work()
            except Exception as error:  # noqa: BLE001 - the next piece of work has nothing to do with it
                self._failed(error)
            del work
