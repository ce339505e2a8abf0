"""`smtpguard run`: serve."""

from __future__ import annotations

import gc
import os
import re
import resource
import signal
import syslog
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import click
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import implementer

from ..config import policy_file, settings
from ..config.endpoints import parse_client, parse_server
from ..config.faults import Fault, Faulty
from ..config.fields import workers as parse_workers
from ..config.policy_file import PolicyFile
from ..config.settings import Settings
from ..journal.journal import Journal
from ..net import systemd
from ..tls import settings as tls_settings
from ..tls.settings import LoadedTls

if TYPE_CHECKING:
    # Imported when it is needed: with it comes what takes the sockets of systemd out of the environment.
    from ..service import Service
    from ..transport.reactor import Kind
    from ..workers.worker import Worker

DESCRIPTORS_BESIDE: Final = 64
"""Descriptors that are no session's: listeners, the log, the event loop, look-ups of names."""
GARBAGE_OBJECTS: Final = 20_000
"""New objects before Python looks for cycles among them: a few MB.  Its own 700 is a look every few sessions, and a
session leaves no cycle behind."""
STOP_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT})
HELD_SIGNALS: Final = STOP_SIGNALS | {signal.SIGHUP}
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
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # without a handler it would end the process
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
    loaded, rules, tls = load(config, flags)
    number = len(os.sched_getaffinity(0)) if loaded.workers == "auto" else int(loaded.workers)
    if number == 1:
        return serve(loaded, rules, tls, reactor=reactor)
    from ..workers import service

    _raise_descriptor_limit()  # for the sockets of all workers
    _spare_collector()  # here too: what is never looked at again stays in memory once for all of them
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD_SIGNALS)

    def work(worker: Worker, tls: LoadedTls) -> int:
        return serve(loaded, rules, tls, reactor=reactor, worker=worker)

    return service.run(loaded, rules, tls, number, passed, work)


def load(config: str | None, flags: Mapping[str, Any]) -> tuple[Settings, PolicyFile, LoadedTls]:
    """Load what may be served: settings, policy and certificates without faults, the policy's own tests passing.

    Raises Faulty, or OSError for a file that cannot be read.
    """
    loaded = settings.load(config, flags)
    faults: list[Fault] = []
    policy: PolicyFile | None = None
    tls: LoadedTls | None = None
    try:
        policy = policy_file.load(policy_file.find(loaded.settings.policy))
        faults += loaded.faults_with(policy.policy)
        faults += policy.faults_with(listener.label for listener in loaded.settings.listen)
        faults += policy.failures()
    except Faulty as error:
        faults += error.faults
    try:
        tls = tls_settings.load(loaded.settings)
    except Faulty as error:
        faults += error.faults
    if faults or policy is None or tls is None:
        raise Faulty(faults)
    for warning in (*policy.warnings, *loaded.warnings_with(policy.policy), *tls.warnings):
        click.echo(str(warning), err=True)
    return loaded.settings, policy, tls


def serve(
    settings_for: Settings | Callable[[Any], Settings],
    policy: PolicyFile,
    tls: LoadedTls | None = None,
    started: Callable[[Any, Service], Deferred[Any]] | None = None,
    reactor: Kind = "auto",
    worker: Worker | None = None,
) -> int:
    """Run a reactor until the service ends; returns the exit status.

    `settings_for` may be a function that makes the settings once there is a reactor; `started` is
    called when the service listens.  `reactor` is what --reactor takes.  `worker` is what this process is of a
    service of several.
    """
    from ..service import Service
    from ..transport.reactor import install

    try:
        install(reactor)
    except ImportError as error:
        click.echo(f"smtpguard: no uvloop ({error}): pip install uvloop, or --reactor stock", err=True)
        return os.EX_UNAVAILABLE
    from twisted.internet import reactor as installed  # noqa: TID251 - the one place that starts one

    signal.pthread_sigmask(signal.SIG_BLOCK, HELD_SIGNALS)
    descriptors = _raise_descriptor_limit()
    loaded = settings_for if isinstance(settings_for, Settings) else settings_for(installed)
    share = worker.share(loaded) if worker else None
    service = Service(installed, loaded, policy, tls or tls_settings.load(loaded), share=share)
    wanted = 2 * loaded.limits.sessions + DESCRIPTORS_BESIDE
    if 0 < descriptors < wanted:
        text = (
            f"limits.sessions is {loaded.limits.sessions}, which takes {wanted} descriptors; there may be {descriptors}"
        )
        service.journal.service(text, syslog.LOG_WARNING)
    _observe(service.journal)
    _spare_collector()
    return _until_done(installed, service, loaded, started, worker)


def _spare_collector() -> None:
    """Let Python look for garbage in cycles among what sessions make, not among what the service is made of."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)


class Reload:
    """SIGHUP: reads the certificates again, in a thread; with any fault, what is in use stays in use.

    What is asked for while they are read is done behind it, once.
    """

    def __init__(self, reactor: Any, service: Service, loaded: Settings) -> None:
        self._reactor = reactor
        self._service = service
        self._loaded = loaded
        self._reading = self._again = False

    def __call__(self) -> None:
        if self._reading:
            self._again = True
            return
        self._reading = True
        reading = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), tls_settings.load, self._loaded)
        reading.addCallbacks(self._read, self._failed).addBoth(lambda _: self._done())

    def _read(self, tls: LoadedTls) -> None:
        for warning in tls.warnings:
            self._service.journal.service(str(warning), syslog.LOG_WARNING)
        self._service.reload(tls)

    def _failed(self, failure: Failure) -> None:
        faults = failure.value.faults if isinstance(failure.value, Faulty) else [failure.getErrorMessage()]
        for fault in faults:
            self._service.journal.service(str(fault), syslog.LOG_ERR)
        self._service.journal.service("SIGHUP: the certificates in use stay in use", syslog.LOG_ERR)

    def _done(self) -> None:
        self._reading = False
        if self._again:
            self._again = False
            self()


def _until_done(
    reactor: Any,
    service: Service,
    loaded: Settings,
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
        reload = Reload(reactor, service, loaded)
        if worker is not None:
            worker.obey(reactor, service, reload)
            return
        for number in STOP_SIGNALS:
            signal.signal(number, lambda *_: reactor.callFromThread(service.stop))
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(reload))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)

    reactor.callWhenRunning(start)
    reactor.run(installSignalHandlers=False)
    return status[0]


def _observe(journal: Journal) -> None:
    """Send Twisted's own warnings and our own tracebacks to the journal, one line each."""

    @implementer(ILogObserver)
    def observer(event: Any) -> None:
        if event.get("log_level", LogLevel.info) >= LogLevel.warn:
            text = formatEvent(event)
            failure = event.get("log_failure")
            if failure is not None:
                text = f"{text}: {failure.getTraceback()}"
            journal.service(" | ".join(text.splitlines()), syslog.LOG_ERR, "internal")

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
