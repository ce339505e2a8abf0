"""The service as a whole: assembled from settings, started, reloaded, drained, stopped.

Contract: `Service.start` asks the backend whether it relays, opens the listeners and says so in the
log; `Service.reload` takes a new configuration in one turn, or none of it; `Service.stop` drains.
`Service.done` fires once with the exit status of sysexits(3).  The reactor is a parameter.
"""

from __future__ import annotations

import os
import socket
import syslog
import time
from collections.abc import Collection
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint

from .backends.backend_side import BackendUser
from .backends.circumstances import Circumstances
from .backends.pool import Pool
from .backends.relay_watch import WOULD_RELAY, Standing
from .journal.journal import no_names
from .journal.opening import make_journal, new_sinks, rewrite
from .ledger.reports import Report
from .lifecycle import systemd
from .lifecycle.announcing import announce, announce_end, announce_stop, cannot_listen, shown, status
from .lifecycle.configuration import Configuration, Read, in_place
from .lifecycle.ending import Ending
from .lifecycle.pulse import Pulse
from .lifecycle.reloading import LastReload, Refused, Reloading, refused, reloaded, same_question
from .lifecycle.share import Share
from .net import adopted, endpoints
from .net.factories import Making
from .office.desk import Desk
from .office.facts import Facts, ProcessFacts, facts_of
from .office.office import Office
from .sessions.client import ClientSide, Doorway
from .sessions.listener import Reception
from .sessions.resolver import HostNames


class Service:
    """A guard that runs."""

    def __init__(
        self,
        reactor: Any,
        configuration: Configuration,
        host: str | None = None,
        share: Share | None = None,
        read: Read | None = None,
    ) -> None:
        """`read` is for reloads; without it only the certificates are read again."""
        self.done: Deferred[int] = Deferred()
        self.configuration = configuration
        """What is in use; its policy has a version, and it knows when it was read."""
        self.last_reload: LastReload | None = None
        settings = configuration.settings
        self._reactor = reactor
        self._host = host or own_host_name()
        self._share = share
        self.journal = share.journal if share else make_journal(settings.log)
        self.journal.call_later = reactor.callLater
        self._names: HostNames | None = None
        self._behind = self._make_behind(configuration)
        places = share.places if share else None
        self.reception = Reception(
            reactor, settings, configuration.policy.policy, self.journal, self._behind, self._host, places
        )
        self._use(self._behind)
        self._doorways = [
            Doorway(at, context) for at, context in zip(settings.listen, configuration.tls.listeners, strict=True)
        ]
        self._making = [Making(partial(ClientSide, self.reception, doorway)) for doorway in self._doorways]
        self._served = share is not None and (share.replaces or share.believes)
        self._ports: list[IListeningPort] = []
        self._serves = self._reload_wanted = False
        self._ending = Ending(reactor, self.reception, lambda: self._end(os.EX_OK))
        self._ended = False
        self._pulse = Pulse(reactor, self.status)
        self._started = time.time()
        self._office: Office | None = None
        tell = share.tell if share else self._office_told
        by_prefix = share.places_by_prefix if share else None
        self.desk = Desk(reactor, self.reception, self.journal, lambda: self._behind, tell, by_prefix)
        self._reloading = Reloading(
            reactor, read or self._certificates_again, self._take, systemd.reloading, self._not_reloaded
        )

    @property
    def addresses(self) -> list[Any]:
        """Where the listeners are, in the order of the settings."""
        return [port.getHost() for port in self._ports]

    def status(self) -> str:
        """Return the status line."""
        return status(self.configuration, len(self.reception.sessions), self.reception.closed_because, self.last_reload)

    @inlineCallbacks
    def start(self) -> Any:
        """Ask, then listen.  Failures end in `done`, not in an exception."""
        if self._share is None:
            self._pulse.start()
            self._open_office()
        behind, settings = self._behind, self.configuration.settings
        unusable = behind.unusable()
        for fault in unusable:
            self.journal.service(fault, syslog.LOG_CRIT)
        if unusable:
            self._end(os.EX_CONFIG)
            return
        for name, address in settings.backend.bind.items():
            others = "others" if len(settings.backend.bind) > 1 else "clients"
            whose = others if name == "default" else f"clients in {name}"
            self.journal.service(f"{whose} reach the mail server from {address}, with what it allows that address")
        if self._share is not None and self._share.believes:
            behind.believe()
        yield behind.start()
        self.reception.closed_because = behind.closed_because
        self._tell_whether_shut()
        if self._share is not None and not self.stopping:
            yield self._share.prepared()
        if self.stopping:
            return
        for number, (listener, making) in enumerate(zip(settings.listen, self._making, strict=True)):
            try:
                port = yield self._endpoint(number).listen(making)
            except (CannotListenError, OSError) as error:
                text, code = cannot_listen(listener.endpoint, error)
                self.journal.service(text, syslog.LOG_CRIT)
                self._end(code)
                return
            self._ports.append(port)
        self.desk.start()
        if self._share:
            self._share.ready()
        else:
            announce(self.journal, self.configuration, [shown(port.getHost()) for port in self._ports])
            self._pulse.show("READY=1")
            self._tell_office()
        self._serves = True
        if self._reload_wanted:
            self._reloading()

    def _endpoint(self, number: int) -> IStreamServerEndpoint:
        text = self.configuration.settings.listen[number].endpoint
        if self._share:
            return adopted.server(self._reactor, text, self._share.listening[number]())
        return endpoints.server(self._reactor, text)

    # -- the office ----------------------------------------------------------------------------------

    def _open_office(self) -> None:
        self._office = Office(
            self._reactor, self.configuration, self._host, self._facts(), self.journal.service, self.desk.obey
        )
        self._office.start()

    def _office_told(self, report: Report) -> bool:
        if self._office is not None:
            self._office.told(report)
        return True

    def _facts(self) -> Facts:
        state = "stopping" if self.stopping else "serving" if self._ports else "starting"
        process = ProcessFacts("smtpguard", os.getpid(), self._started, state)
        listeners = [shown(port.getHost()) for port in self._ports]
        return facts_of(
            self.configuration,
            self.last_reload,
            listeners,
            [process],
            self._started,
            os.getpid(),
            self.stopping,
        )

    def _tell_office(self) -> None:
        if self._office is not None:
            self._office.know(self._facts())

    # -- the backend ---------------------------------------------------------------------------------

    def _make_behind(self, configuration: Configuration) -> Pool:
        """Make what connects to the backends; nothing is connected yet."""
        settings, policy = configuration.settings, configuration.policy.policy
        behind = Pool(
            Circumstances(self._reactor, settings, policy, self.journal, self._host),
            configuration.tls.backend,
            changed=lambda standing: self._standing(behind, standing),
            unfit=self._drain_those,
            looks=self._share is None or self._share.looks,
        )
        return behind

    def _use(self, behind: Pool) -> None:
        """Let sessions come to these backends from now on."""
        self._behind = behind
        dns = self.configuration.settings.dns
        if not dns.names:
            self._names = None
        elif self._names is None or self._names.settings != dns:
            if self._names is not None:
                self._names.let_go()
            self._names = HostNames(self._reactor, dns)
        self.journal.find_name = self._names.find if self._names else no_names
        behind.find_names_by(self.journal.find_name)
        self.reception.backend_away = behind.backend_away
        self.reception.closed_because = behind.closed_because

    def _standing(self, behind: Pool, standing: Standing) -> None:
        if behind is not self._behind:  # it asks for a configuration that may come
            return
        self.reception.closed_because = behind.closed_because
        self._tell_whether_shut()
        self._served |= standing is Standing.SERVE
        if standing is not Standing.RELAYS:
            return
        if not self._served:
            self._end(os.EX_CONFIG)
            return
        # It has become a relay while it was in use: mail in transfer gets through, and then nothing more.
        for session in list(self.reception.sessions):
            session.drain_or_stop()

    def _drain_those(self, users: Collection[BackendUser]) -> None:
        """Likewise, where the backend of some is one, while others serve."""
        for session in list(self.reception.sessions):
            if session in users:
                session.drain_or_stop()

    def _tell_whether_shut(self) -> None:
        if self._share is not None:
            self._share.shut(self.reception.closed_because or "")
        else:
            self._pulse.show()

    # -- what changes --------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read everything again, and serve under it: new sessions, while those that there are go on as they are.

        If anything is wrong with it, or nothing may be known of it yet, everything stays as it is; see `last_reload`.
        """
        if not self._serves:
            self._reload_wanted = True
        elif not self.stopping:
            self._reloading()

    @inlineCallbacks
    def _take(self, read: Configuration) -> Any:
        """Serve under what was read; raises Refused."""
        old = self.configuration
        new, warnings = in_place(old, read)
        behind = self._make_behind(new)
        if unusable := behind.unusable():
            raise Refused(tuple(unusable))
        known = self._behind.standing is Standing.SERVE and same_question(old, new)
        if known:
            behind.believe(self._behind)
        elif (yield behind.start()) is Standing.RELAYS:
            behind.let_go()
            raise Refused((WOULD_RELAY,))
        if self.stopping:
            behind.let_go()
            return
        self._swap(new, behind)
        self.last_reload = reloaded(self.journal, [*map(str, new.warnings), *warnings], new)
        self._pulse.show("READY=1")
        if self._office is not None:
            self._office.reload(new)
        self._tell_office()
        if known:
            behind.ask()

    def _swap(self, new: Configuration, behind: Pool) -> None:
        """In one turn: what comes from now on finds everything new."""
        self._behind.let_go()
        old, self.configuration = self.configuration, new
        rewrite(self.journal, new.settings.log, new_sinks(old.settings.log, new.settings.log))
        self.reception.serve_under(new.settings, new.policy.policy, behind)
        self._use(behind)
        for number, (section, context) in enumerate(zip(new.settings.listen, new.tls.listeners, strict=True)):
            if section == self._doorways[number].listener:
                # Who has come in, and begins TLS later, is shown the new certificate as well.
                self._doorways[number].context = context
            else:
                doorway = self._doorways[number] = Doorway(section, context)
                self._making[number].make = partial(ClientSide, self.reception, doorway)

    def _not_reloaded(self, faults: tuple[str, ...]) -> None:
        if self.stopping:
            return
        self.last_reload = refused(self.journal, faults, self.configuration)
        self._pulse.show("READY=1")
        self._tell_office()

    def _certificates_again(self) -> Configuration:
        return self.configuration.with_certificates_read_again()

    # -- the end -----------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """True once `stop` was called."""
        return self._ended or self._ending.drains

    def retire(self) -> None:
        """Stop listening, and end when the last session has ended, whenever that is: others serve who comes now."""
        if not self._ending.retires and not self.stopping:
            self._stop_listening()
            self._behind.let_go()
            self._ending.retire()

    def stop(self) -> None:
        """Stop listening, let transactions finish within `timeouts.shutdown`, then end with 0.

        A second call does not wait any longer.
        """
        if self._ended:
            return
        if self._ending.drains:
            self._ending.cut_off()
            return
        if self._share is None:
            systemd.notify("STOPPING=1\nSTATUS=stopping")
            announce_stop(self.journal, len(self.reception.sessions))
        self._stop_listening()
        self._behind.let_go()
        self._ending.drain(self.configuration.settings.timeouts.shutdown)
        self._tell_office()

    def _stop_listening(self) -> None:
        ports, self._ports = self._ports, []
        for port in ports:
            port.stopListening()

    def _end(self, status: int) -> None:
        if self._ended:
            return
        self._ended = True
        self._ending.done()
        self._behind.let_go()
        self._pulse.stop()
        self.desk.stop()
        if self._office is not None:
            self._office.stop()
        if self._share is None and self._ending.drains:
            announce_end(self.journal)
        self.journal.drain()
        self.done.callback(status)


def own_host_name() -> str:
    """Return this host's name, for replies; `localhost` if it has none that may stand in one."""
    name = socket.gethostname()
    return name if name.isascii() and name.replace(".", "").replace("-", "").isalnum() else "localhost"
