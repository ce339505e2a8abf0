"""Limits on the wire, before a real sendmail: what is counted, each step of a ladder, and who is let off."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.rig.client import Talk
from tests.rig.guard import Guard
from tests.rig.sendmail import RealSendmail
from tests.sendmail.support import delivered, hello

from .support import (
    ELSEWHERE,
    INSIDE,
    LIMITED,
    OUTSIDE,
    PROXIED,
    count_of,
    guarded,
    proxied,
    turned_away,
    until,
)

CLOSE_AT_4 = "limits: {{scanners: {{count: {count}, rate: 4/hour, then: close}}}}"


def last_word(talk: Talk) -> str:
    """Return the last line before the server closed."""
    return talk.rest().decode("latin-1").split("\r\n")[-2]


def test_the_steps_of_a_ladder_come_one_after_another(sendmail: RealSendmail, tmp_path: Path) -> None:
    """Over 2 each command waits; over 4 the session ends and the next one gets the same 421; the log says each once."""
    limits = "limits: {scanners: {count: probes, rate: 2/hour, then: [{delay: 0.6}, {over: 4, close: true}]}}"
    with guarded(tmp_path, (sendmail.address, sendmail.port), limits) as guard, hello(guard.port, OUTSIDE) as talk:
        took = []
        for _ in range(5):
            began = time.monotonic()
            assert talk.say("VRFY george").startswith("252 ")
            took.append(time.monotonic() - began)
        assert min(took[:3]) < 0.5 < min(took[3:]), took  # the others may have shared the machine
        assert talk.reply().startswith(LIMITED.encode())
        assert talk.closed()
        assert turned_away(guard, OUTSIDE)
        assert not turned_away(guard, ELSEWHERE)
        guard.wait_line(r"limit scanners: 127\.0\.0\.2: 3 probes in 1 hour, each command waits 0\.6 seconds")
        guard.wait_line(r"limit scanners: 127\.0\.0\.2: 5 probes in 1 hour, sent away for 1 hour")
        assert count_of(guard, "limit scanners") == 2
        # Not a line for each connection: whoever is sent away may come as often as it likes.
        assert count_of(guard, "rejecting connection") == 0


def test_a_burst_gets_no_further_than_one_command_at_a_time(sendmail: RealSendmail, tmp_path: Path) -> None:
    """Commands that came in one write are held to what the ones before have led to."""
    limits = CLOSE_AT_4.format(count="probes")
    with guarded(tmp_path, (sendmail.address, sendmail.port), limits) as guard, hello(guard.port, OUTSIDE) as talk:
        talk.send(b"VRFY george\r\n" * 1000)
        answers = talk.rest().split(b"\r\n")
        assert [line[:4] for line in answers[:-1]] == [b"252 "] * 5 + [b"421 "]


def test_bursts_in_several_sessions_get_no_further_than_one_command_each(
    sendmail: RealSendmail, tmp_path: Path
) -> None:
    """What is pipelined elsewhere is held to what one session has led to."""
    limits = "limits: {scanners: {count: probes, rate: 8/hour, then: {ban: 1 hour}}}"
    with guarded(tmp_path, (sendmail.address, sendmail.port), limits) as guard, ExitStack() as stack:
        talks = [stack.enter_context(hello(guard.port, OUTSIDE)) for _ in range(5)]
        for talk in talks:
            talk.send(b"VRFY george\r\n" * 200)
        answers = [line[:4] for talk in talks for line in talk.rest().split(b"\r\n")[:-1]]
        assert answers.count(b"421 ") == 5
        assert 9 <= answers.count(b"252 ") <= 9 + 4
        assert len(answers) == answers.count(b"421 ") + answers.count(b"252 ")


def test_who_keeps_hammering_at_a_close_is_banned(sendmail: RealSendmail, tmp_path: Path) -> None:
    """The step behind the `close` is reached by coming again and again; nobody else feels it."""
    steps = "[{delay: 0.1}, {over: 4, close: true}, {over: 8, ban: 1 hour}]"
    limits = f"limits: {{scanners: {{count: probes, rate: 3/hour, then: {steps}}}}}"
    with guarded(tmp_path, (sendmail.address, sendmail.port), limits) as guard:
        with hello(guard.port, OUTSIDE) as talk:
            talk.send(b"VRFY george\r\n" * 9)
            assert [line[:3] for line in talk.rest().split(b"\r\n")[:-1]] == [b"252"] * 5 + [b"421"]
        assert all(turned_away(guard, OUTSIDE) for _ in range(3))
        assert count_of(guard, "banned") == 0
        assert all(turned_away(guard, OUTSIDE) for _ in range(20))
        guard.wait_line(r"limit scanners: 127\.0\.0\.2: 9 in all with 4 connections turned away, banned for 1 hour")
        assert count_of(guard, "limit scanners: ") == 3
        assert not turned_away(guard, ELSEWHERE)


def test_an_incident_that_a_limit_begins_is_named_by_what_led_to_it(sendmail: RealSendmail, tmp_path: Path) -> None:
    """With the names that were tried, in the line with which it begins."""
    limits = "limits: {guessers: {count: recipients, rate: 4/hour, then: {ban: 1 hour}}}"
    with guarded(tmp_path, (sendmail.address, sendmail.port), limits) as guard:
        with hello(guard.port, OUTSIDE) as talk:
            talk.say("MAIL FROM:<a@b.example>")
            talk.send(b"".join(b"RCPT TO:<nobody%d@x.test>\r\n" % number for number in range(9)))
            talk.rest()
        names = ", ".join(f"nobody{number}@x\\.test" for number in range(5))
        guard.wait_line(rf"opened: 127\.0\.0\.2: harvester, 5 refused recipients; names: {names}")


def test_other_sessions_of_the_client_are_ended_and_its_message_is_not_lost(
    sendmail: RealSendmail, tmp_path: Path
) -> None:
    """One is idle: it gets the 421 at once.  One is amid a message: it gets its 250 first, and sendmail has it."""
    limits = CLOSE_AT_4.format(count="probes")
    with (
        guarded(tmp_path, (sendmail.address, sendmail.port), limits) as guard,
        hello(guard.port, OUTSIDE) as idle,
        hello(guard.port, OUTSIDE) as sending,
        hello(guard.port, ELSEWHERE) as other,
        hello(guard.port, OUTSIDE) as scanner,
    ):
        for line in ("MAIL FROM:<amid@b.example>", "RCPT TO:<george@x.test>", "DATA"):
            assert sending.say(line)[0] in "23"
        sending.send(b"Subject: amid\r\n\r\nhalf of it\r\n")
        for _ in range(5):
            scanner.say("VRFY george")
        assert idle.reply().startswith(LIMITED.encode())
        assert idle.closed()
        sending.send(b"and the rest\r\n.\r\nNOOP\r\n")
        assert sending.reply().startswith(b"250 ")
        assert sending.reply().startswith(LIMITED.encode())
        assert sending.closed()
        assert other.say("NOOP").startswith("250 ")
        (delivery,) = delivered(sendmail, "amid@b.example")
        assert delivery.content.endswith(b"half of it\nand the rest\n")


def test_a_transaction_without_content_is_given_up(sendmail: RealSendmail, tmp_path: Path) -> None:
    """Who tries names within one transaction could go on for ever: it is ended, and nothing was accepted."""
    limits = CLOSE_AT_4.format(count="recipients")
    with guarded(tmp_path, (sendmail.address, sendmail.port), limits) as guard, hello(guard.port, OUTSIDE) as talk:
        talk.say("MAIL FROM:<a@b.example>")
        assert talk.say("RCPT TO:<george@x.test>").startswith("250 ")
        talk.send(b"".join(b"RCPT TO:<nobody%d@x.test>\r\n" % number for number in range(20)) + b"NOOP\r\n")
        answers = talk.rest().split(b"\r\n")[:-1]
        assert [line[:3] for line in answers] == [b"550"] * 5 + [b"421"]
        guard.wait_line(r"limit scanners: 127\.0\.0\.2: 5 refused recipients in 1 hour, sent away for 1 hour")


def test_malformed_lines_are_counted(sendmail: RealSendmail, tmp_path: Path) -> None:
    """Those that leave the session open."""
    limits = CLOSE_AT_4.format(count="malformed")
    with guarded(tmp_path, (sendmail.address, sendmail.port), limits) as guard, hello(guard.port, OUTSIDE) as talk:
        talk.send(b"???\r\n" * 10)
        assert [line[:3] for line in talk.rest().split(b"\r\n")[:-1]] == [b"500"] * 5 + [b"421"]


def test_commands_are_counted_over_sessions(sendmail: RealSendmail, tmp_path: Path) -> None:
    """Short sessions that say little each add up."""
    limits = "limits: {talkers: {count: commands, rate: 24/hour, then: close}}"
    with guarded(tmp_path, (sendmail.address, sendmail.port), limits) as guard:
        for _ in range(4):
            with hello(guard.port, OUTSIDE) as talk:
                for _ in range(3):
                    talk.say("NOOP")
                assert talk.say("QUIT").startswith("221 ")
        with hello(guard.port, OUTSIDE) as talk:
            talk.send(b"NOOP\r\n" * 20)
            answers = talk.rest().split(b"\r\n")[:-1]
            assert [line[:3] for line in answers] == [b"250"] * 4 + [b"421"]


def test_connections_are_counted_over_a_time_and_forgotten(sendmail: RealSendmail, tmp_path: Path) -> None:
    """Over 3 in 2 seconds the next ones are sent away; who waits may come again, and the log says what it cost."""
    limits = "limits: {often: {count: connections, rate: 3 per 2 seconds, then: close}}"
    with guarded(tmp_path, (sendmail.address, sendmail.port), limits) as guard:
        away = [turned_away(guard, OUTSIDE) for _ in range(6)]
        assert away == [False] * 3 + [True] * 3
        guard.wait_line(r"limit often: 127\.0\.0\.2: 4 connections in 2 seconds, sent away for 2 seconds")
        guard.wait_line(r"limit often: 127\.0\.0\.2: may come again; 2 connections were turned away")
        until(lambda: not turned_away(guard, OUTSIDE), "to be let in again")


@pytest.mark.parametrize("by", ["address", "prefix"])
def test_too_many_at_once_get_no_further_session_and_keep_those_that_they_have(
    sendmail: RealSendmail, tmp_path: Path, by: str
) -> None:
    """Nobody is ended for it, and nobody else feels it."""
    limits = f"limits: {{crowd: {{count: parallel, most: 3, by: {by}, then: close}}}}"
    with guarded(tmp_path, (sendmail.address, sendmail.port), limits) as guard:
        crowd = [hello(guard.port, OUTSIDE) for _ in range(3)]
        assert turned_away(guard, OUTSIDE)
        assert turned_away(guard, OUTSIDE)
        assert not turned_away(guard, ELSEWHERE)
        assert all(talk.say("NOOP").startswith("250 ") for talk in crowd)
        crowd.pop().close()
        until(lambda: not turned_away(guard, OUTSIDE), "a place of its own to be free")
        assert count_of(guard, "limit crowd: 127.0.0.2: 4 connections at once, no more are let in") == 1
        for talk in crowd:
            talk.close()


def test_insiders_are_held_to_a_limit_only_if_it_says_so(sendmail: RealSendmail, tmp_path: Path) -> None:
    """`internal` is exempt, as from all else that holds outsiders; `except: []` is everybody."""
    limits = "limits: {a: {count: malformed, rate: 2/hour, then: close}, b: {count: %s, rate: 2/hour, %s then: close}}"
    backend = sendmail.address, sendmail.port
    with guarded(tmp_path, backend, limits % ("probes", "")) as guard, hello(guard.port, INSIDE) as talk:
        for _ in range(5):
            assert talk.say("???").startswith("500 ")
            assert talk.say("VRFY george").startswith("250 ")
    with guarded(tmp_path, backend, limits % ("probes", "except: [],")) as guard, hello(guard.port, INSIDE) as talk:
        talk.send(b"VRFY george\r\n" * 5)
        assert [line[:3] for line in talk.rest().split(b"\r\n")[:-1]] == [b"250"] * 3 + [b"421"]


def test_other_networks_may_be_exempt(sendmail: RealSendmail, tmp_path: Path) -> None:
    """By name or CIDR; the list is the whole of it."""
    limits = "limits: {a: {count: malformed, rate: 2/hour, except: [127.0.0.8/30], then: close}}"
    with guarded(tmp_path, (sendmail.address, sendmail.port), limits) as guard:
        with hello(guard.port, ELSEWHERE) as talk:
            assert all(talk.say("???").startswith("500 ") for _ in range(6))
        with hello(guard.port, INSIDE) as talk:
            talk.send(b"???\r\n" * 6)
            assert [line[:3] for line in talk.rest().split(b"\r\n")[:-1]] == [b"500"] * 3 + [b"421"]


def scan(guard: Guard, address: str, probes: int) -> list[str]:
    """Probe from an address; return the codes of the answers."""
    with proxied(guard, address) as talk:
        talk.send(b"EHLO me.test\r\n")
        talk.reply()
        talk.send(b"VRFY george\r\n" * probes + b"QUIT\r\n")
        return [line[:3].decode() for line in talk.rest().split(b"\r\n")[:-1]]


def test_all_addresses_of_a_prefix_are_one_client(sendmail: RealSendmail, tmp_path: Path) -> None:
    """A /64 of IPv6 unless the policy says otherwise; IPv4 by address."""
    limits = CLOSE_AT_4.format(count="probes")
    with guarded(tmp_path, (sendmail.address, sendmail.port), limits, PROXIED) as guard:
        assert scan(guard, "2001:db8:1:2::a", 2) == ["252"] * 2 + ["221"]
        assert scan(guard, "2001:db8:1:2:ffff::b", 9) == ["252"] * 3 + ["421"]
        with proxied(guard, "2001:db8:1:2::c") as talk:
            assert talk.banner.startswith(LIMITED)
        assert scan(guard, "2001:db8:1:3::a", 1) == ["252", "221"]
        assert scan(guard, "203.0.113.1", 4) == ["252"] * 4 + ["221"]
        assert scan(guard, "203.0.113.2", 4) == ["252"] * 4 + ["221"]
        guard.wait_line(r"limit scanners: 2001:db8:1:2::/64: 5 probes in 1 hour")


def test_a_policy_may_say_how_long_prefixes_are(sendmail: RealSendmail, tmp_path: Path) -> None:
    """For both families; and `by: address` takes no notice."""
    limits = (
        "limits:\n"
        "  crowd: {count: parallel, most: 2, then: close}\n"
        "  scanners: {count: probes, rate: 4/hour, by: address, then: close}\n"
        "prefixes: {ipv4: 24, ipv6: 48}\n"
    )
    with guarded(tmp_path, (sendmail.address, sendmail.port), limits, PROXIED) as guard:
        with proxied(guard, "203.0.113.1"), proxied(guard, "203.0.113.2"):
            with proxied(guard, "203.0.113.3") as third:
                assert third.banner.startswith(LIMITED)
            with proxied(guard, "203.0.114.3") as other:
                assert other.banner.startswith("220 ")
        assert scan(guard, "198.51.100.1", 4) == ["252"] * 4 + ["221"]
        assert scan(guard, "198.51.100.2", 4) == ["252"] * 4 + ["221"]


def test_a_ban_ends_by_itself(sendmail: RealSendmail, tmp_path: Path) -> None:
    """After the time that the policy says; the count is still there, so that the next probe leads to the next ban."""
    limits = "limits: {scanners: {count: probes, rate: 2/hour, then: {ban: 2 seconds}}}"
    with guarded(tmp_path, (sendmail.address, sendmail.port), limits) as guard:
        with hello(guard.port, OUTSIDE) as talk:
            talk.send(b"VRFY george\r\n" * 3)
            assert [line[:3] for line in talk.rest().split(b"\r\n")[:-1]] == [b"252"] * 3 + [b"421"]
        assert turned_away(guard, OUTSIDE)
        guard.wait_line(r"limit scanners: 127\.0\.0\.2: 3 probes in 1 hour, banned for 2 seconds")
        guard.wait_line(r"limit scanners: 127\.0\.0\.2: ban over; \d+ connections? (was|were) turned away")
        with hello(guard.port, OUTSIDE) as talk:
            assert talk.say("VRFY george").startswith("252 ")
            assert talk.reply().startswith(LIMITED.encode())


def test_who_waits_is_slowed_in_all_its_sessions_and_only_as_long_as_it_stands(
    sendmail: RealSendmail, tmp_path: Path
) -> None:
    """A malformed line waits too, a message does not."""
    limits = "limits: {scanners: {count: probes, rate: 1 per 2 seconds, then: {delay: 0.5}}}"
    with (
        guarded(tmp_path, (sendmail.address, sendmail.port), limits) as guard,
        hello(guard.port, OUTSIDE) as scanner,
        hello(guard.port, OUTSIDE) as second,
    ):
        scanner.send(b"VRFY george\r\n" * 2)
        scanner.replies(2)
        guard.wait_line("each command waits")

        def seconds(line: str) -> float:
            began = time.monotonic()
            second.say(line)
            return time.monotonic() - began

        until(lambda: seconds("NOOP") >= 0.5, "the other session to be slowed", 1.5)
        until(lambda: seconds("???") < 0.4, "it to be let off", 8)
