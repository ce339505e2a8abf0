"""The one place of the rig that waits for something another process does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

# Short enough that a test does not feel it, long enough not to starve the process
# that is waited for on a machine with one processor.
_STEP = 0.01


class NotHappened(AssertionError):
    """What was waited for did not happen in time."""


def wait_until(
    predicate: Callable[[], Found | None],
    what: str,
    seconds: float = 20,
    detail: Callable[[], str] | None = None,
) -> Found:
    """Return the first true value of `predicate`, asked again and again.

    `predicate` is asked at least once, and once more after the deadline, so that a
    machine that stopped for a while does not make a test fail.  If it stays false
    (or None) for `seconds`, NotHappened is raised; its text holds `what` and, if
    given, the text that `detail` returns at that moment.  An exception raised by
    `predicate` passes through at once: that is how a waiter gives up early.
    """
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        late = time.monotonic() >= deadline
        found = predicate()
        if found:
            return found
        if late:
            text = f"waited {seconds:g} s in vain: {what}"
            if detail is not None:
                text += "\n" + detail()
            raise NotHappened(text)
        pause.wait(_STEP)
