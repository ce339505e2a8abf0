"""What one of the several processes of a service has of it.

Contract: a value; whoever makes it (smtpguard.workers.worker) says what becomes of a call.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from attrs import frozen
from twisted.internet.defer import Deferred

from ..journal.journal import Journal
from ..ledger.reports import Report
from ..sessions.places import Places


@frozen
class Share:
    """What a process has of a service that is several (smtpguard.workers); a supervisor tells where they listen."""

    journal: Journal
    places: Places
    places_by_prefix: Places
    listening: Sequence[Callable[[], socket.socket]]
    """For each listener of the settings: listens, and returns the socket."""
    prepared: Callable[[], Deferred[None]]
    """Told when this process could serve; the result comes when it is to."""
    ready: Callable[[], None]
    """Told when this process serves."""
    shut: Callable[[str], None]
    """Told why clients are turned away, or "" when they are not."""
    tell: Callable[[Report], bool]
    """Passes a report on to the office; False if that cannot be now."""
    replaces: bool
    """The service was there before this process: where it finds a relay it waits, and does not end."""
    believes: bool = False
    """Another process of the service has found that the backend does not relay, and has asked as this one will."""
    looks: bool = True
    """It is this process that checks backends which are up, of several."""
