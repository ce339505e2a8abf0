"""`twist smtpguard`: the guard among a site's other Twisted services.

Contract: the options of `smtpguard run`, and what they refuse; no reactor is imported before the
service starts, so that twist's own choice of one holds.  It is one process, whatever `workers` says.
When the service ends of its own accord, as after a relay check that failed, the reactor is stopped; twist
has no exit status for that, which is why `smtpguard run` is the recommended way.
"""

from __future__ import annotations

import os
import syslog
from collections.abc import Callable
from typing import Any, Final

import click
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.python import usage

from .cli.run import load
from .config.endpoints import parse_client, parse_server
from .config.faults import Faulty, printable
from .lifecycle.configuration import Configuration

RELAY_CHECK: Final = ("enforce", "warn", "off")


class Options(usage.Options):
    """The options of `smtpguard run`."""

    synopsis = "[options]"
    longdesc = "A policy-enforcing SMTP proxy. Options win over the settings file."
    optParameters: Final = [
        ["config", None, None, "Settings file."],
        ["policy", None, None, "A policy file, or the name of a shipped policy."],
    ]

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["listen"] = []
        self["backend"] = None
        self["relay_check"] = None

    def opt_listen(self, endpoint: str) -> None:
        """Where to listen, as in tcp:25:interface=0.0.0.0; may be repeated."""
        _checked(parse_server, endpoint)
        self["listen"].append(endpoint)

    def opt_backend(self, endpoint: str) -> None:
        """The mail server, as in tcp:127.0.0.1:2525."""
        _checked(parse_client, endpoint)
        self["backend"] = endpoint

    def opt_relay_check(self, what: str) -> None:
        """What to do if the backend would relay for outsiders: enforce, warn or off."""
        if what not in RELAY_CHECK:
            raise usage.UsageError(f"--relay-check is one of {', '.join(RELAY_CHECK)}, not {what!r}")
        self["relay_check"] = what

    def postOptions(self) -> None:
        """Refuse what leaves it open where to listen or what to guard."""
        if self["config"] is None and not (self["listen"] and self["backend"]):
            raise usage.UsageError("give --listen and --backend, or --config with a settings file")


def _checked(parse: Callable[[str], object], text: str) -> None:
    try:
        parse(text)
    except ValueError as error:
        raise usage.UsageError(str(error)) from None


class GuardService(Service):
    """smtpguard.service.Service as twist knows services."""

    name = "smtpguard"

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._guard: Any = None
        self._ended: Deferred[None] | None = None

    def startService(self) -> None:
        """Ask the backend, then listen; the reactor is that which runs by now."""
        from twisted.internet import reactor  # noqa: TID251 - twist chose it, and passes it to nobody

        from .service import Service as Guard

        Service.startService(self)
        self._guard = Guard(reactor, self._configuration)
        self._ended = Deferred()
        self._guard.done.addCallback(self._done, reactor)
        self._guard.start().addErrback(self._failed, reactor)

    def stopService(self) -> Deferred[None]:
        """Drain; fires when no session is left."""
        Service.stopService(self)
        if self._guard is None or self._ended is None:
            return succeed(None)
        self._guard.stop()
        return self._ended

    def _done(self, _status: int, reactor: Any) -> None:
        ended, self._guard = self._ended, None
        if ended is not None:
            ended.callback(None)
        if self.running:
            reactor.stop()

    def _failed(self, failure: Any, reactor: Any) -> None:
        self._guard.journal.service(f"start failed: {failure.getErrorMessage()}", syslog.LOG_CRIT)
        if self.running:
            reactor.stop()


def makeService(options: Options) -> GuardService:
    """Make the service of what the command line says, or exit as `smtpguard run` does."""
    try:
        return GuardService(load(options["config"], {key: options[key] for key in _FLAGS}))
    except Faulty as error:
        for fault in error.faults:
            click.echo(str(fault), err=True)
        raise SystemExit(os.EX_CONFIG) from None
    except OSError as error:
        click.echo(printable(f"smtpguard: {error.filename}: {error.strerror}"), err=True)
        raise SystemExit(os.EX_NOPERM if isinstance(error, PermissionError) else os.EX_NOINPUT) from None


_FLAGS: Final = ("listen", "backend", "policy", "relay_check")
