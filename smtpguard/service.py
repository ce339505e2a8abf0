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
from typing import Any, Final

from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IListeningPort

from . import __version__
from .config.endpoints import parse_client
from .config.policy_file import PolicyFile
from .config.settings import Log, Settings
from .journal.journal import Journal, Sink, no_names
from .journal.lines import Style
from .journal.sinks import SYSLOG_SOCKET, StderrSink, SyslogSink, syslog_is_there
from .net import endpoints
from .net.backend import BackendConnector
from .net.listener import ClientFactory, Reception
from .net.relay_check import Answer, Relaying, ask
from .net.resolver import HostNames
from .net.systemd import notify

ASK_AGAIN_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Between questions to a backend that gives no answer; the last one goes on."""


class Service:
    """A guard that runs."""

    def __init__(self, reactor: Any, settings: Settings, policy_file: PolicyFile, host: str | None = None) -> None:
        self.done: Deferred[int] = Deferred()
        self._reactor = reactor
        self._settings = settings
        self._policy_file = policy_file
        self._host = host or host_name()
        self.journal = make_journal(settings.log)
        if settings.dns.names:
            self.journal.find_name = HostNames(reactor, settings.dns).find
        policy = policy_file.policy
        self._backend = BackendConnector(reactor, settings.backend, policy.networks, settings.timeouts.connect)
        self.reception = Reception(reactor, settings, policy, self.journal, self._backend, self._host)
        self._ports: list[IListeningPort] = []
        self._stopping: IDelayedCall | None = None
        self._asking_again: IDelayedCall | None = None
        self._ended = False

    @property
    def addresses(self) -> list[Any]:
        """Where the listeners are, in the order of the settings."""
        return [port.getHost() for port in self._ports]

    @inlineCallbacks
    def start(self) -> Any:
        """Ask, then listen.  Failures end in `done`, not in an exception."""
        unusable = self._backend.unusable(self._settings.backend)
        for fault in unusable:
            self.journal.service(fault, syslog.LOG_CRIT)
        if unusable:
            self._end(os.EX_CONFIG)
            return
        for name, address in self._settings.backend.bind.items():
            others = "others" if len(self._settings.backend.bind) > 1 else "clients"
            whose = others if name == "default" else f"clients in {name}"
            self.journal.service(f"{whose} reach the mail server from {address}, with what it allows that address")
        if self._settings.relay_check != "off":
            answer = yield self._ask()
            if self._ended or not self._may_serve(answer):
                return
        for listener in self._settings.listen:
            try:
                port = yield endpoints.server(self._reactor, listener.endpoint).listen(
                    ClientFactory(self.reception, listener.label)
                )
            except (CannotListenError, OSError) as error:
                reason = getattr(error, "socketError", error)
                denied = getattr(reason, "errno", None) in (1, 13)
                tcp = listener.endpoint.startswith("tcp")
                hint = "; ports below 1024 need CAP_NET_BIND_SERVICE or a socket from systemd" if denied and tcp else ""
                self.journal.service(f"cannot listen at {listener.endpoint}: {reason}{hint}", syslog.LOG_CRIT)
                self._end(os.EX_NOPERM if denied else os.EX_UNAVAILABLE)
                return
            self._ports.append(port)
            self.journal.service(f"listening on {shown(port.getHost())}")
        self.journal.service(
            f"smtpguard {__version__} serves {self._settings.backend.endpoint} under {self._policy_file.path}"
        )
        notify(f"READY=1\nSTATUS=Serving {self._settings.backend.endpoint}")

    # -- the relay check ---------------------------------------------------------------------------

    def _ask(self) -> Deferred[Answer]:
        return ask(self._reactor, self._backend.for_outsiders, self._host, self._settings.relay_check_recipient)

    def _may_serve(self, answer: Answer) -> bool:
        """Act on what the backend said; False if the service ends."""
        enforced = self._settings.relay_check == "enforce"
        source = f"mail from {answer.source}" if answer.source else "mail from the guard"
        backend = self._settings.backend.endpoint
        if answer.relaying is Relaying.REFUSES:
            self.reception.closed_because = None
            self.journal.service(f"relay check: {backend} refuses to relay {source}: {answer.said}")
        elif answer.relaying is Relaying.RELAYS:
            text = (
                f"relay check: {backend} would relay {source} to anywhere ({answer.said}), so that everybody "
                f"outside could send through it. {self._advice()}; or see --relay-check"
            )
            self.journal.service(text, syslog.LOG_CRIT if enforced else syslog.LOG_WARNING)
            if enforced:
                self._end(os.EX_CONFIG)
                return False
        else:
            self._unknown(answer, enforced)
        return True

    def _advice(self) -> str:
        backend = self._settings.backend
        endpoint = parse_client(backend.endpoint)
        if endpoint.kind == "unix":
            return "A unix socket says nothing of who the client is: connect to the server by tcp:"
        if endpoint.option("host", 0) == "::1":
            return "There is one IPv6 loopback address only: connect to 127.0.0.1, and set `bind`"
        used = backend.bind.get("default")
        if used is not None:
            return (
                f"It relays for {used}: look for `Connect:127 RELAY` in its access map (sendmail on Debian has it; "
                "write Connect:127.0.0.1), or take an address outside 127.0.0.0/8, as 198.18.0.25 added to lo"
            )
        return (
            "Give outsiders an address that it does not relay for: "
            "backend: {endpoint: ..., bind: {internal: 127.0.0.1, default: 127.0.0.25}}"
        )

    def _unknown(self, answer: Answer, enforced: bool) -> None:
        waiting = "clients get 421 until it answers" if enforced else "serving all the same"
        if self.reception.closed_because is None:  # once, not at every try
            text = (
                f"relay check: {self._settings.backend.endpoint} gave no clear answer: {answer.said}; {waiting} "
                "(see relay_check_recipient and --relay-check)"
            )
            self.journal.service(text, syslog.LOG_WARNING)
        if not enforced:
            return
        self.reception.closed_because = "relay check without an answer yet"
        tries = iter(ASK_AGAIN_SECONDS)

        def again() -> None:
            self._asking_again = None
            self._ask().addCallback(settled)

        def settled(answer: Answer) -> None:
            if self._ended or self._stopping is not None:
                return
            if answer.relaying is Relaying.UNKNOWN:
                later()
            else:
                self._may_serve(answer)

        def later() -> None:
            self._asking_again = self._reactor.callLater(next(tries, ASK_AGAIN_SECONDS[-1]), again)

        later()

    # -- the end -----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop listening, let transactions finish within `timeouts.shutdown`, then end with 0.

        A second call does not wait any longer.
        """
        if self._ended:
            return
        if self._stopping is not None:
            self._cut_off()
            return
        notify("STOPPING=1")
        self.journal.service(f"stopping; {len(self.reception.sessions)} sessions")
        for port in self._ports:
            port.stopListening()
        self._stopping = self._reactor.callLater(self._settings.timeouts.shutdown, self._cut_off)
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
        self.journal.flush()
        for timer in (self._stopping, self._asking_again):
            if timer is not None and timer.active():
                timer.cancel()
        self.done.callback(status)


def make_journal(settings: Log) -> Journal:
    """Return the journal that the settings ask for; names are not looked up yet."""
    sinks: list[Sink] = []
    if settings.to in ("stderr", "both"):
        sinks.append(StderrSink(sys.stderr))
    if settings.to in ("syslog", "both"):
        sinks.append(SyslogSink(settings.ident))
        if not syslog_is_there():
            text = f"log: there is no {SYSLOG_SOCKET}: lines for syslog are lost until a syslog daemon makes it"
            StderrSink(sys.stderr).write(syslog.LOG_WARNING, text)
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
