"""A service of several workers, assembled.

Contract: opens the listeners, and returns the exit status of sysexits(3) when the service has ended.  No
reactor is imported in the supervisor, and everything else is, so that workers have it in common.
"""

from __future__ import annotations

import contextlib
import resource
import syslog
from collections.abc import Sequence

from ..config.settings import Settings
from ..journal.opening import make_journal, make_sinks
from ..lifecycle.announcing import cannot_listen
from ..lifecycle.configuration import Configuration, Read
from ..lifecycle.systemd import Passed
from .clerk import Keep, Mail
from .crew import GENERATIONS, Crew, Work
from .places import Board
from .sockets import CannotOpen, open_all
from .supervisor import Supervisor


def run(
    configuration: Configuration, again: Read, workers: int, passed: Sequence[Passed], work: Work, keep: Keep
) -> int:
    """Serve with that many workers until a signal or a fault ends the service; `keep` is the clerk's part."""
    settings = configuration.settings
    sinks = make_sinks(settings.log)
    journal = make_journal(settings.log, sinks)
    try:
        listeners = open_all([listener.endpoint for listener in settings.listen], workers, passed)
    except CannotOpen as error:
        text, status = cannot_listen(error.endpoint, error.reason)
        journal.service(text, syslog.LOG_CRIT)
        return status
    mail = Mail()
    crew = Crew(workers, listeners, Board(GENERATIONS * workers, _places(settings)), mail, work)
    return Supervisor(configuration, again, crew, listeners, journal, sinks, mail, keep).run()


def _places(settings: Settings) -> int:
    """Return how many clients a worker may have: no more than it may have descriptors, whatever the limits say."""
    descriptors = 0
    with contextlib.suppress(OSError):  # the unit's system call filter has no `prlimit64`
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return min(settings.limits.sessions, descriptors) if descriptors > 0 else settings.limits.sessions
