"""Which reactor a process gets: asyncio's on a libuv loop, or Twisted's own.

Contract: `install` is called once, before anything imports `twisted.internet.reactor`; without it the
process has Twisted's own.  `loop_of` tells the endpoints which of the two they were given.  Either keeps its time by a
clock that nobody sets: Twisted's own timers follow the clock on the wall (twisted.python.runtime.seconds), and end all
sessions at once, or none for a day, when that is set.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from typing import Any, Final, Literal

from twisted.internet import default
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
        _install_stock()
        return
    try:
        reactor = LibuvReactor()
    except ImportError:
        if kind == "uvloop":
            raise
        _install_stock()
        return
    by_monotonic_clock(reactor)
    asyncio.set_event_loop(reactor.libuv)
    installReactor(reactor)


def _install_stock() -> None:
    default.install()
    by_monotonic_clock(sys.modules["twisted.internet.reactor"])


def by_monotonic_clock(reactor: Any) -> bool:
    """Let a reactor time its calls by a clock that nobody sets; False if some wait already, by the one that it had."""
    if reactor.getDelayedCalls():
        return False
    reactor.seconds = time.monotonic
    return True


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
