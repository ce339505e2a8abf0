"""What a supervisor and a worker say to each other.

Contract: a pair of sockets that keep messages apart.  Neither waits for the other: what has no room is
not sent, and `report` and `tell` say so; what must arrive is kept in an `Outgoing`.  If one of the two dies, the
other reads the end, whatever it was that it died of.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

from attrs import frozen

LONGEST: Final = 65536
"""Octets of a message; a line of the log that is longer is written by its worker itself."""
WAITING: Final = 4 << 20
"""Octets that wait for room, for one other: all bans that there may be (smtpguard.ledger.bans.BANS), three times."""


class Order(Enum):
    """What the supervisor tells a worker.  Each may come twice, and then means nothing new."""

    DRAIN = b"drain"
    """Stop listening, let transactions finish, end."""
    CUT_OFF = b"cut off"
    """The same, and do not wait for them."""
    SERVE = b"serve"
    """Listen: the answer to PREPARED."""
    RETIRE = b"retire"
    """Stop listening, and end when the last session has ended."""
    PING = b"ping"
    """Say that you are alive."""
    REOPEN = b"reopen"
    """Open the files of the log again."""
    RELOAD = b"reload"
    """To the clerk: read the configuration again, which the supervisor has found to be right."""
    STANDING = b"standing"
    """To the clerk: tell what stands, somebody is about to serve."""


@frozen
class Said:
    """A line about the service, for its log."""

    priority: int
    text: str
    event: str = "service"
    fields: dict[str, Any] | None = None
    """For the JSON form."""


class Done(Enum):
    """What the worker has come to."""

    PREPARED = b"prepared"
    """It could serve, and waits to be told."""
    READY = b"ready"
    """It serves."""
    RETIRED = b"retired"
    """It listens no more."""
    ALIVE = b"alive"
    """The answer to PING."""


@frozen
class Shut:
    """Why the worker turns clients away; empty if it does not."""

    why: str


@frozen
class Told:
    """What is passed on as it is: facts for the clerk, the clerk's orders for workers (smtpguard.ledger.reports)."""

    octets: bytes


Report = Done | Said | Shut | Told
_SHUT: Final = b"="
"""Begins the form of Shut; no other one begins so."""
_JSON: Final = (b"[", b"{")
"""Begin what is passed on."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    one.setblocking(False)
    other.setblocking(False)
    return one, other


def order(worker: socket.socket, what: Order) -> None:
    """Tell a worker what to do; one that reads nothing will be killed in the end, and has more to read already."""
    with contextlib.suppress(OSError):
        worker.send(what.value)


def report(supervisor: socket.socket, what: Report) -> bool:
    """Tell the supervisor; False if that was not possible."""
    return tell(supervisor, _form(what))


def tell(other: socket.socket, octets: bytes) -> bool:
    """Send a message; False if that was not possible."""
    if len(octets) > LONGEST:
        return False
    try:
        other.send(octets)
    except OSError:
        return False
    return True


class Outgoing:
    """What one other is told, in its order, as soon as there is room."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._octets = 0

    @property
    def waits(self) -> bool:
        """True if there is something for which there was no room."""
        return bool(self._waiting)

    def send(self, end: socket.socket, octets: bytes, *, must: bool = False) -> bool:
        """Send a message, now or later; False if too much waits already, unless it `must` arrive, or it is too long."""
        if len(octets) > LONGEST:
            return False
        if not self._waiting and _sent(end, octets):
            return True
        if self._octets + len(octets) > WAITING and not must:
            return False
        self._waiting.append(octets)
        self._octets += len(octets)
        return True

    def flush(self, end: socket.socket) -> None:
        """Send what there is room for now."""
        while self._waiting and _sent(end, self._waiting[0]):
            self._octets -= len(self._waiting.popleft())


def _sent(end: socket.socket, octets: bytes) -> bool:
    """Send; False if there is no room now.  Whoever is dead hears nothing, and needs nothing."""
    try:
        end.send(octets)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _form(what: Report) -> bytes:
    if isinstance(what, Done):
        return what.value
    if isinstance(what, Told):
        return what.octets
    if isinstance(what, Said):
        return f"{what.priority} {json.dumps([what.text, what.event, what.fields])}".encode("ascii")
    return f"={what.why}".encode("utf-8", "surrogateescape")


def orders(supervisor: socket.socket) -> Iterator[Order | Told | None]:
    """Yield what there is to read now; None if the supervisor is gone."""
    for octets in _messages(supervisor):
        if octets.startswith(_JSON):
            yield Told(octets)
        else:
            yield Order(octets) if octets else None


def reports(worker: socket.socket) -> Iterator[Report | None]:
    """Yield what there is to read now; None if the worker is gone."""
    for octets in _messages(worker):
        if not octets:
            yield None
        elif octets.isalpha():
            yield Done(octets)
        elif octets.startswith(_JSON):
            yield Told(octets)
        elif octets.startswith(_SHUT):
            yield Shut(octets.decode("utf-8", "surrogateescape")[1:])
        else:
            priority, _, rest = octets.partition(b" ")
            yield Said(int(priority), *json.loads(rest))


def _messages(end: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            octets = end.recv(LONGEST)
        except BlockingIOError:
            return
        except OSError:
            octets = b""  # reset: it died with something unread
        yield octets
        if not octets:
            return
