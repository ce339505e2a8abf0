"""The relay check over time: a real sendmail that goes away, comes back, and comes back as another.

Outsiders come from a host of their own; the guard brings them to sendmail from OUTSIDERS, or, where the
policy has relay domains, from 127.0.0.1, for which sendmail relays.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import syslog
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.rig.guard import Guard, GuardFailed
from tests.rig.sendmail import AUTH_PASSWORD, AUTH_USER, RealSendmail
from tests.rig.wait import wait_until

from .support import (
    FOREIGN,
    GUARD,
    UNAVAILABLE,
    V4,
    Net,
    access_map,
    both,
    endpoint,
    guarding,
    leave,
    mail_from,
    on,
    policy,
    write_map,
)

HERE: Final = "127.0.0.1"
OUTSIDERS: Final = "127.0.0.25"
OPEN: Final = "FEATURE(`promiscuous_relay')dnl"
REFUSES: Final = f"refuses to relay mail from {OUTSIDERS}: 550 5.7.1 "
WOULD_RELAY: Final = f"would relay mail from {OUTSIDERS} to anywhere"
AWAY: Final = "the mail server is away; clients get 421 until it has been asked again"
DENIED: Final = "550 5.7.1 Relaying denied"
JSON: Final = {"format": "json"}


def sendmail(port: int = 0, extra_mc: str = "") -> RealSendmail:
    """Return a sendmail for a port where another one may have been."""
    return RealSendmail(listen=[(HERE, port)], extra_mc=extra_mc)


def backend(port: int) -> dict[str, object]:
    """Return the settings by which all clients come from OUTSIDERS."""
    return {"endpoint": endpoint(HERE, port), "bind": OUTSIDERS, "profile": "sendmail"}


def banner(net: Net, guard: Guard) -> str:
    """Return how an outsider is greeted."""
    with net.outsider.talk(GUARD[V4], guard.port) as client:
        return client.banner


def turned_away(net: Net, guard: Guard) -> bool:
    return banner(net, guard).startswith(UNAVAILABLE)


def wait_served(net: Net, guard: Guard) -> None:
    """Wait until outsiders are served."""
    wait_until(lambda: banner(net, guard).startswith("220 "), "the guard to serve", detail=lambda: said(guard))


def said(guard: Guard) -> str:
    return "\n".join(guard.lines())


def wait_said(guard: Guard, text: str, times: int) -> None:
    """Wait until the guard has logged something so often."""
    wait_until(lambda: said(guard).count(text) >= times, f"{text!r}, {times} times", detail=lambda: said(guard))


# -- outages ------------------------------------------------------------------------------------------


def test_a_server_that_was_away_is_asked_before_anybody_is_served_again(net: Net, tmp_path: Path) -> None:
    """It was restarted, with who knows which configuration."""
    with on(net.guard, sendmail()) as first, guarding(net.guard, tmp_path, backend(first.port)) as guard:
        assert banner(net, guard).startswith("220 ")
        assert said(guard).count(REFUSES) == 1
        port = first.port
        first.stop()
        assert turned_away(net, guard)
        guard.wait_line(AWAY)
        assert turned_away(net, guard)
        guard.wait_line(r"rejecting connection from \[203\.0\.113\.9\]: relay check without an answer yet")
        with on(net.guard, sendmail(port)) as second:
            wait_said(guard, REFUSES, 2)
            wait_served(net, guard)
            # The first thing that it heard was the question.
            first_connection = second.wait_log("NOQUEUE: connect from ")
            assert f"[{OUTSIDERS}]" in first_connection
            wait_until(lambda: second.log().count("NOQUEUE: connect from ") > 1, "the client's connection in the log")
            assert second.log().index("smtpguard-check@example.com") < second.log().rindex("NOQUEUE: connect from ")


def test_a_server_that_comes_back_as_an_open_relay_is_not_served_until_it_is_mended(net: Net, tmp_path: Path) -> None:
    """The guard does not exit: that would take the port away from whoever mends it."""
    with on(net.guard, sendmail()) as first, guarding(net.guard, tmp_path, backend(first.port), log=JSON) as guard:
        assert banner(net, guard).startswith("220 ")
        port = first.port
        first.stop()
        assert turned_away(net, guard)
        guard.wait_line(AWAY)
        with on(net.guard, sendmail(port, OPEN)) as relaying:
            line = json.loads(guard.wait_line(WOULD_RELAY))
            assert line["priority"] == syslog.LOG_CRIT
            assert "so that everybody outside could send through it" in line["message"]
            before = len(relaying.traffic())
            assert turned_away(net, guard)
            guard.wait_line("the mail server would relay for outsiders \\(relay check\\)")
            assert "EHLO" not in relaying.traffic()[before:]
        with on(net.guard, sendmail(port)):
            wait_said(guard, REFUSES, 2)
            wait_served(net, guard)


def test_an_outage_that_nobody_but_the_question_meets_is_one(net: Net, tmp_path: Path) -> None:
    """No client comes while the server is away, and it comes back as an open relay."""
    with on(net.guard, sendmail()) as first, guarding(net.guard, tmp_path, backend(first.port)) as guard:
        port = first.port
        first.stop()
        guard.signal(signal.SIGHUP)
        guard.wait_line("gave no clear answer: cannot connect: .*; clients get 421 until it answers")
        with on(net.guard, sendmail(port, OPEN)):
            assert turned_away(net, guard)
            guard.wait_line(WOULD_RELAY)
            assert turned_away(net, guard)


def test_a_restart_that_only_a_broken_session_shows_leads_to_a_question(net: Net, tmp_path: Path) -> None:
    """Soon after the last one, it is put off (LOST_SECONDS) and not left out."""
    with ExitStack() as stack:
        first = stack.enter_context(on(net.guard, sendmail()))
        guard = stack.enter_context(guarding(net.guard, tmp_path, backend(first.port)))
        with net.outsider.talk(GUARD[V4], guard.port) as client:
            port = first.port
            first.stop()
            assert client.reply().startswith(b"421 ")
        stack.enter_context(on(net.guard, sendmail(port, OPEN)))
        guard.wait_line(WOULD_RELAY)
        assert turned_away(net, guard)


def test_a_server_that_is_an_open_relay_from_the_start_is_not_guarded(net: Net, tmp_path: Path) -> None:
    """Status 78; and under `warn` it is, and the log says what that means."""
    with on(net.guard, sendmail(extra_mc=OPEN)) as relaying:
        with (
            pytest.raises(GuardFailed, match=WOULD_RELAY) as failed,
            guarding(net.guard, tmp_path, backend(relaying.port)),
        ):
            pytest.fail("it serves")
        assert f"ended with {os.EX_CONFIG}" in str(failed.value)
        with guarding(net.guard, tmp_path, backend(relaying.port), relay_check="warn", log=JSON) as guard:
            line = json.loads(guard.wait_line(WOULD_RELAY))
            assert line["priority"] == syslog.LOG_WARNING
            with net.outsider.talk(GUARD[V4], guard.port) as client:
                client.say("EHLO me.test")
                client.say("MAIL FROM:<a@b.example>")
                assert client.say(FOREIGN).startswith("250 ")


# -- SIGHUP ---------------------------------------------------------------------------------------------


def test_sighup_asks_again(net: Net, tmp_path: Path) -> None:
    """After a change of the mail server's configuration: a message in transfer gets through, and then nothing more."""
    with ExitStack() as stack:
        access = stack.enter_context(access_map(""))
        feature = f"FEATURE(`access_db', `hash -o {access}')dnl"
        server = stack.enter_context(on(net.guard, sendmail(extra_mc=feature)))
        guard = stack.enter_context(guarding(net.guard, tmp_path, backend(server.port)))
        guard.signal(signal.SIGHUP)
        wait_until(lambda: server.log().count("reject=550 5.7.1 <smtpguard-check") == 2, "another question")
        idle = stack.enter_context(net.outsider.talk(GUARD[V4], guard.port))
        busy = stack.enter_context(net.outsider.talk(GUARD[V4], guard.port))
        busy.say("EHLO me.test")
        for command in ("MAIL FROM:<busy@b.example>", "RCPT TO:<george@x.test>", "DATA"):
            assert busy.say(command)[0] in "23"
        write_map(access, f"Connect:{OUTSIDERS} RELAY\n")
        guard.signal(signal.SIGHUP)
        guard.wait_line(WOULD_RELAY)
        assert idle.reply().startswith(b"421 ")
        assert turned_away(net, guard)
        busy.send(b"Subject: busy\r\n\r\nbusy\r\n")
        assert busy.say(".").startswith("250 2.0.0 ")
        assert busy.reply().startswith(b"421 ")
        write_map(access, "")
        guard.signal(signal.SIGHUP)
        wait_said(guard, REFUSES, 2)
        wait_served(net, guard)


# -- relay domains -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stock(net: Net) -> Iterator[RealSendmail]:
    """A sendmail that relays for 127.0.0.1, as every stock one does, and for who has logged in."""
    with on(net.guard, RealSendmail(auth=True)) as server:
        yield server


@pytest.fixture(scope="module")
def guard(net: Net, stock: RealSendmail, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    """A guard that comes from 127.0.0.1 whoever the client is, under `relay_check: enforce`."""
    rules = policy(relay_domains=["x.test", "ours.example", ".ours.example"], budgets="off")
    shown = {"endpoint": endpoint(HERE, stock.port), "profile": "sendmail"}
    with guarding(net.guard, tmp_path_factory.mktemp("domains"), shown, rules) as running:
        yield running


HOSTILE: Final = [
    "somebody@else.example",
    "SOMEBODY@ELSE.EXAMPLE",
    "somebody%else.example@x.test",
    "somebody%else.example",
    "else.example!somebody",
    "else.example!somebody@x.test",
    "@x.test:somebody@else.example",
    "@x.test,@ours.example:somebody@else.example",
    '"somebody@else.example"@x.test',
    '"somebody@else.example"',
    '"somebody"@else.example',
    "somebody@else.example@x.test",
    "somebody@x.test@else.example",
    "somebody@[192.0.2.99]",
    "somebody@[127.0.0.1]",
    "somebody@else.example(x.test)",
    "somebody@(x.test)else.example",
    "somebody@else.example.",
    "somebody@notours.example",
    "somebody@ours.example.else.example",
    "somebody@x.test..",
    "somebody",
    "somebody\\@else.example@x.test",
]


def test_it_starts_before_a_server_that_relays_for_it_and_says_why(guard: Guard, stock: RealSendmail) -> None:
    """The policy keeps outsiders from relaying."""
    guard.wait_line(
        rf"relay check: tcp:127\.0\.0\.1:{stock.port} would relay mail from 127\.0\.0\.1 to anywhere, and "
        "`relay_domains` of the policy keeps outsiders from it"
    )


@both
@pytest.mark.parametrize("sender", ["a@b.example", "george@x.test", ""])
def test_outsiders_relay_in_no_form(net: Net, guard: Guard, stock: RealSendmail, family: int, sender: str) -> None:
    """Whatever sendmail would make of it; it does not even hear of it."""
    before = len(stock.traffic())
    with net.outsider.talk(GUARD[family], guard.ports[family]) as client:
        client.say("EHLO me.test")
        assert client.say(f"MAIL FROM:<{sender}>").startswith("250 ")
        for recipient in HOSTILE:
            assert client.say(f"RCPT TO:<{recipient}>") == DENIED, recipient
            assert client.say(f"RCPT TO:<{recipient}> NOTIFY=NEVER") == DENIED, recipient
        assert client.say("RCPT TO: somebody@else.example") == DENIED
        assert client.say("RCPT TO:<george@x.test> <somebody@else.example>") == DENIED
        assert client.say("RCPT TO:<george@x.test>").startswith("250 2.1.5 ")
        assert client.say("RCPT TO:<postmaster>").startswith("250 2.1.5 ")
        assert client.say("DATA").startswith("354 ")
        client.send(b"Subject: hello\r\n\r\nhello\r\n")
        assert client.say(".").startswith("250 2.0.0 ")
        leave(client)
    read = [line for line in stock.traffic()[before:].split("\n") if " <<< " in line and "RCPT" in line.upper()]
    assert [line.partition("<<< ")[2].strip() for line in read] == ["RCPT TO:<george@x.test>", "RCPT TO:<postmaster>"]


def test_without_the_guards_refusal_sendmail_would_relay(net: Net, stock: RealSendmail) -> None:
    """From where the guard comes to it; so the test before is about the guard."""
    taken = []
    with net.guard.talk(HERE, stock.port) as client:
        client.say("EHLO me.test")
        client.say("MAIL FROM:<a@b.example>")
        taken = [recipient for recipient in HOSTILE if client.say(f"RCPT TO:<{recipient}>").startswith("250 ")]
    assert {"somebody@else.example", "somebody%else.example@x.test", "@x.test:somebody@else.example"} <= set(taken)


@both
def test_insiders_relay_as_far_as_sendmail_lets_them(net: Net, guard: Guard, family: int) -> None:
    """`internal`."""
    with net.insider.talk(GUARD[family], guard.ports[family]) as client:
        client.say("EHLO me.test")
        client.say("MAIL FROM:<a@b.example>")
        assert client.say(FOREIGN) == "250 2.1.5 <somebody@else.example>... Recipient ok"


def test_who_has_logged_in_relays_from_outside(net: Net, guard: Guard) -> None:
    """What the server answered to AUTH decides, and not that there was one."""
    good, bad = (
        base64.b64encode(f"\0{AUTH_USER}\0{password}".encode()).decode("ascii") for password in (AUTH_PASSWORD, "x")
    )
    with net.outsider.talk(GUARD[V4], guard.port) as client:
        assert "AUTH" in client.say("EHLO me.test")
        assert client.say(f"AUTH PLAIN {bad}").startswith("535 ")
        client.say("MAIL FROM:<a@b.example>")
        assert client.say(FOREIGN) == DENIED
        client.say("RSET")
        assert client.say(f"AUTH PLAIN {good}").startswith("235 ")
        client.say("MAIL FROM:<a@b.example>")
        assert client.say(FOREIGN) == "250 2.1.5 <somebody@else.example>... Recipient ok"
        client.say("RSET")
        mail_from(client)
        leave(client)
    guard.wait_line(r"AUTH=server, relay=\[203\.0\.113\.9\], mech=PLAIN")
