"""Which reactor a process gets: asyncio's on a libuv loop, or Twisted's own.

Contract: `install` is called once, before anything imports `twisted.internet.reactor`; without it the
process has Twisted's own.  `loop_of` tells the endpoints which of the two they were given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Literal

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.main import installReactor
from twisted.logger import Logger
from twisted.python.failure import Failure

Kind = Literal["auto", "uvloop", "stock"]

_log: Final = Logger()


class LibuvReactor(AsyncioSelectorReactor):
    """Twisted's asyncio reactor on a libuv loop, which smtpguard.net.endpoints uses directly."""

    def __init__(self) -> None:
        """Make a loop of its own; raises ImportError without uvloop."""
        import uvloop  # is not everywhere where the guard is

        self.libuv: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self.libuv.set_exception_handler(_failed)
        super().__init__(self.libuv)


def install(kind: Kind = "auto") -> None:
    """Install the reactor; `auto` is libuv where uvloop is installed.

    Raises ImportError if uvloop is asked for and missing, ReactorAlreadyInstalledError if there is one.
    """
    if kind == "stock":
        return
    try:
        reactor = LibuvReactor()
    except ImportError:
        if kind == "uvloop":
            raise
        return
    asyncio.set_event_loop(reactor.libuv)
    installReactor(reactor)


def loop_of(reactor: Any) -> asyncio.AbstractEventLoop | None:
    """Return the libuv loop below a reactor, or None if it has none."""
    return reactor.libuv if isinstance(reactor, LibuvReactor) else None


def _failed(_loop: asyncio.AbstractEventLoop, what: Mapping[str, Any]) -> None:
    """Log as Twisted does what a protocol or a callback raised."""
    exception = what.get("exception")
    if isinstance(exception, BaseException):
        _log.failure("{message}", Failure(exception), message=what.get("message", ""))
    else:
        _log.error("{message}", message=what.get("message", ""))
