"""Host names for the log.

Contract: `HostNames.find` calls back once with a confirmed name or None: the address has a name (PTR)
and that name has the address.  It is decoration: it decides nothing, and the answer may come late.
Looked up in /etc/hosts first, as the system's resolver does, then in the DNS.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import DNSLookupError
from twisted.names.client import Resolver
from twisted.names.dns import Record_A, Record_AAAA, Record_PTR
from twisted.names.error import DNSQueryTimeoutError, DomainError

from ..config.settings import Dns
from ..journal.lines import loggable_name
from ..policy.networks import Peer

IN_FLIGHT: Final = 128
"""Look-ups at once, each with a socket of its own; a client beyond that is logged without its name."""

Found = Callable[[str | None], None]


class HostNames:
    """Looks up and remembers."""

    def __init__(self, reactor: Any, settings: Dns, hosts_file: Path = Path("/etc/hosts")) -> None:
        self._reactor = reactor
        self.settings: Final = settings
        self._hosts = _hosts(hosts_file)
        self._known: OrderedDict[Peer, tuple[float, str | None]] = OrderedDict()
        self._waiting: dict[Peer, list[Found]] = {}
        servers = [(server, 53) for server in settings.servers] or None
        resolv = None if servers else "/etc/resolv.conf"
        # One try within the time that a log line may wait.
        self._resolver = Resolver(
            resolv=resolv, servers=servers, timeout=(max(1, int(settings.timeout)),), reactor=reactor
        )

    def let_go(self) -> None:
        """Look no more whether the system names other servers; look-ups under way go on."""
        timer = self._resolver._parseCall
        if timer is not None and timer.active():
            timer.cancel()

    def find(self, peer: Peer, found: Found) -> None:
        if not peer.family:
            found(None)
        elif peer.text in self._hosts:
            found(self._hosts[peer.text])
        elif peer in self._known and self._known[peer][0] > self._reactor.seconds():
            found(self._known[peer][1])
        elif peer in self._waiting:
            self._waiting[peer].append(found)
        elif len(self._waiting) >= IN_FLIGHT:
            found(None)
        else:
            self._waiting[peer] = [found]
            look_up: Deferred[str | None] = self._look_up(peer)
            look_up.addTimeout(self.settings.timeout, self._reactor)
            look_up.addErrback(lambda _failure: None)
            look_up.addCallback(lambda name: self._remember(peer, name))

    @inlineCallbacks
    def _look_up(self, peer: Peer) -> Any:
        try:
            answers, _, _ = yield self._resolver.lookupPointer(ip_address(peer.text).reverse_pointer)
            names = [str(a.payload.name) for a in answers if isinstance(a.payload, Record_PTR)]
            for name in filter(None, map(loggable_name, names[:1])):
                look_up: Any = self._resolver.lookupAddress if peer.family == 4 else self._resolver.lookupIPV6Address
                answers, _, _ = yield look_up(name)
                if any(_is(a.payload, peer) for a in answers):
                    return name
        except (DomainError, DNSQueryTimeoutError, DNSLookupError, OSError, ValueError):
            pass
        return None

    def _remember(self, peer: Peer, name: str | None) -> None:
        self._known[peer] = self._reactor.seconds() + self.settings.cache_for, name
        self._known.move_to_end(peer)
        if len(self._known) > self.settings.cache:
            self._known.popitem(last=False)
        for found in self._waiting.pop(peer):
            found(name)


def _is(payload: object, peer: Peer) -> bool:
    if isinstance(payload, Record_A | Record_AAAA) and payload.address is not None:
        return int.from_bytes(payload.address, "big") == peer.value
    return False


def _hosts(path: Path) -> dict[str, str]:
    """Read hosts(5): address to canonical name; the first line that has an address wins."""
    found: dict[str, str] = {}
    try:
        text = path.read_text("ascii", "replace")
    except OSError:
        return found
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) < 2:
            continue
        try:
            address = Peer.parse(words[0]).text
        except ValueError:
            continue
        name = loggable_name(words[1])
        if name is not None:
            found.setdefault(address, name)
    return found
