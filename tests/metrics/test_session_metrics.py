"""What sessions count, where a client and a backend really speak."""

from __future__ import annotations

import timeit
from collections.abc import Mapping

import pytest

from smtpguard.metrics import catalogue
from smtpguard.metrics.catalogue import Metric
from smtpguard.metrics.counts import Counts, key_of, read_key
from smtpguard.policy.networks import Peer
from smtpguard.sessions.session import Session
from smtpguard.sessions.session_metrics import SessionMetrics
from smtpguard.smtp.effects import Note
from tests.sessions.stage import Stage

SESSION_ADDITIONS = 60
"""What a session may cost, in additions to a dict: about 3 microseconds.  It costs about 30 of them."""


class Counted(Stage):
    """A session whose observer counts; its listener is `tcp:25`."""

    def __init__(self, *, policy_text: str = "", connect: bool = True) -> None:
        self.noted_of: list[Session] = []
        self.counts = Counts()
        self.metrics = SessionMetrics(self.counts)
        super().__init__(policy_text=policy_text, connect=connect)

    def noted(self, session: Session, note: Note) -> None:
        self.noted_of.append(session)
        self.metrics.noted(session, note)

    def ended(self, session: Session, counts: dict[bytes, list[int]], seconds: float) -> None:
        self.metrics.ended(session, counts, seconds)


def counted(counts: Mapping[str, float], metric: Metric) -> dict[tuple[str, ...], float]:
    """Return the series of one metric."""
    return {
        values: n
        for name, values in map(read_key, counts)
        if name == metric.name
        for n in [counts[key_of(metric, *values)]]
    }


def test_commands_verdicts_and_the_length_of_a_session_are_counted() -> None:
    """The rule by its name, as the log has it; nothing that the client wrote is in a key."""
    stage = Counted()
    stage.send("EHLO secret.example")
    stage.say("250 mx")
    stage.send("VRFY secret")
    stage.send("XSECRET")
    stage.send("xsecret\tsecret")
    stage.clock.advance(2)
    stage.lose("client")
    counts = stage.counts.take()
    assert counted(counts, catalogue.COMMANDS) == {("EHLO",): 1, ("VRFY",): 1, ("UNKNOWN",): 2}
    assert counted(counts, catalogue.PASSED) == {("EHLO",): 1}
    assert counted(counts, catalogue.MALFORMED) == {("blank",): 1}
    (values, number) = next(iter(counted(counts, catalogue.VERDICTS).items()))
    assert "check_vrfy" in values[0]
    assert (values[1], number) == ("reply", 1)
    assert counted(counts, catalogue.SECONDS) == {("5",): 1, ("sum",): 2.0}
    assert not any("secret" in key.lower() for key in counts)
    assert stage.counts.take() == {}


def test_a_backend_that_cannot_be_reached_and_one_that_breaks_off_are_counted_apart() -> None:
    """The one is away, the other ill."""
    away = Counted(connect=False)
    away.connecting.errback(ConnectionRefusedError("refused"))
    assert counted(away.counts.take(), catalogue.BACKEND_FAULTS) == {("unreachable",): 1}
    ill = Counted()
    ill.say("nonsense")
    assert counted(ill.counts.take(), catalogue.BACKEND_FAULTS) == {("protocol",): 1}


def test_out_of_turn_input_is_a_fault_of_its_own() -> None:
    """It is no fault of a line."""
    stage = Counted()
    stage.send("EHLO x")
    stage.say("250 mx")
    stage.send("DATA\r\nRSET")
    counts = stage.counts.take()
    assert counted(counts, catalogue.MALFORMED) == {("out_of_turn",): 1}


def test_recipients_that_the_backend_refuses_are_counted() -> None:
    """For good, that is: a 4yz says come again."""
    stage = Counted()
    for line, reply in (
        ("EHLO x", "250 mx"),
        ("MAIL FROM:<a@b.example>", "250 ok"),
        ("RCPT TO:<a@x.test>", "550 5.1.1 no"),
    ):
        stage.send(line)
        stage.say(reply)
    stage.send("RCPT TO:<b@x.test>")
    stage.say("450 4.2.0 later")
    assert counted(stage.counts.take(), catalogue.RECIPIENTS) == {(): 1}


def test_auth_is_counted_by_what_the_backend_decides() -> None:
    """The mechanism is the client's word and no label."""
    stage = Counted()
    stage.send("EHLO x")
    stage.say("250-mx\r\n250 AUTH PLAIN")
    for reply in ("535 5.7.8 no", "235 2.7.0 yes"):
        stage.send("AUTH PLAIN AGEAYg==")
        stage.say(reply)
    assert counted(stage.counts.take(), catalogue.AUTH) == {("failed",): 1, ("accepted",): 1}


@pytest.mark.parametrize("why", sorted(catalogue.REASONS))
def test_clients_that_are_turned_away_are_counted_by_reason(why: str) -> None:
    """The catalogue knows each reason that there is."""
    counts = Counts()
    SessionMetrics(counts).turned_away(Peer.parse("192.0.2.7"), why)
    taken = counts.take()
    assert counted(taken, catalogue.TURNED_AWAY) == {(why,): 1}
    assert catalogue.TURNED_AWAY.takes([why])


def test_what_a_session_costs() -> None:
    """Beginning, five verbs and end, without what it is about."""
    stage = Counted()
    stage.send("EHLO x")
    stage.say("250 mx")
    stage.send("VRFY x")
    session = stage.noted_of[0]
    metrics = SessionMetrics(Counts())
    tally = {verb: [1, 1] for verb in (b"EHLO", b"MAIL", b"RCPT", b"DATA", b"QUIT")}

    def one() -> None:
        metrics.began(session, "tcp:25")
        metrics.ended(session, tally, 0.2)

    plain = {"a": 0.0}

    def additions() -> None:
        for _ in range(SESSION_ADDITIONS):
            plain["a"] += 1

    # In turns, so that both have the machine at its best once, whatever else it does.
    times = [(timeit.timeit(one, number=500), timeit.timeit(additions, number=500)) for _ in range(100)]
    assert min(cost for cost, _ in times) < min(bound for _, bound in times)


def test_what_rules_in_shadow_would_have_decided_is_counted_by_rule_and_verb() -> None:
    """Beside what has been decided; a verb outside the table is no label."""
    stage = Counted(
        policy_text="shadow: true\nrulesets: {check_vrfy: [{action: reply}], check_other: [{action: close}]}"
    )
    stage.send("VRFY secret")
    stage.say("252 2.5.2 perhaps")
    stage.send("XSECRET")
    stage.say("500 5.5.1 no")
    counts = stage.counts.take()
    shadow = {(rule[-18:], verb): n for (rule, verb), n in counted(counts, catalogue.SHADOWED).items()}
    assert shadow == {("check_vrfy, rule 1", "VRFY"): 1, ("heck_other, rule 1", "UNKNOWN"): 1}
    assert counted(counts, catalogue.VERDICTS) == {("none", "forward"): 2}
