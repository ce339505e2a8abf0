"""`identity: xclient`: a real Postfix is told of the client, and of nobody else, by the guard alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.rig.client import Talk
from tests.rig.guard import Guard
from tests.rig.postfix import RealPostfix

from .support import (
    BALANCER,
    CUSTOMER,
    FOREIGN,
    GUARD,
    INSIDER,
    OUTSIDER,
    UNAVAILABLE,
    UNWANTED,
    V4,
    V6,
    Net,
    both,
    delivered,
    endpoint,
    guarding,
    leave,
    mail_from,
    on,
    proxied,
)

DENIED: Final = "454 4.7.1 <somebody@else.example>: Relay access denied"
UNRECOGNIZED: Final = "500 5.5.1 Command unrecognized"
NAME: Final = "mx.outside.example"
PLAIN: Final = {
    "inet_protocols": "all",
    "mynetworks": f"{CUSTOMER[V4]}, [{CUSTOMER[V6]}]",
    "debug_peer_list": "0.0.0.0/0, [::]/0",
    # So that the port is in the log.
    "smtpd_client_port_logging": "yes",
    "smtpd_client_restrictions": "check_client_access inline:{"
    + ", ".join(f"{{{address} = REJECT go away}}" for address in UNWANTED)
    + "}",
}
AUTHORIZED: Final = {**PLAIN, "smtpd_authorized_xclient_hosts": "127.0.0.1"}


@pytest.fixture(scope="module")
def postfix(net: Net) -> Iterator[RealPostfix]:
    """Postfix on the guard's host, which believes that."""
    with on(net.guard, RealPostfix(AUTHORIZED)) as running:
        yield running


def shown(server: RealPostfix) -> dict[str, object]:
    """Return the settings of the backend."""
    return {"endpoint": endpoint("127.0.0.1", server.port), "identity": "xclient", "profile": "postfix"}


@pytest.fixture(scope="module")
def guard(net: Net, postfix: RealPostfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    """A guard that knows the outsider's name, out of its hosts file, and nobody else's."""
    folder = tmp_path_factory.mktemp("xclient")
    (folder / "hosts").write_text("".join(f"{address} {NAME}\n" for address in OUTSIDER))
    own_names = ("unshare", "--mount", "sh", "-euc", 'mount --bind "$0" /etc/hosts; exec "$@"', str(folder / "hosts"))
    with guarding(net.guard, folder, shown(postfix), wrapper=own_names) as running:
        yield running


# -- what Postfix is told -------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(("greeting", "protocol"), [("EHLO", "ESMTP"), ("HELO", "SMTP")])
def test_postfix_logs_and_writes_down_the_client(
    net: Net, postfix: RealPostfix, guard: Guard, family: int, greeting: str, protocol: str
) -> None:
    """Its address, port and name, and how it greeted, which the guard did otherwise."""
    sender = f"{greeting}-{family}@b.example"
    with net.outsider.talk(GUARD[family], guard.ports[family]) as client:
        assert client.banner.startswith("220 x.test ESMTP Postfix")
        assert client.say(f"{greeting} me.test").startswith("250")
        mail_from(client, sender=sender)
        _, port = client.source
        leave(client)
    address = OUTSIDER[family]
    postfix.wait_log(rf": client={NAME}\[{address}\]:{port}$")
    postfix.wait_log(rf"disconnect from {NAME}\[{address}\]:{port} ")
    (mail,) = delivered(postfix, sender)
    in_mail = f"IPv6:{address}" if family == V6 else address
    assert f"Received: from me.test ({NAME} [{in_mail}])".encode() in mail.content
    assert f"by x.test (Postfix) with {protocol} id ".encode() in mail.content


@both
def test_a_client_without_a_name_is_unknown(net: Net, postfix: RealPostfix, guard: Guard, family: int) -> None:
    """As it is to a Postfix that looks for itself and finds none."""
    sender = f"unnamed-{family}@b.example"
    with net.insider.talk(GUARD[family], guard.ports[family]) as client:
        client.say("EHLO me.test")
        mail_from(client, sender=sender)
        leave(client)
    (mail,) = delivered(postfix, sender)
    in_mail = f"IPv6:{INSIDER[V6]}" if family == V6 else INSIDER[V4]
    assert f"Received: from me.test (unknown [{in_mail}])".encode() in mail.content


@both
def test_its_restrictions_are_about_the_client(net: Net, guard: Guard, family: int) -> None:
    """smtpd_client_restrictions, and mynetworks; that the guard is at 127.0.0.1 matters to nobody."""
    for host, recipient, answer in (
        (net.unwanted, "RCPT TO:<george@x.test>", "554 5.7.1 <unknown[{}]:{}>: Client host rejected: go away"),
        (net.outsider, FOREIGN, DENIED),
        (net.insider, FOREIGN, DENIED),
        (net.customer, FOREIGN, "250 2.1.5 Ok"),
    ):
        with host.talk(GUARD[family], guard.ports[family]) as client:
            client.say("EHLO me.test")
            client.say("MAIL FROM:<a@b.example>")
            _, port = client.source
            assert client.say(recipient) == answer.format((host.v4, host.v6)[family], port)


@both
def test_a_session_begins_as_any_other(net: Net, guard: Guard, family: int) -> None:
    """What the guard said before leaves nothing behind, and XCLIENT is not offered."""
    with net.outsider.talk(GUARD[family], guard.ports[family]) as client:
        assert client.say("MAIL FROM:<a@b.example>").startswith("250 ")
        assert client.say("RSET").startswith("250 ")
        reply = client.say("EHLO me.test")
        assert reply.startswith("250-x.test")
        assert "PIPELINING" in reply
        assert "XCLIENT" not in reply.upper()
        assert "XFORWARD" not in reply.upper()


# -- who else says XCLIENT --------------------------------------------------------------------------------


@pytest.mark.parametrize("attempt", ["XCLIENT", "xclient", " XCLIENT", "\tXclient", "XCLIENT\t"])
def test_xclient_of_a_client_never_reaches_postfix(net: Net, postfix: RealPostfix, guard: Guard, attempt: str) -> None:
    """In whatever form; the session goes on as whose it was, or ends."""
    since = postfix.mark()
    with net.outsider.talk(GUARD[V4], guard.port) as client:
        client.say("EHLO me.test")
        client.send(f"{attempt} ADDR={CUSTOMER[V4]} LOGIN=admin\r\nMAIL FROM:<a@b.example>\r\n{FOREIGN}\r\n".encode())
        client.half_close()
        answers = client.rest()
    assert answers.startswith(b"500 5.5.")
    assert b"250 2.1.5 " not in answers
    postfix.wait_sessions(1, since)
    told = [line for line in postfix.commands(since) if "XCLIENT" in line.upper()]
    assert [OUTSIDER[V4] in line for line in told] == [True]
    assert all(CUSTOMER[V4] not in line for line in postfix.commands(since))


def test_a_login_is_neither_inherited_nor_to_be_had(net: Net, postfix: RealPostfix, guard: Guard) -> None:
    """Postfix takes a client for logged in if it is told so, and may relay for it: so it is told that nobody is."""
    with net.guard.talk("127.0.0.1", postfix.port) as told:
        told.say("EHLO guard.test")
        assert told.say(f"XCLIENT ADDR={OUTSIDER[V4]} LOGIN=admin").startswith("220 ")
        told.say("EHLO me.test")
        mail_from(told)
        leave(told)
    postfix.wait_log("client=.*, sasl_method=XCLIENT, sasl_username=admin")
    since = postfix.mark()
    with net.outsider.talk(GUARD[V4], guard.port) as client:
        client.say("EHLO me.test")
        assert client.say("XCLIENT LOGIN=admin") == UNRECOGNIZED
        assert client.say("AUTH PLAIN AGFkbWluAHg=")[0] == "5"
        mail_from(client)
        leave(client)
    postfix.wait_sessions(1, since)
    assert " client=" in (said := "\n".join(postfix.records()[since:]))
    assert "sasl" not in said.partition(" client=")[2].partition("\n")[0]
    (line,) = [line for line in postfix.commands(since) if line.startswith("XCLIENT")]
    assert line.endswith(" LOGIN=[UNAVAILABLE]")


def test_who_is_not_known_is_told_as_such(net: Net, postfix: RealPostfix, tmp_path: Path) -> None:
    """Behind `PROXY UNKNOWN`: Postfix must not take the guard for the client, which may say XCLIENT."""
    with guarding(net.guard, tmp_path, shown(postfix), listeners=proxied(*BALANCER)) as running:
        since = postfix.mark()
        with net.balancer.talk(GUARD[V4], running.port, greet=False) as client:
            client.send(b"PROXY UNKNOWN\r\n")
            assert client.reply().startswith(b"220 ")
            assert "XCLIENT" not in client.say("EHLO me.test")
            client.say("MAIL FROM:<a@b.example>")
            assert client.say(FOREIGN) == DENIED
            leave(client)
        postfix.wait_sessions(1, since)
        assert "disconnect from unknown[unknown]" in "\n".join(postfix.records()[since:])


# -- a Postfix that is not set up for it -------------------------------------------------------------------


@pytest.fixture(scope="module")
def unauthorized(net: Net) -> Iterator[RealPostfix]:
    """A Postfix that believes nobody."""
    with on(net.guard, RealPostfix(PLAIN)) as running:
        yield running


@pytest.mark.parametrize("relay_check", ["enforce", "off"])
def test_a_postfix_that_does_not_believe_the_guard_is_not_served_and_the_log_says_what_to_set(
    net: Net, unauthorized: RealPostfix, tmp_path: Path, relay_check: str
) -> None:
    """It would take all clients for the guard."""
    since = unauthorized.mark()
    with guarding(net.guard, tmp_path, shown(unauthorized), relay_check=relay_check) as running:
        with net.outsider.talk(GUARD[V4], running.port) as client:
            assert client.banner.startswith(UNAVAILABLE)
            assert client.closed()
        running.wait_line(r"offers the guard no XCLIENT with ADDR \(Postfix: smtpd_authorized_xclient_hosts\)")
    unauthorized.wait_sessions(1, since)
    assert {line.partition(" ")[0] for line in unauthorized.commands(since)} == {"EHLO"}


def test_a_postfix_without_ipv6_gets_no_clients_of_ipv6_and_the_log_shows_why(net: Net, tmp_path: Path) -> None:
    """inet_protocols: it takes no such ADDR, and would go on with the guard's own; others are served."""
    with (
        on(net.guard, RealPostfix({**AUTHORIZED, "inet_protocols": "ipv4"})) as server,
        guarding(net.guard, tmp_path, shown(server)) as running,
    ):
        with net.outsider.talk(GUARD[V6], running.ports[V6]) as client:
            assert client.banner.startswith(UNAVAILABLE)
        running.wait_line(
            rf"\[IPv6:{OUTSIDER[V6]}\]: mail server: reply to XCLIENT that is no 220: 501 5\.5\.4 Bad DESTADDR syntax"
        )
        with net.outsider.talk(GUARD[V4], running.ports[V4]) as client:
            assert client.banner.startswith("220 ")


def test_no_client_waits_for_a_name_that_does_not_come(net: Net, guard: Guard) -> None:
    """The name server is not there (`dns.timeout` is 0.2 s), and fifty are served at once."""
    clients: list[Talk] = []
    try:
        clients.extend(net.customer.talk(GUARD[V4], guard.port, greet=False) for _ in range(50))
        for client in clients:
            assert client.reply().startswith(b"220 ")
    finally:
        for client in clients:
            client.close()
