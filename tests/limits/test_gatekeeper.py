"""Limits applied to sessions, with a clock of the test's own: who is looked at when, and what is told on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import pytest
from twisted.internet.task import Clock

from smtpguard.ledger.deeds import Deed, Kind
from smtpguard.ledger.measures import Measure
from smtpguard.ledger.reports import Orders
from smtpguard.ledger.telling import SAMPLES, TOLD
from smtpguard.policy.limits import LONGEST_DELAY, Hardness, Prefixes
from smtpguard.policy.networks import Peer
from smtpguard.sessions.gatekeeper import ENFORCE_SECONDS, Gatekeeper
from smtpguard.smtp.effects import Authenticated, Judged, Note, RecipientRefused, Refused
from smtpguard.smtp.grammar import Command
from smtpguard.smtp.replies import Reply
from smtpguard.smtp.verdict import FORWARD, Action, Verdict

from .support import policy

pytestmark = pytest.mark.interpreted
"""Its sessions are stand-ins."""

CLIENT = Peer.parse("203.0.113.9")
VRFY = Command(b"VRFY george\r\n", b"VRFY", b"george")
REFUSED = Judged(VRFY, Verdict(Action.REPLY, Reply.parse("252 2.5.2 no"), rule="p.yaml:3 check_vrfy, rule 1"))
ALLOWED = Judged(VRFY, FORWARD)
CLOSE_AT_10 = "limits: {a: {count: probes, rate: 10/hour, then: close}}"


class Journal:
    """What a gatekeeper asks of a session's log."""

    def __init__(self, peer: Peer) -> None:
        self.peer, self.id = peer, "ID"


class Dialogue:
    """What it asks of a dialogue, and sets."""

    slowed = 0.0
    leaving = watched = False
    count_by = uncounted = 0


class Session:
    """A session without wires."""

    def __init__(self, peer: Peer = CLIENT) -> None:
        self.journal, self.dialogue, self.sent_away = Journal(peer), Dialogue(), 0

    def send_away(self) -> None:
        self.sent_away += 1


class Stand:
    """A gatekeeper, its sessions, and what it tells."""

    def __init__(self, limits: str = CLOSE_AT_10) -> None:
        self.clock = Clock()
        self.sessions: set[Session] = set()
        self.lines: list[str] = []
        self.deeds: list[Deed] = []
        self.measures: list[list[Measure]] = []
        self.before: list[int] = []
        """How many deeds had been told, each time that measures were."""
        self.keeper = Gatekeeper(self.clock, cast(Any, self), policy(limits), self.say, now=self.now)
        self.keeper.tell = self.deeds.extend
        self.keeper.tell_measures = self.follow
        self.keeper.start()

    def now(self) -> float:
        return 1e9 + float(self.clock.seconds())

    def follow(self, measures: Sequence[Measure], deeds: Sequence[Deed]) -> None:
        self.deeds.extend(deeds)
        self.measures.append(list(measures))
        self.before.append(len(self.deeds))

    def say(self, text: str, *_rest: object) -> None:
        self.lines.append(text)

    # smtpguard.sessions.gatekeeper.Guarded

    def sessions_of(self, peer: Peer) -> int:
        return sum(one.journal.peer == peer for one in self.sessions)

    def entered(self) -> Iterable[Peer]:
        return [one.journal.peer for one in self.sessions]

    def begin(self, peer: Peer = CLIENT) -> Session:
        """A client is received."""
        assert self.keeper.enters(peer) is None
        session = Session(peer)
        self.sessions.add(session)
        self.keeper.began(session, "smtp")  # type: ignore[arg-type]
        return session

    def note(self, session: Session, note: Note, times: int = 1) -> None:
        """Something happens in a session, so often."""
        for _ in range(times):
            self.keeper.noted(session, note)  # type: ignore[arg-type]


def test_who_crosses_a_limit_is_held_before_its_next_command_and_the_others_a_turn_later() -> None:
    """The flags at once, so that the dialogue sees them; the 421 from outside its effects."""
    stand = Stand()
    scanner, idle, other = stand.begin(), stand.begin(), stand.begin(Peer.parse("203.0.113.10"))
    stand.note(scanner, REFUSED, 10)
    assert not scanner.dialogue.leaving
    stand.note(scanner, REFUSED)
    assert scanner.dialogue.leaving
    assert [one.sent_away for one in (scanner, idle, other)] == [0, 0, 0]
    stand.clock.advance(ENFORCE_SECONDS)
    assert [one.sent_away for one in (scanner, idle, other)] == [1, 1, 0]
    assert stand.keeper.enters(CLIENT) is not None


def test_each_session_of_who_is_sent_away_is_held_behind_its_next_deed() -> None:
    """Whichever session crossed the limit, and with what: pipelined commands do not wait for a look at all sessions."""
    stand = Stand(
        "limits: {a: {count: probes, rate: 1000/hour, then: close}, b: {count: auth, rate: 1/hour, then: close}}"
    )
    first, *others = (stand.begin() for _ in range(5))
    for session in (first, *others):
        stand.note(session, REFUSED, 3)  # so that dozens more would pass without a look (gatekeeper.SHARES)
    stand.note(first, Authenticated("PLAIN", False), 2)
    assert first.dialogue.leaving
    for session in others:
        assert not session.dialogue.leaving
        stand.note(session, REFUSED)
        assert session.dialogue.leaving


@pytest.mark.parametrize("addresses", [1, 16, 50, 200])
def test_a_prefix_crosses_a_limit_by_its_sum_from_however_many_addresses_within_a_second(addresses: int) -> None:
    """What passes of each without a look is within what is left for all of them: one more deed a session, no more."""
    stand = Stand("limits: {a: {count: probes, rate: 3000/hour, then: close}}")
    sessions = [stand.begin(Peer.parse(f"2001:db8::{number:x}")) for number in range(1, addresses + 1)]
    done = 0
    for times in (12, 4000):  # first all that is told one by one, then as much as each may
        for session in sessions:
            for _ in range(times):
                if not session.dialogue.leaving:
                    stand.note(session, REFUSED)
                    done += 1
    assert all(session.dialogue.leaving for session in sessions)
    assert 3000 < done <= 3000 + addresses


def test_each_session_of_who_is_slowed_or_banned_by_orders_is_held_behind_its_next_deed() -> None:
    """Also where nobody is over a limit here."""
    for hardness in (Hardness.DELAY, Hardness.BAN):
        stand = Stand()
        sessions = [stand.begin() for _ in range(3)]
        now = stand.now()
        stand.keeper.obey(Orders((Measure(hardness, "203.0.113.9", now + 60, "a", now, 5.0, 9),)))
        for session in sessions:
            stand.note(session, REFUSED)
            held = session.dialogue.slowed, session.dialogue.leaving
            assert held == ((5.0, False) if hardness is Hardness.DELAY else (0.0, True))


def test_what_led_to_a_measure_is_told_no_later_than_the_measure() -> None:
    """Or nobody would know, when an incident begins with it, what it is; what others did waits for its second."""
    stand = Stand("limits: {a: {count: probes, rate: 2/hour, then: {ban: 1 hour}}}")
    stand.note(stand.begin(Peer.parse("203.0.113.10")), REFUSED)
    stand.note(stand.begin(), REFUSED, 3)
    stand.clock.advance(ENFORCE_SECONDS)
    assert stand.before == [3]
    assert {deed.address for deed in stand.deeds} == {"203.0.113.9"}
    stand.clock.advance(1.0)
    assert [deed.shown for deed in stand.deeds if deed.address == "203.0.113.10" and deed.shown] == ["VRFY george"]
    assert sum(deed.times for deed in stand.deeds if deed.kind is Kind.PROBE) == 4


def test_a_limit_is_crossed_by_the_same_deed_in_however_many_sessions_and_seconds() -> None:
    """What passes without a look is counted in time."""
    for each in (1, 2, 5):
        stand = Stand("limits: {a: {count: probes, rate: 100/hour, then: close}}")
        sessions = [stand.begin() for _ in range(each)]
        done = 0
        while not any(one.dialogue.leaving for one in sessions):
            stand.note(sessions[done % each], REFUSED)
            done += 1
            if done % 7 == 0:
                stand.clock.advance(0.3)
        assert done == 101


def test_a_flood_is_told_by_its_number_and_a_few_samples() -> None:
    """No deed is lost from the count."""
    stand = Stand("limits: {a: {count: probes, rate: 1000000/hour, then: close}}")
    session = stand.begin()
    stand.note(session, REFUSED, 5000)
    stand.clock.advance(1.0)
    assert sum(deed.times for deed in stand.deeds) == 5000
    assert len(stand.deeds) == SAMPLES + 1
    first = stand.deeds[0]
    assert (first.kind, first.address, first.verb, first.shown) == (Kind.PROBE, "203.0.113.9", "VRFY", "VRFY george")
    assert (first.session, first.verdict, first.rule) == ("ID", "252", "p.yaml:3 check_vrfy, rule 1")
    stand.note(session, REFUSED, 50)
    stand.clock.advance(1.0)
    assert sum(deed.times for deed in stand.deeds) == 5050


def test_deeds_from_very_many_addresses_are_bounded() -> None:
    """And counted nonetheless."""
    stand = Stand()
    for number in range(TOLD * 2):
        stand.note(Session(Peer.parse(f"10.{number // 65536}.{number // 256 % 256}.{number % 256}")), REFUSED, 2)
    stand.clock.advance(1.0)
    assert len(stand.deeds) <= 2 * TOLD
    crowd = Session(Peer.parse("10.0.7.207"))
    stand.note(crowd, REFUSED, 8)
    assert not crowd.dialogue.leaving
    stand.note(crowd, REFUSED)
    assert crowd.dialogue.leaving


@pytest.mark.parametrize(
    ("note", "kind", "shown"),
    [
        (Refused("control character", b"x\x07\xff\r\n", False), Kind.MALFORMED, "x\\007\\377"),
        (RecipientRefused(b"fred\x1b[2J@x.test", 550), Kind.RECIPIENT, "fred\\033[2J@x.test"),
        (Authenticated("PLAIN", False), Kind.AUTH, "PLAIN"),
        (
            Judged(Command(b"AUTH PLAIN c2VjcmV0\r\n", b"AUTH", b"PLAIN c2VjcmV0"), Verdict(Action.CLOSE)),
            Kind.PROBE,
            "AUTH PLAIN ***",
        ),
    ],
)
def test_what_is_told_may_be_shown(note: Note, kind: Kind, shown: str) -> None:
    """Nothing that a terminal would act on, and no password."""
    stand = Stand("")
    stand.note(stand.begin(), note)
    stand.clock.advance(1.0)
    (deed,) = stand.deeds
    assert (deed.kind, deed.shown) == (kind, shown)


def test_what_a_policy_lets_pass_is_told_of_outsiders_under_a_limit_alone() -> None:
    """An insider who asks for names as the policy allows is no suspect."""
    for limits, told in (("", 0), (CLOSE_AT_10, 1)):
        stand = Stand(limits)
        stand.note(stand.begin(), ALLOWED)
        stand.note(stand.begin(Peer.parse("127.0.0.1")), ALLOWED)
        stand.note(stand.begin(), Authenticated("PLAIN", True))
        stand.clock.advance(1.0)
        assert [deed.verdict for deed in stand.deeds] == ["forwarded"] * told


def test_bans_are_told_at_once_and_other_steps_with_the_next_second() -> None:
    """A second is long for a ban that others are to hold to."""
    stand = Stand("limits: {a: {count: probes, rate: 1/hour, then: [close, {over: 2, ban: 1 hour}]}}")
    session = stand.begin()
    stand.note(session, REFUSED, 2)
    stand.clock.advance(ENFORCE_SECONDS)
    assert stand.measures == []
    stand.note(session, REFUSED)
    stand.clock.advance(ENFORCE_SECONDS)
    assert [one.hardness for one in stand.measures[0]] == [Hardness.CLOSE, Hardness.BAN]
    stand.clock.advance(1.0)
    assert len(stand.measures) == 1


def test_orders_hold_for_sessions_that_there_are_and_are_taken_back() -> None:
    """A delay is set and ends; whoever wrote it into Redis cannot make anybody wait longer than a policy can."""
    stand = Stand("")
    session = stand.begin()
    now = stand.now()
    stand.keeper.obey(Orders((Measure(Hardness.DELAY, "203.0.113.9", now + 5, "x", now, 1e9, 9),)))
    stand.clock.advance(ENFORCE_SECONDS)
    assert session.dialogue.slowed == LONGEST_DELAY
    assert stand.begin().dialogue.slowed == LONGEST_DELAY
    for _ in range(6):
        stand.clock.advance(1.0)
    assert session.dialogue.slowed == 0.0
    stand.keeper.obey(Orders((Measure(Hardness.BAN, "203.0.113.9", now + 900, "x", now, 0.0, 9),)))
    stand.clock.advance(ENFORCE_SECONDS)
    assert session.sent_away == 1
    assert stand.keeper.enters(CLIENT) is not None
    stand.keeper.obey(Orders(lifted=("203.0.113.9",)))
    assert stand.keeper.enters(CLIENT) is None


def test_places_by_prefix_are_given_back_under_the_lengths_that_they_were_taken_under() -> None:
    """A reload may change them while clients are there, or begin to ask for them."""
    crowd = "limits: {{crowd: {{count: parallel, most: 2, then: close}}}}\nprefixes: {{ipv4: {length}}}"
    stand = Stand("")
    first, second = Peer.parse("203.0.113.1"), Peer.parse("203.0.113.2")
    sessions = [stand.begin(first), stand.begin(second)]
    stand.keeper.serve_under(policy(crowd.format(length=24)))
    assert stand.keeper.enters(Peer.parse("203.0.113.3")) is not None
    stand.keeper.serve_under(policy(crowd.format(length=32)))
    assert stand.keeper.enters(Peer.parse("203.0.113.3")) is None
    stand.keeper.left(Peer.parse("203.0.113.3"))
    stand.keeper.serve_under(policy(crowd.format(length=16)))
    for session in sessions:
        stand.sessions.remove(session)
        stand.keeper.left(session.journal.peer)
    assert [stand.keeper.enters(Peer.parse(f"203.0.{number}.1")) is None for number in range(3)] == [True, True, False]
    assert Prefixes() == policy("").limits.prefixes


def test_the_commands_of_a_session_that_ends_count_too() -> None:
    """Those behind the last part, which are all of a short session's."""
    stand = Stand("limits: {talkers: {count: commands, rate: 100/hour, then: close}}")
    session = stand.begin()
    assert (session.dialogue.count_by, session.dialogue.watched) == (5, True)
    session.dialogue.uncounted = 4
    for _ in range(25):
        stand.keeper.ended(cast(Any, session), {}, 1.0)
    assert stand.keeper.enters(CLIENT) is None
    stand.keeper.ended(cast(Any, session), {}, 1.0)
    assert stand.keeper.enters(CLIENT) is not None


def test_a_gate_that_stops_tells_what_there_is() -> None:
    """And leaves no timer."""
    stand = Stand()
    stand.note(stand.begin(), REFUSED, 30)
    stand.keeper.stop()
    assert sum(deed.times for deed in stand.deeds) == 30
    assert len(stand.measures) == 1
    assert stand.clock.getDelayedCalls() == []
