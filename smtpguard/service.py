"""The service as a whole: assembled from settings, started, drained, stopped.

Contract: `Service.start` asks the backend whether it relays, opens the listeners and says so in the
log; `Service.stop` drains.  `Service.done` fires once with the exit status of sysexits(3).  The
reactor is a parameter.
"""

from __future__ import annotations

import os
import socket
import sys
import syslog
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from attrs import frozen
from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IStreamServerEndpoint

from . import __version__
from .config.policy_file import PolicyFile
from .config.settings import Log, Settings
from .journal.journal import Journal, Sink, no_names
from .journal.lines import Style
from .journal.sinks import SYSLOG_SOCKET, StderrSink, SyslogSink, syslog_is_there
from .net import adopted, endpoints
from .net.backend import BackendConnector
from .net.client import ClientSide, Doorway
from .net.factories import Making
from .net.listener import Reception
from .net.places import Places
from .net.relay_watch import RelayWatch, Standing
from .net.resolver import HostNames
from .net.systemd import notify
from .tls.settings import LoadedTls

RELOADED: Final = "certificates were read again; settings and policy are read at start only"


@frozen
class Share:
    """What a process has of a service that is several (smtpguard.workers); a supervisor tells where they listen."""

    journal: Journal
    places: Places
    listening: Sequence[Callable[[], socket.socket]]
    """For each listener of the settings: listens, and returns the socket."""
    ready: Callable[[], None]
    """Told when this process serves."""
    reloaded: Callable[[], None]
    """Told when it shows new certificates."""
    replaces: bool
    """The service was there before this process: where it finds a relay it waits, and does not end."""


class Service:
    """A guard that runs."""

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        policy_file: PolicyFile,
        tls: LoadedTls,
        host: str | None = None,
        share: Share | None = None,
    ) -> None:
        self.done: Deferred[int] = Deferred()
        self._reactor = reactor
        self._settings = settings
        self._policy_file = policy_file
        self._host = host or host_name()
        self._share = share
        self.journal = share.journal if share else make_journal(settings.log)
        policy = policy_file.policy
        self._backend = BackendConnector(reactor, settings, policy.networks, self._host, tls.backend)
        if settings.dns.names:
            self.journal.find_name = self._backend.find_name = HostNames(reactor, settings.dns).find
        places = share.places if share else None
        self.reception = Reception(reactor, settings, policy, self.journal, self._backend, self._host, places)
        self._watch = RelayWatch(
            reactor, settings, policy, self._backend, self.journal, self._host, changed=self._standing
        )
        self.reception.backend_away = self._watch.backend_away
        self.reception.closed_because = self._watch.closed_because
        self._doorways = [Doorway(at, context) for at, context in zip(settings.listen, tls.listeners, strict=True)]
        self._served = share is not None and share.replaces
        self._ports: list[IListeningPort] = []
        self._stopping: IDelayedCall | None = None
        self._ended = False

    @property
    def addresses(self) -> list[Any]:
        """Where the listeners are, in the order of the settings."""
        return [port.getHost() for port in self._ports]

    @inlineCallbacks
    def start(self) -> Any:
        """Ask, then listen.  Failures end in `done`, not in an exception."""
        unusable = self._backend.unusable()
        for fault in unusable:
            self.journal.service(fault, syslog.LOG_CRIT)
        if unusable:
            self._end(os.EX_CONFIG)
            return
        for name, address in self._settings.backend.bind.items():
            others = "others" if len(self._settings.backend.bind) > 1 else "clients"
            whose = others if name == "default" else f"clients in {name}"
            self.journal.service(f"{whose} reach the mail server from {address}, with what it allows that address")
        yield self._watch.start()
        if self._ended:
            return
        for number, (listener, doorway) in enumerate(zip(self._settings.listen, self._doorways, strict=True)):
            try:
                port = yield self._endpoint(number).listen(Making(partial(ClientSide, self.reception, doorway)))
            except (CannotListenError, OSError) as error:
                text, status = cannot_listen(listener.endpoint, error)
                self.journal.service(text, syslog.LOG_CRIT)
                self._end(status)
                return
            self._ports.append(port)
        if self._share:
            self._share.ready()
        else:
            announce(self.journal, self._settings, self._policy_file, [shown(port.getHost()) for port in self._ports])

    def _endpoint(self, number: int) -> IStreamServerEndpoint:
        text = self._settings.listen[number].endpoint
        if self._share:
            return adopted.server(self._reactor, text, self._share.listening[number]())
        return endpoints.server(self._reactor, text)

    # -- what changes --------------------------------------------------------------------------------

    def reload(self, tls: LoadedTls) -> None:
        """Show new certificates from now on, and ask the backend anew; sessions go on as they are."""
        for number, doorway in enumerate(self._doorways):
            doorway.context = tls.listeners[number]
        self._backend.context = tls.backend
        if self._share:
            self._share.reloaded()
        else:
            self.journal.service(RELOADED)
        self._watch.ask()

    def _standing(self, standing: Standing) -> None:
        self.reception.closed_because = self._watch.closed_because
        self._served |= standing is Standing.SERVE
        if standing is not Standing.RELAYS:
            return
        if not self._served:
            self._end(os.EX_CONFIG)
            return
        # It has become a relay while it was in use: mail in transfer gets through, and then nothing more.
        for session in list(self.reception.sessions):
            session.drain_or_stop()

    # -- the end -----------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """True once `stop` was called."""
        return self._ended or self._stopping is not None

    def stop(self) -> None:
        """Stop listening, let transactions finish within `timeouts.shutdown`, then end with 0.

        A second call does not wait any longer.
        """
        if self._ended:
            return
        if self._stopping is not None:
            self._cut_off()
            return
        if self._share is None:
            announce_stop(self.journal, len(self.reception.sessions))
        for port in self._ports:
            port.stopListening()
        self._stopping = self._reactor.callLater(self._settings.timeouts.shutdown, self._cut_off)
        self._watch.stop()
        for arriving in list(self.reception.arriving):
            arriving.abort()
        for session in list(self.reception.sessions):
            session.drain()
        self._wait_for_sessions()

    def _wait_for_sessions(self) -> None:
        if self._ended:
            return
        if self.reception.sessions:
            self._reactor.callLater(0.05, self._wait_for_sessions)
        else:
            self._end(os.EX_OK)

    def _cut_off(self) -> None:
        for session in list(self.reception.sessions):
            session.stop()
        # One more turn for the replies to leave; lingering clients are not waited for.
        self._reactor.callLater(0.1, self._end, os.EX_OK)

    def _end(self, status: int) -> None:
        if self._ended:
            return
        self._ended = True
        self._watch.stop()
        self.journal.flush()
        if self._stopping is not None and self._stopping.active():
            self._stopping.cancel()
        self.done.callback(status)


def announce(journal: Journal, settings: Settings, policy: PolicyFile, places: Sequence[str], more: str = "") -> None:
    """Tell the log and systemd that the service listens at these places."""
    for place in places:
        journal.service(f"listening on {place}")
    backend = settings.backend.endpoint
    journal.service(f"smtpguard {__version__} serves {backend} under {policy.path}{more}")
    notify(f"READY=1\nSTATUS=Serving {backend}")


def announce_stop(journal: Journal, sessions: int) -> None:
    """Tell the log and systemd that the service takes no more clients."""
    notify("STOPPING=1")
    journal.service(f"stopping; {sessions} sessions")


def cannot_listen(endpoint: str, error: Exception) -> tuple[str, int]:
    """Return what to say, and the exit status."""
    reason = getattr(error, "socketError", error)
    denied = getattr(reason, "errno", None) in (1, 13)
    tcp = endpoint.startswith("tcp")
    hint = "; ports below 1024 need CAP_NET_BIND_SERVICE or a socket from systemd" if denied and tcp else ""
    return f"cannot listen at {endpoint}: {reason}{hint}", os.EX_NOPERM if denied else os.EX_UNAVAILABLE


def make_sinks(settings: Log) -> list[Sink]:
    """Return where the settings say that the log goes."""
    sinks: list[Sink] = []
    if settings.to in ("stderr", "both"):
        sinks.append(StderrSink(sys.stderr))
    if settings.to in ("syslog", "both"):
        sinks.append(SyslogSink(settings.ident))
        if not syslog_is_there():
            text = f"log: there is no {SYSLOG_SOCKET}: lines for syslog are lost until a syslog daemon makes it"
            StderrSink(sys.stderr).write(syslog.LOG_WARNING, text)
    return sinks


def make_journal(settings: Log, sinks: list[Sink] | None = None) -> Journal:
    """Return the journal that the settings ask for; names are not looked up yet."""
    sinks = make_sinks(settings) if sinks is None else sinks
    return Journal(sinks, settings.level, Style(settings.style), settings.format == "json", no_names)


def host_name() -> str:
    """Return this host's name, for replies; `localhost` if it has none that may stand in one."""
    name = socket.gethostname()
    return name if name.isascii() and name.replace(".", "").replace("-", "").isalnum() else "localhost"


def shown(address: Any) -> str:
    """Return an address as HOST:PORT."""
    if isinstance(address, UNIXAddress):
        return f"unix:{os.fsdecode(address.name or b'')}"
    host = f"[{address.host}]" if isinstance(address, IPv6Address) else address.host
    return f"{host}:{address.port}"
