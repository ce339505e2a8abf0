"""When the backend is asked whether it relays, and what follows from the answers."""

from __future__ import annotations

import io
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import Clock

from smtpguard.backends.backend import BackendConnector, Client
from smtpguard.backends.backend_side import BackendSide, BackendUser
from smtpguard.backends.circumstances import Circumstances
from smtpguard.backends.relay_watch import ASK_AGAIN_SECONDS, RelayWatch, Standing
from smtpguard.config.settings import Settings
from smtpguard.journal.journal import Journal
from smtpguard.journal.sinks import StderrSink
from smtpguard.net.deadlines import Deadlines
from tests.smtp.table import policy

from ..sessions.stage import Wire

DENIED = "550 5.7.1 Relaying denied"
RELAYS = "250 2.1.5 ok"
LISTEN = "tcp:2500:interface=127.0.0.1"


class Backend:
    """Stands for the connector: gives `rcpt` as its answer to RCPT, or cannot be reached if that is None."""

    def __init__(self, rcpt: str | None) -> None:
        self.rcpt = rcpt
        self.endpoint = "tcp:127.0.0.1:25"
        self.asked: list[str] = []
        self.silent = False

    def connect(self, user: BackendUser, client: Client) -> Deferred[Any]:
        self.asked.append(client.origin.peer.text if client.origin else client.peer.text)
        if self.rcpt is None:
            return fail(Refused())
        side = BackendSide(user, Deadlines(Clock()))
        side.makeConnection(Wire())
        if not self.silent:
            for reply in ("220 mx", "250 mx", "250 ok", self.rcpt, "250 ok", "221 bye"):
                side.dataReceived(reply.encode() + b"\r\n")
        return succeed(side)


class Stage:
    """A watch, its backend, its clock and its log."""

    def __init__(self, rcpt: str | None, *, rules: str = "rulesets: {}", **settings: Any) -> None:
        backend = {"endpoint": "tcp:127.0.0.1:25", **settings.pop("backend", {})}
        self.settings = Settings.model_validate(
            {"listen": settings.pop("listen", LISTEN), "backend": backend, **settings}
        )
        self.backend = Backend(rcpt)
        self.clock = Clock()
        self._log = io.StringIO()
        self.changes: list[Standing] = []
        connector: BackendConnector = self.backend  # type: ignore[assignment]
        journal = Journal([StderrSink(self._log, with_priority=False)])
        circumstances = Circumstances(self.clock, self.settings, policy(rules), journal, "guard.test")
        self.watch = RelayWatch(circumstances, connector, self.changes.append)

    def start(self) -> Standing:
        found: list[Standing] = []
        self.watch.start().addCallback(found.append)
        return found[0]

    def log(self) -> str:
        """Return the log since the last call."""
        text = self._log.getvalue()
        self._log.seek(0)
        self._log.truncate()
        return text


def test_a_backend_that_refuses_is_served_and_asked_again_from_time_to_time() -> None:
    """Nobody tells when it was restarted with another configuration."""
    stage = Stage(DENIED)
    assert stage.start() is Standing.SERVE
    assert stage.watch.closed_because is None
    assert "refuses to relay mail from" in stage.log()
    stage.clock.advance(stage.settings.relay_check_interval - 1)
    assert len(stage.backend.asked) == 1
    stage.clock.advance(1)
    assert len(stage.backend.asked) == 2
    assert stage.log() == ""  # nothing has changed


def test_under_enforce_nobody_is_served_until_there_is_an_answer() -> None:
    """It is asked again and again, with more and more time between."""
    stage = Stage(None)
    assert stage.start() is Standing.WAIT
    assert stage.watch.closed_because == "relay check without an answer yet"
    assert "clients get 421 until it answers" in stage.log()
    for number, seconds in enumerate((*ASK_AGAIN_SECONDS, ASK_AGAIN_SECONDS[-1]), start=2):
        stage.clock.advance(seconds)
        assert len(stage.backend.asked) == number
    assert stage.log() == ""
    stage.backend.rcpt = DENIED
    stage.clock.advance(ASK_AGAIN_SECONDS[-1])
    assert stage.changes == [Standing.SERVE]
    assert "refuses to relay" in stage.log()


def test_after_an_outage_nobody_is_served_until_it_was_asked_again() -> None:
    """What comes back may be another server, or the same with another configuration."""
    stage = Stage(DENIED)
    stage.start()
    stage.backend.rcpt = None
    stage.watch.backend_away(True)
    assert stage.watch.standing is Standing.WAIT
    assert "the mail server is away" in stage.log()
    stage.watch.backend_away(True)  # the next client finds the same
    assert len(stage.backend.asked) == 3
    stage.backend.rcpt = RELAYS
    stage.clock.advance(1)
    assert stage.changes[-1] is Standing.RELAYS
    assert stage.watch.closed_because == "the mail server would relay for outsiders (relay check)"
    assert "would relay mail from" in stage.log()
    stage.backend.rcpt = DENIED
    stage.clock.advance(2)
    assert stage.changes == [Standing.SERVE, Standing.WAIT, Standing.RELAYS, Standing.SERVE]
    assert stage.watch.closed_because is None


def test_a_connection_that_breaks_leads_to_a_question_and_turns_nobody_away() -> None:
    """A client can make its own connection break: not more than one question in ten seconds."""
    stage = Stage(DENIED)
    stage.start()
    for _ in range(50):
        stage.watch.backend_away(False)
    assert len(stage.backend.asked) == 1
    stage.clock.advance(11)
    for _ in range(50):
        stage.watch.backend_away(False)
    assert len(stage.backend.asked) == 2
    assert stage.watch.standing is Standing.SERVE


def test_under_transparent_one_client_for_whom_nothing_connects_turns_nobody_away() -> None:
    """The answers to its address may take another way; whether the server is away shows when it is asked."""
    stage = Stage(DENIED, backend={"identity": "transparent"})
    stage.start()
    stage.clock.advance(11)
    for _ in range(50):
        stage.watch.backend_away(True)
    assert len(stage.backend.asked) == 2
    assert stage.changes == [Standing.SERVE]
    stage.backend.rcpt = None
    stage.clock.advance(11)
    stage.watch.backend_away(True)
    assert stage.changes == [Standing.SERVE, Standing.WAIT]
    assert "clients get 421 until it answers" in stage.log()


def test_one_unclear_answer_in_between_turns_nobody_away() -> None:
    """As when it greylists the question; an outage is told of otherwise."""
    stage = Stage(DENIED)
    stage.start()
    stage.backend.rcpt = "451 4.7.1 greylisted"
    stage.watch.ask()
    assert stage.watch.standing is Standing.SERVE
    assert "gave no clear answer" in stage.log()


def test_a_question_is_asked_once_at_a_time_and_what_happens_meanwhile_is_asked_for_behind_it() -> None:
    """A hundred clients that find the backend gone do not ask a hundred times."""
    stage = Stage(DENIED)
    stage.start()
    stage.backend.silent = True
    for _ in range(100):
        stage.watch.backend_away(True)
    assert len(stage.backend.asked) == 2
    stage.backend.silent = False
    stage.clock.advance(60)
    stage.clock.advance(1)
    assert len(stage.backend.asked) == 3
    assert stage.watch.standing is Standing.SERVE


@pytest.mark.parametrize("rcpt", [RELAYS, None, "451 later"])
def test_warn_serves_whatever_the_answer(rcpt: str | None) -> None:
    """And tells."""
    stage = Stage(rcpt, relay_check="warn")
    assert stage.start() is Standing.SERVE
    assert "relay check: " in stage.log()
    stage.watch.backend_away(True)
    assert stage.watch.standing is Standing.SERVE


def test_off_asks_nothing() -> None:
    """Not after an outage either."""
    stage = Stage(RELAYS, relay_check="off")
    assert stage.start() is Standing.SERVE
    stage.watch.backend_away(True)
    stage.watch.ask()
    assert (stage.backend.asked, stage.log()) == ([], "")


@pytest.mark.parametrize("rcpt", [RELAYS, None, DENIED])
def test_where_the_policy_keeps_outsiders_from_relaying_any_backend_will_do(rcpt: str | None) -> None:
    """The check says so."""
    stage = Stage(rcpt, rules="relay_domains: [example.org]")
    assert stage.start() is Standing.SERVE
    if rcpt == RELAYS:
        assert "and `relay_domains` of the policy keeps outsiders from it" in stage.log()
    stage.watch.backend_away(True)
    assert stage.watch.standing is Standing.SERVE


def test_what_is_passed_through_is_not_kept_from_relaying() -> None:
    """Behind such a STARTTLS the guard sees no recipient."""
    listen = {"endpoint": LISTEN, "starttls": {"passthrough": ["old"]}}
    rules = "networks: {old: [203.0.113.0/24]}\nrelay_domains: [example.org]"
    assert Stage(RELAYS, rules=rules, listen=listen).start() is Standing.RELAYS
    assert Stage(DENIED, rules=rules, listen=listen).start() is Standing.SERVE


def test_what_breaks_close_behind_a_question_is_asked_about_later() -> None:
    """Put off, not left out: a server may be restarted as another one at any time."""
    stage = Stage(DENIED)
    stage.start()
    stage.clock.advance(3)
    stage.backend.rcpt = RELAYS
    stage.watch.backend_away(False)
    assert len(stage.backend.asked) == 1
    stage.clock.advance(7)
    assert len(stage.backend.asked) == 2
    assert stage.changes[-1] is Standing.RELAYS


def test_a_connection_that_cannot_even_be_tried_is_no_answer() -> None:
    """And the next question is asked all the same."""
    stage = Stage(DENIED)

    def connect(user: BackendUser, client: Client) -> Deferred[Any]:
        raise OSError("no more sockets")

    working, stage.backend.connect = stage.backend.connect, connect  # type: ignore[method-assign]
    assert stage.start() is Standing.WAIT
    stage.backend.connect = working  # type: ignore[method-assign]
    stage.clock.advance(1)
    assert stage.changes == [Standing.SERVE]


def test_it_asks_as_an_outsider_would_be_seen() -> None:
    """From an address that nobody has and that is in no network of the policy, once a family."""
    ways = {"endpoint_ipv6": "tcp:\\:\\:1:25", "identity": "transparent"}
    rules = "networks: {internal: [192.0.2.0/24, 198.51.100.0/24]}"
    stage = Stage(DENIED, rules=rules, backend=ways)
    stage.start()
    assert stage.backend.asked == ["203.0.113.1", "2001:db8::1"]
    assert "refuses to relay mail from 203.0.113.1: " in stage.log()
    stage = Stage(DENIED, backend={"identity": "xclient"}, relay_check_source="198.18.0.1")
    stage.start()
    assert stage.backend.asked == ["198.18.0.1"]
    stage = Stage(DENIED)
    stage.start()
    assert stage.backend.asked == ["unknown"]  # from where `bind` says


def test_one_family_that_relays_is_enough() -> None:
    """An open relay for IPv6 alone is one."""
    stage = Stage(DENIED, backend={"endpoint_ipv6": "tcp:\\:\\:1:25", "identity": "transparent"})
    refusing = stage.backend.connect

    def connect(user: BackendUser, client: Client) -> Deferred[Any]:
        stage.backend.rcpt = RELAYS if client.origin and client.origin.peer.family == 6 else DENIED
        return refusing(user, client)

    stage.backend.connect = connect  # type: ignore[method-assign]
    assert stage.start() is Standing.RELAYS


def test_a_stopped_watch_asks_no_more() -> None:
    """Nothing is left on the clock."""
    stage = Stage(None)
    stage.start()
    stage.watch.stop()
    assert not stage.clock.getDelayedCalls()
    stage.watch.backend_away(True)
    assert len(stage.backend.asked) == 1
