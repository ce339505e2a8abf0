"""A service of several workers, assembled.

Contract: opens the listeners, and returns the exit status of sysexits(3) when the service has ended.  No
reactor is imported in the supervisor, and everything else is, so that workers have it in common.
"""

from __future__ import annotations

import contextlib
import resource
import syslog
from collections.abc import Sequence

from ..config.policy_file import PolicyFile
from ..config.settings import Settings
from ..net.systemd import Passed
from ..service import cannot_listen, make_journal, make_sinks
from ..tls.settings import LoadedTls
from .places import Board
from .sockets import CannotOpen, open_all
from .supervisor import Supervisor, Work


def run(
    settings: Settings, policy: PolicyFile, tls: LoadedTls, workers: int, passed: Sequence[Passed], work: Work
) -> int:
    """Serve with that many workers until a signal or a fault ends the service."""
    sinks = make_sinks(settings.log)
    journal = make_journal(settings.log, sinks)
    try:
        listeners = open_all([listener.endpoint for listener in settings.listen], workers, passed)
    except CannotOpen as error:
        text, status = cannot_listen(error.endpoint, error.reason)
        journal.service(text, syslog.LOG_CRIT)
        return status
    board = Board(workers, _places(settings))
    return Supervisor(settings, policy, tls, listeners, board, workers, journal, sinks, work).run()


def _places(settings: Settings) -> int:
    """Return how many clients a worker may have: no more than it may have descriptors, whatever the limits say."""
    descriptors = 0
    with contextlib.suppress(OSError):  # the unit's system call filter has no `prlimit64`
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return min(settings.limits.sessions, descriptors) if descriptors > 0 else settings.limits.sessions
