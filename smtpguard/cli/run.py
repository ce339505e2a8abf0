"""`smtpguard run`: serve."""

from __future__ import annotations

import gc
import os
import re
import resource
import signal
import syslog
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click
from twisted.internet.defer import Deferred, succeed
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure

from ..config.endpoints import parse_client, parse_server
from ..config.fields import workers as parse_workers
from ..journal.journal import Journal
from ..lifecycle import systemd
from ..lifecycle.configuration import Configuration, Read, read
from .internal import Internal

if TYPE_CHECKING:
    # Imported when it is needed: with it comes what takes the sockets of systemd out of the environment.
    from ..service import Service
    from ..transport.reactor import Kind
    from ..workers.clerk import Clerk
    from ..workers.worker import Worker

DESCRIPTORS_BESIDE: Final = 192
"""Descriptors that are no session's: 128 for look-ups of names (smtpguard.sessions.resolver.IN_FLIGHT), 64 for
listeners, the log, the event loop and clients that are turned away."""
GARBAGE_OBJECTS: Final = 20_000
"""New objects before Python looks for cycles among them: a few MB.  Its own 700 is a look every few sessions, and a
session leaves no cycle behind."""
STOP_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT})
HELD_SIGNALS: Final = STOP_SIGNALS | {signal.SIGHUP, signal.SIGUSR1}
"""They wait from the beginning until there is something to stop, or to reload."""


def _each(parse: Callable[[str], object]) -> Callable[..., Any]:
    """Make an option's values go through `parse`, so that a wrong one is a usage error."""

    def check(_context: click.Context, _option: click.Parameter, value: Any) -> Any:
        for text in value if isinstance(value, tuple) else (value,) if value else ():
            try:
                parse(text)
            except ValueError as error:
                raise click.BadParameter(str(error)) from None
        return value

    return check


def _workers(_context: click.Context, _option: click.Parameter, value: str | None) -> int | str | None:
    try:
        return None if value is None else parse_workers(int(value) if re.fullmatch("[0-9]{1,9}", value) else value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("run")
@click.option("--config", metavar="FILE", help="Settings file; flags win over it.")
@click.option(
    "--listen",
    multiple=True,
    callback=_each(parse_server),
    metavar="ENDPOINT",
    help="Where to listen, as in tcp:25:interface=0.0.0.0; may be repeated.",
)
@click.option(
    "--backend", callback=_each(parse_client), metavar="ENDPOINT", help="The mail server, as in tcp:127.0.0.1:2525."
)
@click.option(
    "--policy",
    metavar="FILE|NAME",
    help="A policy file, or a shipped policy: internal-vrfy (default), no-vrfy, perimeter, mailguard.",
)
@click.option(
    "--relay-check",
    type=click.Choice(["enforce", "warn", "off"]),
    help="What to do if the backend would relay for outsiders.",
)
@click.option(
    "--workers",
    callback=_workers,
    metavar="N|auto",
    help="Processes that serve side by side; auto is one for each processor.  [default: 1]",
)
@click.option(
    "--reactor",
    type=click.Choice(["auto", "uvloop", "stock"]),
    default="auto",
    show_default=True,
    help="The event loop: uvloop where it is installed, or Twisted's own.",
)
def run_guard(
    config: str | None,
    listen: tuple[str, ...],
    backend: str | None,
    policy: str | None,
    relay_check: str | None,
    workers: int | str | None,
    reactor: Kind,
) -> int:
    """Serve clients, in front of a mail server."""
    # Without a handler they would end the process.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGUSR1})
    if config is None and not (listen and backend):
        raise click.UsageError("give --listen and --backend, or --config with a settings file")
    flags = {
        "listen": list(listen),
        "backend": backend,
        "policy": policy,
        "relay_check": relay_check,
        "workers": workers,
    }
    passed = systemd.passed_sockets()
    loaded = load(config, flags)
    again = partial(read, config, flags)
    workers_wanted = loaded.settings.workers
    number = len(os.sched_getaffinity(0)) if workers_wanted == "auto" else int(workers_wanted)
    if number == 1:
        return serve(loaded, reactor=reactor, again=again)
    from ..workers import service

    _raise_descriptor_limit()  # for the sockets of all workers
    _spare_collector()  # here too: what is never looked at again stays in memory once for all of them
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD_SIGNALS)

    def work(worker: Worker, configuration: Configuration) -> int:
        return serve(configuration, reactor=reactor, worker=worker)

    def keep(clerk: Clerk) -> int:
        return keep_office(clerk, again, reactor)

    return service.run(loaded, again, number, passed, work, keep)


def load(config: str | None, flags: Mapping[str, Any]) -> Configuration:
    """Load what may be served, and tell the warnings; raises as `read` does."""
    loaded = read(config, flags)
    for warning in loaded.warnings:
        click.echo(str(warning), err=True)
    return loaded


def serve(
    configuration: Configuration | Callable[[Any], Configuration],
    started: Callable[[Any, Service], Deferred[Any]] | None = None,
    reactor: Kind = "auto",
    worker: Worker | None = None,
    again: Read | None = None,
) -> int:
    """Run a reactor until the service ends; returns the exit status.

    `configuration` may be a function that makes it once there is a reactor; `started` is
    called when the service listens.  `reactor` is what --reactor takes.  `worker` is what this process is of a
    service of several.  `again` reads the configuration once more, at SIGHUP.
    """
    from ..service import Service

    installed = _reactor(reactor)
    if installed is None:
        return os.EX_UNAVAILABLE
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD_SIGNALS)
    descriptors = _raise_descriptor_limit()
    loaded = configuration if isinstance(configuration, Configuration) else configuration(installed)
    share = worker.share(loaded.settings) if worker else None
    service = Service(installed, loaded, share=share, read=again)
    sessions = loaded.settings.limits.sessions
    wanted = 2 * sessions + DESCRIPTORS_BESIDE
    if descriptors > 0:
        fits = service.reception.fits = max((descriptors - DESCRIPTORS_BESIDE) // 2, 1)
        if descriptors < wanted:
            takes = f"limits.sessions is {sessions}, which takes {wanted} descriptors"
            service.journal.service(f"{takes}; there may be {descriptors}, for {fits}", syslog.LOG_WARNING)
    _observe(service.journal, installed)
    _spare_collector()
    return _until_done(installed, service, started, worker)


def keep_office(clerk: Clerk, again: Read, reactor: Kind) -> int:
    """Keep the office of a service of several workers, until the supervisor says that it is enough."""
    from ..lifecycle.reloading import Reloading
    from ..office.office import Office
    from ..service import own_host_name

    installed = _reactor("auto" if reactor == "uvloop" else reactor)  # if it is not there the workers say so
    if installed is None:
        return os.EX_UNAVAILABLE
    _observe(clerk.journal, installed)
    clerk.journal.call_later = installed.callLater
    office = Office(
        installed, clerk.configuration, own_host_name(), clerk.facts, clerk.journal.service, clerk.order, True
    )

    def take(read: Configuration) -> Deferred[None]:
        office.reload(read)
        return succeed(None)

    # One after the other, since the later one counts.  What has become wrong since the supervisor read it is told at
    # the next reload.
    reload = Reloading(installed, again, take, lambda: None, lambda _faults: None)

    def end() -> None:
        office.stop()
        installed.stop()

    def start() -> None:
        # They come to all processes of a terminal, or of systemd.  Not SIG_IGN: a hook's program would have that, too.
        for number in HELD_SIGNALS:
            signal.signal(number, lambda *_: None)
        office.start()
        clerk.obey(installed, office, reload, end)

    installed.callWhenRunning(start)
    installed.run(installSignalHandlers=False)
    return os.EX_OK


def _reactor(kind: Kind) -> Any:
    """Install the reactor; None, and said why, if there is none of that kind."""
    from ..transport.reactor import install

    try:
        install(kind)
    except ImportError as error:
        click.echo(f"smtpguard: no uvloop ({error}): pip install uvloop, or --reactor stock", err=True)
        return None
    from twisted.internet import reactor as installed  # noqa: TID251 - the one place that starts one

    return installed


def _spare_collector() -> None:
    """Let Python look for garbage in cycles among what sessions make, not among what the service is made of."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)


def _until_done(
    reactor: Any,
    service: Service,
    started: Callable[[Any, Service], Deferred[Any]] | None,
    worker: Worker | None,
) -> int:
    status = [os.EX_SOFTWARE]

    def done(value: int) -> None:
        status[0] = value
        reactor.stop()

    def failed(failure: Failure) -> None:
        service.journal.service(f"start failed: {failure.getErrorMessage()}", syslog.LOG_CRIT)
        reactor.stop()

    def start() -> None:
        service.done.addCallback(done)
        starting = service.start()
        if started is not None:
            starting.addCallback(lambda _: started(reactor, service) if service.addresses else None)
        starting.addErrback(failed)
        if worker is not None:
            worker.obey(reactor, service)
            return
        for number in STOP_SIGNALS:
            signal.signal(number, lambda *_: reactor.callFromThread(service.stop))
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(service.reload))
        signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(service.journal.reopen))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)

    reactor.callWhenRunning(start)
    reactor.run(installSignalHandlers=False)
    return status[0]


def _observe(journal: Journal, reactor: Any) -> None:
    """Send Twisted's own warnings and our own tracebacks to the journal."""
    observer = Internal(journal, reactor.callLater)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)


def _raise_descriptor_limit() -> int:
    """Take as many descriptors as we may, and return the number, or 0 where nobody says.

    The unit's system call filter has no `prlimit64`; what it sets as LimitNOFILE is what there is.
    """
    try:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        return 0
    return hard
