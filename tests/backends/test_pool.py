"""Several backends in memory: who is tried, who is checked, what operators see; and one, which is as it ever was."""

from __future__ import annotations

import errno
import json

import pytest
from twisted.internet.error import ConnectBindError, ConnectError

from smtpguard.backends.backend import Client
from smtpguard.backends.member import DOUBT_SECONDS
from smtpguard.backends.relay_watch import Standing
from smtpguard.policy.networks import UNKNOWN_PEER

from .pooled import DENIED, Pooled


def test_a_client_gets_the_banner_of_the_first_that_greets() -> None:
    """One for each that was tried, and only one."""
    stage = Pooled(3)
    stage.start_up()
    user = stage.client()
    (first,) = stage.new()
    first.refuse()
    (second,) = stage.new()
    second.say("421-4.3.2 not", "421 4.3.2 now")
    (third,) = stage.new()
    third.accept()
    assert (user.side, user.octets) == (None, b"")
    third.say("220 third")
    assert (user.octets, user.ended) == (b"220 third\r\n", "")
    assert second.wire.disconnecting
    assert user.side is not None
    assert user.side.endpoint == "tcp:127.0.0.1:3"
    third.say("250 more")
    assert user.octets.endswith(b"250 more\r\n")
    second.say("220 too late")
    second.lose()
    assert b"late" not in user.octets
    third.lose()
    assert user.ended == "lost"


def test_each_is_tried_once() -> None:
    """Then the client is told."""
    stage = Pooled(2)
    stage.start_up()
    user = stage.client()
    for _ in range(2):
        (made,) = stage.new()
        made.refuse()
    assert user.ended.startswith("Connection was refused")
    assert stage.new() == []
    user = stage.client()
    assert (user.ended, stage.new()) == ("no mail server is up", [])


def test_the_words_of_the_last_one_are_passed_on_whatever_they_are() -> None:
    """The session judges them as it would those of the only one."""
    stage = Pooled(2)
    stage.start_up()
    user = stage.client()
    (first,) = stage.new()
    first.lose()
    (second,) = stage.new()
    second.say("what is this")
    assert user.octets == b"what is this\r\n"


def test_a_refusal_for_good_is_passed_on_and_looked_into_once_in_a_while() -> None:
    """It may be about everybody; but no client can have a backend looked at as often as it likes."""
    stage = Pooled(2, backend={"balance": "order"})
    stage.start_up()
    stage.reactor.advance(DOUBT_SECONDS)
    checks = []
    for _ in range(2):
        user = stage.client()
        (made, *others) = stage.new()
        made.say("554 5.7.1 not you")
        assert (made.port, others, user.octets) == (1, [], b"554 5.7.1 not you\r\n")
        checks.append(stage.new())
        for check in checks[-1]:
            check.pass_check()
    assert [[check.port for check in made] for made in checks] == [[1], []]
    assert stage.states() == ["up", "up"]


def test_who_gives_up_hears_nothing_more() -> None:
    """Neither while it connects nor while it waits for the banner."""
    stage = Pooled(2)
    stage.start_up()
    user = stage.client()
    (made,) = stage.new()
    for accepted in (False, True):
        attempt = stage.pool.begin(user, Client(UNKNOWN_PEER, lambda: None), user.failed)
        assert attempt is not None
        (made,) = stage.new()
        if accepted:
            made.accept()
        attempt.cancel()
        attempt.cancel()
        if accepted:
            made.say("220 hello")
            assert made.wire.disconnecting
        assert (user.side, user.octets, user.ended) == (None, b"", "")
        assert stage.new() == []


@pytest.mark.parametrize(
    "error",
    [ConnectBindError(errno.EMFILE, "no descriptor"), ConnectError(errno.EADDRNOTAVAIL, "no port"), OSError(24, "x")],
    ids=["bind", "port", "descriptor"],
)
def test_what_is_wrong_with_this_host_takes_no_backend_out(error: Exception) -> None:
    """Else a guard without descriptors would think that all are down."""
    stage = Pooled(2)
    stage.start_up()
    user = stage.client()
    for _ in range(2):
        (made,) = stage.new()
        made.refuse(error)
    assert user.ended
    assert stage.states() == ["up", "up"]


def test_operators_see_what_is_up_and_since_when_and_what_was_wrong() -> None:
    """As JSON."""
    stage = Pooled(2)
    stage.start_up()
    stage.reactor.advance(100)
    for made in stage.new():
        made.pass_check()
    user = stage.client()
    stage.new()[0].refuse()
    stage.new()[0].say("220 second")
    assert user.octets
    stage.reactor.advance(0.25)
    first, second = json.loads(json.dumps(stage.pool.snapshot()))
    assert first == {
        "endpoint": "tcp:127.0.0.1:1",
        "state": "down",
        "for_seconds": 0.25,
        "fault": "cannot connect: Connection was refused by other side.",
        "sessions": 0,
        "connections": 0,
        "failures": 1,
        "next_try_seconds": 0.75,
    }
    assert (second["state"], second["sessions"], second["connections"], second["fault"]) == ("up", 1, 1, "")
    assert second["next_try_seconds"] is None
    assert stage.log().count("is down") == 1
    stage.reactor.advance(0.75)
    (check,) = stage.new()
    check.pass_check()
    assert stage.states() == ["up", "up"]
    assert "backend tcp:127.0.0.1:1 is up again after 1 s" in stage.log()


def test_one_that_relays_and_one_that_is_away_are_waited_for_and_end_nothing() -> None:
    """The one that is away may be the right one; only where all relay is it the settings' fault."""
    stage = Pooled(2, relay_check="enforce")
    stage.pool.start()
    first, second = stage.new()
    first.answer_relay_check("250 2.1.5 ok")
    second.refuse()
    assert stage.pool.standing is Standing.WAIT
    assert Standing.RELAYS not in stage.standings


def test_under_enforce_the_first_that_refuses_to_relay_is_enough_to_begin() -> None:
    """One that hangs holds up nobody; it is not used before it has answered."""
    stage = Pooled(2, relay_check="enforce")
    started: list[Standing] = []
    stage.pool.start().addCallback(started.append)
    first, second = stage.new()[:2]
    assert (started, stage.states(), stage.pool.standing) == ([], ["checking", "checking"], Standing.WAIT)
    second.answer_relay_check()
    assert (started, stage.states()) == ([Standing.SERVE], ["checking", "up"])
    stage.new()
    user = stage.client()
    stage.new()[0].say("220 second")
    assert user.octets == b"220 second\r\n"
    first.answer_relay_check()
    assert stage.states() == ["up", "up"]


def test_all_that_relay_are_a_fault_of_the_set_up_and_one_is_not() -> None:
    """With one of them there is a service, and its sessions end when that is found later."""
    stage = Pooled(2, relay_check="enforce")
    started: list[Standing] = []
    stage.pool.start().addCallback(started.append)
    for made in stage.new()[:2]:
        made.answer_relay_check("250 ok")
    assert started == [Standing.RELAYS]
    assert "relay" in str(stage.pool.closed_because)
    stage = Pooled(2, relay_check="enforce")
    stage.pool.start()
    for made in stage.new()[:2]:
        made.answer_relay_check()
    user = stage.client()
    stage.new()[-1].say("220 first")
    stage.pool.ask()
    for made, rcpt in zip(stage.new(), ("250 ok", DENIED), strict=True):
        made.answer_relay_check(rcpt)
    assert stage.states() == ["relays", "up"]
    assert stage.unfit == [{user}]
    assert stage.standings == [Standing.SERVE]


def test_back_from_an_outage_it_is_asked_before_it_is_used() -> None:
    """And an answer that was on its way when it went away does not count."""
    stage = Pooled(2, relay_check="enforce")
    stage.pool.start()
    for made in stage.new()[:2]:
        made.answer_relay_check()
    stage.new()
    stage.pool.ask()
    late = stage.new()[0]
    late.accept()
    stage.client()
    stage.new()[0].refuse()
    stage.new()
    late.answer_relay_check()
    assert stage.states()[0] == "down"
    stage.reactor.advance(1)
    (check,) = stage.new()
    check.pass_check()
    assert stage.states()[0] == "checking"
    (asked,) = stage.new()
    asked.answer_relay_check("250 ok")
    assert stage.states()[0] == "relays"


def test_who_waits_for_a_banner_is_not_served_by_one_that_has_to_be_asked_first() -> None:
    """It went away in between for another client; what greets now may be another server."""
    stage = Pooled(2, relay_check="enforce")
    stage.pool.start()
    for made in stage.new():
        made.answer_relay_check()
    patient = stage.client()
    (waiting,) = stage.new()
    waiting.accept()
    stage.client()
    stage.new()[0].refuse()
    stage.new()
    waiting.say("220 an open relay")
    assert patient.octets == b""
    stage.new()[0].say("220 second")
    assert patient.octets == b"220 second\r\n"


def test_a_session_that_breaks_leads_to_one_check_in_a_while() -> None:
    """A client can break its own connection, and it can do so again and again."""
    stage = Pooled(2, backend={"health": {"interval": 3600}})
    stage.start_up()
    stage.reactor.advance(20)
    before = len(stage.reactor.tcpClients)
    for _ in range(5):
        user = stage.client()
        stage.new()[-1].say("220 first")
        assert user.side is not None
        user.side.broke_off()
    assert len(stage.reactor.tcpClients) - before == 5 + 1
    assert stage.states() == ["up", "up"]


def test_a_reload_keeps_what_is_known() -> None:
    """What is down stays down, and is looked at; sessions are counted on."""
    stage = Pooled(2)
    stage.start_up()
    stage.client()
    stage.new()[0].refuse()
    stage.new()[0].say("220 second")
    after = Pooled(2, before=stage)
    after.new()
    after.pool.believe(stage.pool)
    stage.pool.let_go()
    assert after.states() == ["down", "up"]
    assert after.pool.snapshot()[1]["sessions"] == 1
    stage.reactor.advance(1)
    (check,) = after.new()
    check.pass_check()
    assert after.states() == ["up", "up"]


def test_none_of_several_is_believed_in_without_being_asked() -> None:
    """That another process serves says that one of them may be used, and not which."""
    stage = Pooled(2, relay_check="enforce")
    stage.pool.believe()
    assert stage.pool.standing is Standing.WAIT
    alone = Pooled(1, relay_check="enforce")
    alone.pool.believe()
    assert alone.pool.standing is Standing.SERVE


def test_let_go_leaves_no_timer() -> None:
    """Nor does it check any more."""
    stage = Pooled(2, relay_check="enforce")
    stage.pool.start()
    for made in stage.new():
        made.refuse()
    stage.pool.let_go()
    assert not stage.reactor.getDelayedCalls()
    stage.reactor.advance(1000)
    assert stage.new() == []


def test_a_single_backend_is_connected_to_whatever_became_of_the_last_client() -> None:
    """And its state is known all the same."""
    stage = Pooled(1)
    stage.pool.start()
    assert (stage.new(), stage.states()) == ([], ["up"])
    user = stage.client()
    stage.new()[0].refuse()
    assert user.ended.startswith("Connection was refused")
    assert (stage.states(), stage.pool.closed_because) == (["down"], None)
    user = stage.client()
    stage.new()[0].say("421 4.3.2 no")
    assert user.octets == b"421 4.3.2 no\r\n"
    assert stage.states() == ["up"]
    assert stage.pool.snapshot()[0]["failures"] == 1
