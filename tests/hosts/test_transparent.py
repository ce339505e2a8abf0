"""`identity: transparent`: a real sendmail takes the client's own address for the client.

Clients are on hosts elsewhere, and the routes are those that systemd/smtpguard-transparent sets up.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from .placed import LOOPBACK, RATE, SAME_HOST, Placed
from .support import (
    CUSTOMER,
    FOREIGN,
    GUARD,
    INSIDER,
    NO_VRFY,
    OUTSIDER,
    UNAVAILABLE,
    UNWANTED,
    V4,
    Net,
    both,
    delivered,
    leave,
    mail_from,
    of_guard,
    of_sendmail,
)

MEGABYTE: Final = 1 << 20


# -- what sendmail sees -------------------------------------------------------------------------------


@both
def test_sendmail_greets_logs_and_writes_down_the_address_of_the_client(net: Net, placed: Placed, family: int) -> None:
    """And so does the guard."""
    shown, sender = of_sendmail(OUTSIDER[family]), f"seen-{family}@b.example"
    with net.outsider.talk(GUARD[family], placed.port(family)) as client:
        assert f"logging access from: [{shown}]" in client.banner
        assert f"Hello [{shown}], " in client.say("EHLO me.test")
        mail_from(client, sender=sender)
        leave(client)
    placed.server.wait_log(rf"NOQUEUE: connect from \[{re.escape(shown)}\]")
    placed.server.wait_log(rf"from=<{sender}>.*relay=\[{re.escape(shown)}\]")
    (mail,) = delivered(placed.server, sender)
    assert f"Received: from me.test ([{shown}])\n".encode() in mail.content
    placed.guard.wait_line(rf"disconnect from {re.escape(of_guard(OUTSIDER[family]))} ehlo=1 ")


@both
def test_its_access_map_turns_away_whom_it_names(net: Net, placed: Placed, family: int) -> None:
    """`Connect:ADDRESS REJECT`."""
    with net.unwanted.talk(GUARD[family], placed.port(family)) as client:
        assert client.say("EHLO me.test").startswith("250-x.test Hello")
        assert client.say("MAIL FROM:<a@b.example>") == "550 5.7.1 Access denied"
    placed.server.wait_log(rf"ruleset=check_relay, .*relay=\[{of_sendmail(UNWANTED[family])}\], reject=550")


@both
def test_its_limits_by_client_count_each_client_for_itself(net: Net, placed: Placed, family: int) -> None:
    """`ClientRate`: one is told to come later, and the others are none the worse."""
    for _ in range(RATE):
        with net.hasty.talk(GUARD[family], placed.port(family)) as client:
            assert client.banner.startswith("220 ")
            leave(client)
    with net.hasty.talk(GUARD[family], placed.port(family)) as client:
        assert client.banner.startswith("421 4.3.2 Connection rate limit exceeded")
    with net.outsider.talk(GUARD[family], placed.port(family)) as client:
        assert client.banner.startswith("220 ")


@both
def test_its_own_rule_sets_look_at_the_client(net: Net, placed: Placed, family: int) -> None:
    """A check_vrfy of the administrator's, by {client_addr}."""
    with net.customer.talk(GUARD[family], placed.port(family)) as client:
        assert client.say("VRFY george") == f"550 5.7.1 No VRFY for {of_sendmail(CUSTOMER[family])}"
    with net.insider.talk(GUARD[family], placed.port(family)) as client:
        assert client.say("VRFY george") == "250 2.1.5 <george@x.test>"


@both
def test_it_relays_for_those_it_relays_for(net: Net, placed: Placed, family: int) -> None:
    """A class in its configuration, an entry of its access map; nobody relays because the guard is local."""
    shown = of_sendmail(OUTSIDER[family])
    denied = "550 5.7.1 <somebody@else.example>... Relaying denied. IP name lookup failed "
    for host, answer in (
        (net.outsider, f"{denied}[{shown}]"),
        (net.insider, f"{denied}[{of_sendmail(INSIDER[family])}]"),
        (net.customer, "250 2.1.5 <somebody@else.example>... Recipient ok"),
    ):
        with host.talk(GUARD[family], placed.port(family)) as client:
            client.say("EHLO me.test")
            client.say("MAIL FROM:<a@b.example>")
            assert client.say(FOREIGN) == answer
            assert client.say("RSET").startswith("250 ")


@both
def test_the_rules_of_the_guard_hold_as_ever(net: Net, placed: Placed, family: int) -> None:
    """What it refuses, sendmail never reads."""
    before = len(placed.server.traffic())
    with net.outsider.talk(GUARD[family], placed.port(family)) as client:
        client.say("EHLO me.test")
        assert client.say("VRFY canary") == NO_VRFY
        assert client.say("EXPN canary").startswith("502 5.7.0 ")
        assert client.say("HELP noop").startswith("214")
        leave(client)
    read = placed.server.traffic()[before:]
    assert "HELP noop" in read
    assert "canary" not in read
    placed.guard.wait_line(rf"{re.escape(of_guard(OUTSIDER[family]))}: VRFY canary \[rejected\]")


# -- connections ----------------------------------------------------------------------------------------


@both
def test_a_large_message_gets_through_whole(net: Net, placed: Placed, family: int) -> None:
    """A megabyte, over the routes that only answers take."""
    line = "0123456789" * 7 + "\r\n"
    content = "Subject: large\r\n\r\n" + line * (MEGABYTE // len(line) + 1)
    sender = f"large-{family}@b.example"
    with net.outsider.talk(GUARD[family], placed.port(family)) as client:
        client.say("EHLO me.test")
        mail_from(client, content, sender)
        leave(client)
    (mail,) = delivered(placed.server, sender)
    assert mail.content.endswith(content.partition("\r\n\r\n")[2].replace("\r\n", "\n").encode())


def test_fifty_sessions_at_once_are_fifty_connections_of_their_clients(net: Net, placed: Placed) -> None:
    """From two clients, of both families, each with a dialogue of its own."""
    with ExitStack() as stack:
        clients = []
        for number in range(50):
            family, host = number % 2, (net.outsider, net.customer)[number % 4 // 2]
            client = stack.enter_context(host.talk(GUARD[family], placed.port(family)))
            clients.append((client, (OUTSIDER, CUSTOMER)[number % 4 // 2][family]))
        for client, address in clients:
            assert f"[{of_sendmail(address)}]" in client.banner
        for client, address in reversed(clients):
            assert f"Hello [{of_sendmail(address)}], " in client.say("EHLO me.test")
        for client, _ in clients:
            leave(client)


@both
def test_a_client_comes_again_and_again(net: Net, placed: Placed, family: int) -> None:
    """Each time with another port, whichever the guard had for it before."""
    for _ in range(100):
        with net.outsider.talk(GUARD[family], placed.port(family)) as client:
            assert client.banner.startswith("220 ")
            leave(client)


def test_clients_of_the_guards_own_host_are_served(net: Net, placed: Placed) -> None:
    """Cron jobs, a mail program, monitoring: from a loopback address where sendmail is on that host too."""
    for family, address in enumerate(LOOPBACK if placed.where == SAME_HOST else GUARD):
        sender = f"own-{family}@b.example"
        with net.guard.talk(address, placed.port(family)) as client:
            assert client.banner.startswith("220 ")
            client.say("EHLO me.test")
            mail_from(client, sender=sender)
            assert client.say("VRFY george") == ("250 2.1.5 <george@x.test>" if address in LOOPBACK else NO_VRFY)
            leave(client)
        (mail,) = delivered(placed.server, sender)
        shown = "localhost" if address in LOOPBACK else f"([{of_sendmail(address)}])"
        assert re.search(rf"^Received: from me\.test .*{re.escape(shown)}", mail.content.decode(), re.MULTILINE)


def test_a_client_that_has_used_up_its_ports_hinders_no_other(net: Net, placed: Placed) -> None:
    """Every address has ports of its own, and one without any left is no outage of the mail server."""
    ports = 16
    with net.guard.inside():
        usual = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    net.guard.set(ipv4__ip_local_port_range=f"61000 {61000 + ports - 1}")
    try:
        with ExitStack() as stack:
            for host in (net.outsider, net.customer):
                for _ in range(ports):
                    client = stack.enter_context(host.talk(GUARD[V4], placed.port(V4)))
                    assert client.banner.startswith("220 ")
            with net.outsider.talk(GUARD[V4], placed.port(V4)) as client:
                assert client.banner.startswith(UNAVAILABLE)
            placed.guard.wait_line(rf"cannot connect: all ports of {OUTSIDER[V4]} are in use")
            with net.insider.talk(GUARD[V4], placed.port(V4)) as client:
                assert client.banner.startswith("220 ")
        assert "is away" not in "\n".join(placed.guard.lines())
    finally:
        net.guard.set(ipv4__ip_local_port_range=usual)
