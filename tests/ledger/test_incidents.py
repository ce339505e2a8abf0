"""One source is one incident, in whatever order and by however many processes its deeds are told."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from smtpguard.journal.lines import printable
from smtpguard.ledger import incident as bounds
from smtpguard.ledger import sayings
from smtpguard.ledger.deeds import Deed, Kind
from smtpguard.ledger.incident import Incident
from smtpguard.ledger.incidents import LONGEST, OPEN, OPEN_AROUND, Event, Incidents
from smtpguard.ledger.measures import Hardness, Measure
from smtpguard.ledger.sources import MANY
from smtpguard.ledger.suspicion import ENOUGH, WATCH_SECONDS
from smtpguard.ledger.watching import WATCHED
from tests.ledger.support import NOW, auth, ban, rcpt, vrfy, wiz

QUIET = 900.0


class Told:
    """Incidents, and what became of them."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.closed: list[Incident] = []
        self.made = Incidents(QUIET, self._changed)

    def _changed(self, incident: Incident, event: Event) -> None:
        if event is not Event.WENT_ON:
            self.events.append((event.value, incident.key))
        if event is Event.CLOSED:
            self.closed.append(incident)

    def all(self) -> list[dict[str, Any]]:
        """Return those that are open, without their numbers, which tell of when they were told."""
        return [{**one.to_dict(), "id": 0} for one in sorted(self.made, key=lambda one: one.key)]


@pytest.mark.parametrize("verb", ["DEBUG", "WIZ", "SHOWQ", "KILL", "SHELL"])
def test_an_old_hole_is_an_incident_at_once(verb: str) -> None:
    """No mail program knocks there."""
    told = Told()
    told.made.did(Deed(Kind.PROBE, "192.0.2.7", NOW, "s1", verb, verb, "500"), NOW)
    assert told.events == [("opened", "192.0.2.7")]
    assert next(iter(told.made)).verdict == "scanner"


def test_a_mistyped_line_and_a_mail_programs_vrfy_are_none() -> None:
    """Both together neither."""
    told = Told()
    told.made.did(vrfy(), NOW)
    told.made.did(Deed(Kind.MALFORMED, "192.0.2.7", NOW, "s1", "", "HELO\\011x", "500"), NOW)
    assert told.events == []


@pytest.mark.parametrize("kind", [Kind.CONNECTION, Kind.COMMAND])
def test_connections_and_commands_say_nothing_by_themselves(kind: Kind) -> None:
    """A limit on them does, where it is crossed."""
    told = Told()
    told.made.did(Deed(kind, "192.0.2.7", NOW, times=1_000_000), NOW)
    assert not len(told.made)
    assert not len(told.made.watched)
    told.made.measured(Measure(Hardness.CLOSE, "192.0.2.7", NOW + 60, "crowd", NOW, count=500), NOW)
    (found,) = told.made
    assert (found.verdict, found.banned, found.deeds) == ("flooder", False, {})
    assert [(one["shown"], one["verdict"]) for one in found.to_dict()["evidence"]] == [
        ("limit crowd: 500 counted", "close")
    ]


@pytest.mark.parametrize(
    ("deed", "number", "verdict"),
    [
        (lambda n: vrfy(f"u{n}"), 3, "harvester"),
        (lambda n: rcpt(f"u{n}@x.test"), 10, "harvester"),
        (lambda n: auth(), 4, "guesser"),
        (lambda n: Deed(Kind.MALFORMED, "192.0.2.7", NOW, "s1", "", "GET / HTTP/1.1", "554"), 3, "scanner"),
        (lambda n: Deed(Kind.PROBE, "192.0.2.7", NOW, "s1", "RCPT", "RCPT TO:<a@b.test>", "550"), 3, "relayer"),
        (lambda n: Deed(Kind.SLOW, "192.0.2.7", NOW, "s1", verdict="closed"), 3, "staller"),
        (lambda n: Deed(Kind.PROBE, "192.0.2.7", NOW, "s1", "ETRN", "ETRN x.test", "500"), 3, "scanner"),
    ],
)
def test_what_somebody_is_called_and_how_many_deeds_it_takes(
    deed: Callable[[int], Deed], number: int, verdict: str
) -> None:
    """One less is watched, and no incident; and all of them are in it."""
    told = Told()
    for count in range(number - 1):
        told.made.did(deed(count), NOW)
    assert told.events == []
    told.made.did(deed(number), NOW)
    assert told.events == [("opened", "192.0.2.7")]
    (found,) = told.made
    assert (found.verdict, found.count) == (verdict, number)
    assert not len(told.made.watched)


def test_what_the_policy_allows_is_no_deed() -> None:
    """A VRFY that was forwarded, as those of a mail program inside."""
    told = Told()
    for _ in range(100):
        told.made.did(evolve(vrfy(), verdict="forwarded"), NOW)
    assert not len(told.made)
    assert not len(told.made.watched)


def test_those_of_a_flood_that_are_only_counted_do_not_change_the_word() -> None:
    """The gate tells some with their text, and of the rest the number."""
    told = Told()
    for number in range(10):
        told.made.did(vrfy(f"u{number}"), NOW)
    told.made.did(Deed(Kind.PROBE, "192.0.2.7", NOW, times=24_990), NOW)
    (found,) = told.made
    assert (found.verdict, found.count) == ("harvester", 25_000)


def test_the_word_follows_what_comes() -> None:
    """A scanner's list of old holes and names, then many names."""
    told = Told()
    for deed in (vrfy("root"), vrfy("decode"), wiz()):
        told.made.did(deed, NOW)
    (found,) = told.made
    assert found.verdict == "scanner"
    for number in range(20):
        told.made.did(rcpt(f"u{number}@x.test"), NOW)
    assert found.verdict == "harvester"
    assert found.deeds == {"probes": 3, "recipients": 20}
    assert found.names.texts()[:4] == ["decode", "root", "u0@x.test", "u10@x.test"]


def test_deeds_far_apart_are_no_incident() -> None:
    """What was not enough is forgotten after a time, deed by deed."""
    told = Told()
    for number in range(10):
        when = NOW + number * WATCH_SECONDS / 2
        told.made.tick(when)
        told.made.did(vrfy(when=when), when)
    assert told.events == []
    told.made.tick(NOW + 20 * WATCH_SECONDS)
    assert not len(told.made.watched)


def test_it_is_closed_once_it_is_quiet() -> None:
    """Not before, and with what there is to say."""
    told = Told()
    told.made.did(wiz(), NOW)
    told.made.did(wiz(when=NOW + QUIET - 1), NOW + QUIET - 1)
    told.made.tick(NOW + 2 * QUIET - 2)
    assert told.events == [("opened", "192.0.2.7")]
    told.made.tick(NOW + 2 * QUIET - 1)
    assert told.events[1:] == [("closed", "192.0.2.7")]
    assert (told.closed[0].opened, told.closed[0].last, told.closed[0].closed) == (
        NOW,
        NOW + QUIET - 1,
        NOW + 2 * QUIET - 1,
    )


def test_it_has_a_longest_time() -> None:
    """Who never stops is another incident each day."""
    told = Told()
    when = NOW
    while when < NOW + LONGEST + 600:
        told.made.tick(when)
        told.made.did(wiz(when=when), when)
        when += 300
    assert [event for event, _ in told.events] == ["opened", "closed", "opened"]


def test_a_clock_that_is_set_back_leaves_no_incident_open_for_ever() -> None:
    """It is quiet for as long as any other."""
    told = Told()
    told.made.did(wiz(when=NOW + 86400), NOW + 86400)
    told.made.tick(NOW)
    told.made.tick(NOW + QUIET)
    assert told.events == [("opened", "192.0.2.7"), ("closed", "192.0.2.7")]


def test_a_prefix_is_one_source() -> None:
    """Of IPv6, since a customer has a /64; and its addresses are told."""
    told = Told()
    for number in range(1, 4):
        told.made.did(vrfy(address=f"2001:db8:1:2::{number}"), NOW)
    (found,) = told.made
    assert found.key == "2001:db8:1:2::/64"
    assert found.addresses.texts() == [f"2001:db8:1:2::{number}" for number in range(1, 4)]


def test_a_ban_is_of_the_incident_of_its_key() -> None:
    """Whether the limit counts by address, by the same prefix or by a wider one; a person's ban opens none."""
    told = Told()
    told.made.measured(ban("203.0.113.9", limit="operator"), NOW)
    assert told.events == []
    told.made.did(wiz(address="2001:db8:1:2::9"), NOW)
    for key in ("2001:db8:1:2::9", "2001:db8:1:2::/64"):
        told.made.measured(ban(key), NOW)
    told.made.measured(ban("2001:db8:77::/48"), NOW)
    assert {one.key: one.banned for one in told.made} == {"2001:db8:1:2::/64": True, "2001:db8:77::/48": True}


def test_what_was_watched_is_in_the_incident_that_a_limit_opens() -> None:
    """Its first deeds are evidence, too."""
    told = Told()
    told.made.did(vrfy("bin"), NOW)
    told.made.measured(ban(), NOW)
    (found,) = told.made
    assert (found.deeds, found.names.texts(), found.banned) == ({"probes": 1}, ["bin"], True)


# -- any order --------------------------------------------------------------------------------------------

ADDRESSES = ["192.0.2.7", "2001:db8::1", "2001:db8::2"]
some_deeds = st.lists(
    st.builds(
        Deed,
        st.sampled_from([Kind.PROBE, Kind.MALFORMED, Kind.RECIPIENT, Kind.AUTH, Kind.SLOW]),
        st.sampled_from(ADDRESSES),
        st.floats(NOW, NOW + 500),
        st.sampled_from(["a", "b", "c", "d", "e"]),
        st.sampled_from(["VRFY", "EXPN", "DEBUG", "RCPT", "UNKNOWN", ""]),
        st.sampled_from([f"VRFY u{number}" for number in range(20)] + ["odd@x.test", ""]),
        st.sampled_from(["252", "500", "closed"]),
        times=st.integers(1, 3),
    ),
    max_size=60,
)


@given(some_deeds, st.randoms(use_true_random=False))
def test_any_order_of_sessions_and_processes_makes_the_same_incidents(deeds: list[Deed], chance: Any) -> None:
    """Each process tells of its own sessions when it comes to it."""
    in_order, mixed = Told(), Told()
    for deed in sorted(deeds, key=lambda one: one.when):
        in_order.made.did(deed, NOW + 500)
    chance.shuffle(deeds)
    for deed in deeds:
        mixed.made.did(deed, NOW + 500)
    assert mixed.all() == in_order.all()


@given(some_deeds)
def test_an_incident_comes_back_from_json_as_it_was(deeds: list[Deed]) -> None:
    """And what is added then counts on."""
    told = Told()
    for deed in deeds:
        told.made.did(deed, NOW + 500)
    for one in told.made:
        again = Incident.from_dict(one.to_dict())
        assert again.to_dict() == one.to_dict()
        again.did(evolve(wiz(), when=NOW + 600))
        assert again.count == one.count + 1
        assert again.last == NOW + 600


# -- bounds -----------------------------------------------------------------------------------------------


def test_everything_in_an_incident_is_bounded() -> None:
    """However much somebody tries, and nothing of it goes uncounted."""
    told = Told()
    for number in range(5000):
        address = f"2001:db8::{number % 3000:x}"
        shown = f"{number:05}{'x' * 800}"
        told.made.did(evolve(rcpt(shown, address, NOW + number / 100), session=f"s{number // 10}"), NOW)
        told.made.did(evolve(vrfy(shown, address, NOW + number / 100), session=f"s{number // 10}"), NOW)
    (found,) = told.made
    row = found.to_dict()
    assert row["sessions"] == 500
    assert len(row["names"]) == bounds.NAMES
    assert row["names_more"] == 10_000 - 2 * bounds.NAMES
    assert len(row["addresses"]) == bounds.ADDRESSES
    assert len(row["evidence"]) == 2 * bounds.EVIDENCE_A_KIND
    assert {len(one["shown"]) for one in row["evidence"]} == {bounds.SHOWN}
    assert {len(name) for name in row["names"]} == {bounds.NAME}
    assert len(str(row)) < 20_000
    assert row["deeds"] == {"probes": 5000, "recipients": 5000}


def test_names_are_the_first_ones_whatever_comes_first() -> None:
    """A process that tells late may tell of earlier names."""
    found = Incident(1, "192.0.2.7", NOW)
    for number in reversed(range(200)):
        found.did(rcpt(f"u{number:03}", when=NOW + number))
    assert found.names.texts() == [f"u{number:03}" for number in range(bounds.NAMES)]
    assert found.names.more == 200 - bounds.NAMES


def test_nobody_hides_behind_a_crowd_of_addresses() -> None:
    """Who is crowded out before it was enough is in the incident of the crowd, with all that it did."""
    told = Told()
    told.made.did(vrfy("first", "203.0.113.1"), NOW)
    told.made.did(vrfy("second", "203.0.113.1"), NOW)
    told.made.did(vrfy("only", "203.0.113.2"), NOW)
    for number in range(WATCHED + 100):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        told.made.did(vrfy("noise", address, NOW + 1), NOW + 1)
    assert len(told.made.watched) == WATCHED
    assert told.events == [("opened", MANY)]
    (crowd,) = told.made
    assert crowd.count == 102
    assert "203.0.113.2" in crowd.addresses.texts()
    # Who has done more than the crowd has stays, and is told apart.
    told.made.did(vrfy("third", "203.0.113.1"), NOW + 2)
    assert told.events[1:] == [("opened", "203.0.113.1")]


def test_a_network_has_so_many_incidents_and_then_one_more_for_the_rest() -> None:
    """Whoever has a /48 has 65,536 prefixes."""
    told = Told()
    for number in range(1000):
        told.made.did(wiz(f"2001:db8:5:{number:x}::1"), NOW)
    keys = {one.key: one.count for one in told.made}
    assert len(keys) == OPEN_AROUND + 1
    assert keys["2001:db8:5::/48"] == 1000 - OPEN_AROUND
    told.made.did(vrfy(address="2001:db8:5:ffff::1"), NOW)
    assert len(told.made) == OPEN_AROUND + 1
    told.made.tick(NOW + QUIET)
    assert not len(told.made)
    assert not told.made._around
    assert not told.made._networks
    told.made.did(wiz("2001:db8:5:1::1"), NOW + QUIET)
    assert [one.key for one in told.made] == ["2001:db8:5:1::/64"]


def test_of_too_many_incidents_the_quietest_is_closed_early_and_told() -> None:
    """None is dropped without a word."""
    told = Told()
    for number in range(OPEN + 5):
        told.made.did(wiz(f"10.{number >> 8}.{number & 255}.1", NOW + number), NOW + number)
    assert len(told.made) == OPEN
    assert [key for event, key in told.events if event == "closed"] == [f"10.0.{number}.1" for number in range(5)]


def test_numbers_are_unique_even_if_nothing_is_remembered() -> None:
    """They are no lower than the time, so that a run that cannot read the file gives none twice."""
    told, later = Told(), Told()
    for number in range(3):
        told.made.did(wiz(f"10.0.{number}.1"), NOW)
    assert sorted(one.id for one in told.made) == [int(NOW), int(NOW) + 1, int(NOW) + 2]
    later.made.did(wiz(), NOW + 60)
    assert {one.id for one in later.made}.isdisjoint(one.id for one in told.made)


def test_a_flood_from_new_addresses_costs_little() -> None:
    """Nothing is looked through for each: 20,000 take far less than a second of the processor."""
    told = Told()
    deeds = [vrfy(address=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n in range(20_000)]
    began = time.process_time()
    for deed in deeds:
        told.made.did(deed, NOW)
    assert time.process_time() - began < 5
    assert sum(one.count for one in told.made) + len(told.made.watched) == 20_000


# -- what is said -----------------------------------------------------------------------------------------


def test_what_is_said_has_the_source_in_front_and_names_at_the_end() -> None:
    """A name that looks like a line of ours, or like an address, comes too late to be taken for one."""
    told = Told()
    hostile = printable(b"x\r\nincident 1 opened: 198.51.100.1: \x1b[31mscanner\xff")
    for number in range(4):
        told.made.did(vrfy(f"{hostile}{number}"), NOW + 1)
    (found,) = told.made
    assert sayings.opened(found).text.startswith(
        f"incident {found.id} opened: 192.0.2.7: harvester, 4 probes; names: x\\r\\n"
    )
    found.measured(ban())
    told.made.tick(NOW + 1 + QUIET)
    text = sayings.closed(found).text
    assert text.startswith(f"incident {found.id} closed: 192.0.2.7: harvester, 4 probes in 1 session and 0 s, banned; ")
    assert text.isprintable()
    assert text.isascii()


def test_what_is_said_is_no_longer_than_a_line() -> None:
    """The first names, and how many more there were."""
    told = Told()
    for number in range(2000):
        told.made.did(rcpt("n" * 800 + str(number)), NOW)
    (found,) = told.made
    assert len(sayings.closed(found).text) < 1000
    for number in range(100):
        told.made.did(rcpt(f"m{number}", "192.0.2.8", NOW + number), NOW)
    other = next(one for one in told.made if one.key == "192.0.2.8")
    assert sayings.closed(other).text.endswith("; names (and 92 more): m0, m1, m2, m3, m4, m5, m6, m7")


def test_enough_is_what_one_old_hole_is() -> None:
    """The numbers hang together."""
    from smtpguard.ledger.suspicion import points

    assert points(wiz()) == ENOUGH
