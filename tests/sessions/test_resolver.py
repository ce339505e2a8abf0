"""Host names for the log; test_names.py asks a real name server."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet import defer
from twisted.internet.task import Clock
from twisted.names import dns
from twisted.names.error import DNSQueryTimeoutError, DomainError

from smtpguard.config.settings import Dns
from smtpguard.policy.networks import UNIX_PEER, Peer
from smtpguard.sessions.resolver import IN_FLIGHT, HostNames

RECORDS = {
    "9.113.0.203.in-addr.arpa": dns.Record_PTR("Host.example.org"),
    "Host.example.org": dns.Record_A("203.0.113.9"),
    "10.113.0.203.in-addr.arpa": dns.Record_PTR("liar.example.org"),
    "liar.example.org": dns.Record_A("192.0.2.1"),
    "11.113.0.203.in-addr.arpa": dns.Record_PTR("evil\n]: x.example.org"),
    "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": dns.Record_PTR("six.example.org"),
    "six.example.org": dns.Record_AAAA("2001:db8::9"),
}


class Zone:
    """Answers as a resolver of twisted.names does, from RECORDS."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.silent: list[defer.Deferred[Any]] | None = None

    def lookup(self, name: str) -> defer.Deferred[Any]:
        self.asked.append(name)
        if self.silent is not None:
            self.silent.append(defer.Deferred())
            return self.silent[-1]
        record = RECORDS.get(name)
        if record is None:
            return defer.fail(DomainError(name))
        return defer.succeed(([dns.RRHeader(name, record.TYPE, payload=record)], [], []))

    lookupPointer = lookupAddress = lookupIPV6Address = lookup


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def zone() -> Zone:
    return Zone()


@pytest.fixture
def names(clock: Clock, zone: Zone, tmp_path: Path) -> HostNames:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost other\n::1 ip6-localhost # six\nbroken\n192.0.2.9 bad;name\n", "ascii")
    found = HostNames(clock, Dns(servers=["127.0.0.1"], cache=2), hosts)
    found._resolver = cast(Any, zone)
    return found


def find(names: HostNames, address: str) -> list[str | None]:
    found: list[str | None] = []
    names.find(Peer.parse(address), found.append)
    return found


def test_a_name_counts_if_it_has_the_address(names: HostNames) -> None:
    """Reverse, then forwards, both families."""
    assert find(names, "203.0.113.9") == ["Host.example.org"]
    assert find(names, "::ffff:203.0.113.9") == ["Host.example.org"]
    assert find(names, "2001:db8::9") == ["six.example.org"]


@pytest.mark.parametrize("address", ["203.0.113.10", "203.0.113.11", "203.0.113.12"])
def test_an_unconfirmed_a_hostile_and_a_missing_name_do_not(names: HostNames, address: str) -> None:
    """The address stands alone then."""
    assert find(names, address) == [None]


def test_the_hosts_file_comes_first(names: HostNames, zone: Zone) -> None:
    """As for the system's own resolver; a name that could not stand in a log is none."""
    assert find(names, "127.0.0.1") == ["localhost"]
    assert find(names, "::1") == ["ip6-localhost"]
    assert zone.asked == []
    assert find(names, "192.0.2.9") == [None]


def test_a_client_without_address_has_no_name(names: HostNames) -> None:
    """A unix socket."""
    found: list[str | None] = []
    names.find(UNIX_PEER, found.append)
    assert found == [None]


def test_names_are_remembered_for_a_time_and_so_many(names: HostNames, zone: Zone, clock: Clock) -> None:
    """`dns.cache_for` and `dns.cache`."""
    find(names, "203.0.113.9")
    find(names, "203.0.113.9")
    assert len(zone.asked) == 2
    clock.advance(601)
    find(names, "203.0.113.9")
    assert len(zone.asked) == 4
    find(names, "203.0.113.10")
    find(names, "203.0.113.12")
    assert len(names._known) == 2


def test_a_silent_name_server_costs_no_more_than_its_time(names: HostNames, zone: Zone, clock: Clock) -> None:
    """One question for all who wait for the same name; then there is none."""
    zone.silent = []
    waiting = [find(names, "203.0.113.9"), find(names, "203.0.113.9")]
    assert waiting == [[], []]
    clock.advance(2.1)
    assert waiting == [[None], [None]]
    assert len(zone.asked) == 1


def test_a_name_server_that_gives_up_is_no_error(names: HostNames, zone: Zone) -> None:
    """Whatever happens, the line is written."""
    zone.silent = []
    found = find(names, "203.0.113.9")
    zone.silent[0].errback(DNSQueryTimeoutError(1))
    assert found == [None]


def test_look_ups_in_flight_are_bounded(names: HostNames, zone: Zone) -> None:
    """A scan from everywhere at once does not fill memory."""
    zone.silent = []
    for number in range(IN_FLIGHT):
        assert find(names, f"198.51.{number // 250}.{number % 250}") == []
    assert find(names, "203.0.113.9") == [None]
