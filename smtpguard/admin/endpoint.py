"""The admin endpoint of a service: opened, and closed.

Contract: nothing here keeps the service from serving mail.  A place that cannot be opened is told of once, and tried
again until it can be, as when the service before this one is just about to leave it.
"""

from __future__ import annotations

import syslog
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from ..config.admin import AdminPlace, parse_admin
from ..net import adopted, endpoints
from . import sockets
from .answers import Answers
from .site import Site
from .view import View

AGAIN_SECONDS: Final = 5.0
"""Between tries to open a place."""

Say = Callable[[str, int], None]
"""Takes a line for the log, and its priority (syslog(3))."""


class _Listener:
    """One place."""

    def __init__(self, reactor: Any, place: AdminPlace, view: View, say: Say) -> None:
        self.address: Any = None
        """Where it listens, as Twisted says; None as long as it does not."""
        self._reactor = reactor
        self._place = place
        self._say = say
        self._site = Site(reactor, Answers(view, reactor.seconds, place.host, lifts=bool(place.path)))
        self._port: Any = None
        self._identity: tuple[int, int] | None = None
        self._again: IDelayedCall | None = None
        self._said = False
        self._stopped = False

    def start(self) -> None:
        """Listen, now or as soon as it is possible."""
        self._again = None
        try:
            opening = self._open()
        except OSError as error:
            self._failed(error)
        else:
            opening.addCallbacks(self._opened, lambda failure: self._failed(_reason(failure)))

    def _open(self) -> Any:
        place = self._place
        if not place.path:
            return endpoints.server(self._reactor, place.text).listen(self._site)
        listening = sockets.listen(place.path, place.mode)
        self._identity = sockets.identity(place.path)
        return adopted.server(self._reactor, place.text, listening).listen(self._site)

    def _opened(self, port: Any) -> None:
        self._port = port
        self.address = port.getHost()
        if self._stopped:
            self.stop()
        elif self._said:
            self._say(f"admin: {self._place.text} is open now", syslog.LOG_NOTICE)

    def _failed(self, error: Exception) -> None:
        if not self._said:
            text = getattr(error, "strerror", None) or str(error)
            self._say(f"admin: cannot listen at {self._place.text}: {text}; it is tried again", syslog.LOG_ERR)
            self._said = True
        if not self._stopped:
            self._again = self._reactor.callLater(AGAIN_SECONDS, self.start)

    def stop(self) -> None:
        """Listen no more, end what is open, and remove the socket."""
        self._stopped = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        port, self._port = self._port, None
        if port is not None:
            port.stopListening()
            self._site.close()
            if self._place.path:
                sockets.remove(self._place.path, self._identity)


class AdminEndpoint:
    """All places."""

    def __init__(self, reactor: Any, places: Sequence[str], view: View, say: Say) -> None:
        """`places` are those of the settings."""
        self._listeners = [_Listener(reactor, parse_admin(text), view, say) for text in places]

    @property
    def addresses(self) -> list[Any]:
        """Where it listens, in the order of the settings; None for a place that could not be opened yet."""
        return [listener.address for listener in self._listeners]

    def start(self) -> None:
        """Listen."""
        for listener in self._listeners:
            listener.start()

    def stop(self) -> None:
        """Listen no more."""
        for listener in self._listeners:
            listener.stop()


def _reason(failure: Failure) -> Exception:
    error = failure.value
    reason = getattr(error, "socketError", error)
    return reason if isinstance(reason, Exception) else OSError(str(reason))
