"""`proxy_protocol: required`: behind a real HAProxy, the client is whom the header names.

HAProxy is on a host between clients and guard, and is inside by the policy, which its clients are not.
What no HAProxy would send is sent from its host by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import pytest

from smtpguard.identity.origin import Origin
from smtpguard.identity.proxy_protocol import write_v1, write_v2
from smtpguard.policy.networks import Peer
from tests.rig.client import NotSmtp, Talk
from tests.rig.guard import Guard
from tests.rig.haproxy import RealHaproxy
from tests.rig.hosts import Host
from tests.rig.sendmail import RealSendmail
from tests.rig.wait import wait_until

from .placed import routes
from .support import (
    BALANCER,
    EVERYWHERE,
    GUARD,
    INSIDER,
    NO_VRFY,
    OUTSIDER,
    UNAVAILABLE,
    V4,
    V6,
    Net,
    both,
    guarding,
    of_guard,
    on,
    proxied,
)

GEORGE: Final = "250 2.1.5 <george@x.test>"
HEADER_SECONDS: Final = 1.0
UNRECOGNIZED: Final = "500 5.5.1 Command unrecognized"


def header(version: int, addresses: tuple[str, str], family: int) -> bytes:
    """Return the header for one of the clients."""
    origin = Origin(Peer.parse(addresses[family]), 40000, Peer.parse(BALANCER[family]), 25)
    return (write_v1 if version == 1 else write_v2)(origin)


def backend(server: RealSendmail) -> dict[str, object]:
    """Return the settings of a backend that relays for nobody who comes from outside."""
    return {"endpoint": f"tcp:127.0.0.1:{server.port}", "bind": "127.0.0.25", "profile": "sendmail"}


@pytest.fixture(scope="module")
def server(net: Net) -> Iterator[RealSendmail]:
    """The mail server, on the guard's host."""
    with on(net.guard, RealSendmail()) as running:
        yield running


@pytest.fixture(scope="module")
def guard(net: Net, server: RealSendmail, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    """A guard that believes the balancer."""
    with guarding(
        net.guard,
        tmp_path_factory.mktemp("proxied"),
        backend(server),
        listen=EVERYWHERE,
        log={"level": 11},
        timeouts={"proxy_header": HEADER_SECONDS},
        listeners=proxied(*BALANCER),
    ) as running:
        yield running


@pytest.fixture(scope="module", params=[("send-proxy", V4), ("send-proxy-v2", V6)], ids=["v1", "v2"])
def balancer(request: pytest.FixtureRequest, net: Net, guard: Guard) -> Iterator[RealHaproxy]:
    """HAProxy, with headers of either version, over either family."""
    sends, family = request.param
    with on(net.balancer, RealHaproxy((GUARD[family], guard.ports[family]), sends, BALANCER)) as running:
        yield running


def by_hand(net: Net, guard: Guard, octets: bytes, greet: bool = False) -> Talk:
    """Connect from the balancer's host and send this."""
    client = net.balancer.talk(GUARD[V4], guard.port, greet=False)
    client.send(octets)
    if greet:
        client.banner = client.reply().decode()
        assert client.banner.startswith("220 ")
    return client


def dropped(host: Host, at: tuple[str, int], octets: bytes = b"") -> bool:
    """Connect and send this; wait for the end, and tell if not a single octet came before it."""
    try:
        client = host.talk(*at, greet=False)
    except ConnectionResetError:
        return True  # it was over before there was time for an octet
    with client:
        with suppress(ConnectionError):  # the same
            client.send(octets)
        return client.closed()


# -- behind HAProxy ---------------------------------------------------------------------------------


@both
def test_the_policy_sees_the_client_and_not_the_balancer(
    net: Net, guard: Guard, balancer: RealHaproxy, family: int
) -> None:
    """Whatever way the balancer takes to the guard; and the log has the client."""
    for host, addresses, answer in ((net.outsider, OUTSIDER, NO_VRFY), (net.insider, INSIDER, GEORGE)):
        before = len(guard.lines())
        with host.talk(BALANCER[family], balancer.ports[family]) as client:
            assert client.banner.startswith("220 x.test ")
            assert client.say("EHLO me.test").startswith("250-x.test ")
            assert client.say("VRFY george") == answer
            assert client.say("QUIT").startswith("221 ")

        def logged(addresses: tuple[str, str] = addresses, before: int = before) -> bool:
            return f"disconnect from {of_guard(addresses[family])} " in "\n".join(guard.lines()[before:])

        wait_until(logged, "the client to be logged")


def test_a_header_that_a_client_sends_itself_is_a_refused_command(
    net: Net, guard: Guard, balancer: RealHaproxy
) -> None:
    """Only the first one counts, which is the balancer's."""
    with net.outsider.talk(BALANCER[V4], balancer.ports[V4]) as client:
        assert client.say(header(1, INSIDER, V4).removesuffix(b"\r\n")) == UNRECOGNIZED
        assert client.say("VRFY george") == NO_VRFY
    with net.outsider.talk(BALANCER[V4], balancer.ports[V4]) as client:
        client.send(header(2, INSIDER, V4) + b"VRFY george\r\n")
        assert b"george@x.test" not in client.rest()


@pytest.mark.parametrize("sends", ["send-proxy", "send-proxy-v2"])
def test_haproxy_finds_out_whether_the_guard_is_there(
    net: Net, server: RealSendmail, tmp_path: Path, sends: str
) -> None:
    """`option smtpchk` with `check-send-proxy`."""
    arguments = net.guard, tmp_path, backend(server)
    with guarding(*arguments, listeners=proxied(*BALANCER), log={"level": 11}) as running:
        target = GUARD[V4], running.port
        with on(net.balancer, RealHaproxy(target, sends, BALANCER, checked=True)) as checking:
            # Version 1 knows no LOCAL, and HAProxy says its own address.
            local = r"\[local\]" if sends == "send-proxy-v2" else re.escape(of_guard(BALANCER[V4]))
            running.wait_line(rf"disconnect from {local} ehlo=1 ")
            wait_until(lambda: checking.state == "UP", "haproxy to find the guard", 20, lambda: checking.state)
            running.stop()
            wait_until(lambda: checking.state == "DOWN", "haproxy to miss the guard", 20, lambda: checking.state)


# -- headers by hand ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "octets", [b"PROXY UNKNOWN\r\n", write_v2(None), b"PROXY UNKNOWN 10.1.2.3 10.1.2.4 1 2\r\n"], ids=repr
)
def test_who_is_not_named_is_in_no_network(net: Net, guard: Guard, octets: bytes) -> None:
    """UNKNOWN and LOCAL, though they come from a host that is inside."""
    with by_hand(net, guard, octets, greet=True) as client:
        assert client.say("VRFY george") == NO_VRFY
    guard.wait_line(r"\[(local|unknown)\]: VRFY george \[rejected\]")


@pytest.mark.parametrize("version", [1, 2])
@both
def test_nothing_is_said_before_the_header_is_complete(net: Net, guard: Guard, version: int, family: int) -> None:
    """It comes octet by octet, and all of it but the last octet is worth nothing."""
    octets = header(version, INSIDER, family)
    with by_hand(net, guard, b"") as client:
        for octet in octets[:-1]:
            client.send(bytes([octet]))
        assert client.quiet(HEADER_SECONDS / 4)
        client.send(octets[-1:])
        assert client.reply().startswith(b"220 x.test ")
        assert client.say("VRFY george") == GEORGE


@pytest.mark.parametrize("version", [1, 2])
def test_what_comes_with_the_header_is_the_clients(net: Net, guard: Guard, version: int) -> None:
    """In one segment with it."""
    with by_hand(net, guard, header(version, OUTSIDER, V4) + b"EHLO me.test\r\nVRFY george\r\nNOOP\r\n") as client:
        banner, greeting, vrfy, noop = client.replies(4)
        assert banner.startswith("220 x.test ")
        assert greeting.startswith("250-x.test ")
        assert vrfy == NO_VRFY
        assert noop.startswith("250 ")


@pytest.mark.parametrize(
    ("octets", "logged"),
    [
        (b"EHLO me.test\r\nVRFY george\r\n", r"no PROXY header: another beginning: E"),
        (b"PROXY TCP4 10.1.2.3 10.1.2.4 1\r\nEHLO me.test\r\n", r"line that is cut off: PROXY TCP4 10\.1\.2\.3 "),
        (b"PROXY TCP4 010.1.2.3 ", r"no address of the family that is said: PROXY TCP4 0"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x15", r"unknown family or transport: \\r\\n\\r\\n\\000\\r\\nQUIT\\n!"),
        (b"\r\n\r\n\0\r\nQUIT\n\x11", r"neither LOCAL nor PROXY of version 2"),
        (b"\x16\x03\x01\x02\x00\x01", r"unprintable octet: \\026"),
        (b"\x1b[2J\xff", r"unprintable octet: \\033"),
    ],
    ids=repr,
)
def test_what_is_no_header_ends_the_connection_without_a_word(
    net: Net, guard: Guard, octets: bytes, logged: str
) -> None:
    """The log shows it, and its octets stay harmless there."""
    assert dropped(net.balancer, (GUARD[V4], guard.port), octets)
    line = guard.wait_line(rf"rejecting connection from {re.escape(of_guard(BALANCER[V4]))}: .*{logged}")
    assert line.isprintable()


def test_no_header_in_time_ends_the_connection_without_a_word(net: Net, guard: Guard) -> None:
    """The time runs from the beginning, however busily octets come."""
    with by_hand(net, guard, b"") as idle, by_hand(net, guard, b"PROXY TCP4 10.1") as begun:
        assert idle.closed()
        assert begun.closed()
    guard.wait_line(rf"rejecting connection from {re.escape(of_guard(BALANCER[V4]))}: no PROXY header within 1 s")


@both
def test_headers_of_others_are_not_even_read(net: Net, guard: Guard, family: int) -> None:
    """An outsider that knows the guard's own address names itself an insider."""
    claim = header(1, INSIDER, V4) + b"EHLO me.test\r\nVRFY george\r\n"
    assert dropped(net.outsider, (GUARD[family], guard.ports[family]), claim)
    guard.wait_line(rf"rejecting connection from {re.escape(of_guard(OUTSIDER[family]))}: its PROXY headers are not")


def test_connections_that_wait_for_a_header_count_as_sessions(net: Net, server: RealSendmail, tmp_path: Path) -> None:
    """`limits.sessions`; whoever is over it hears nothing, and there is room again when they have gone."""
    with guarding(
        net.guard, tmp_path, backend(server), listeners=proxied(*BALANCER), limits={"sessions": 3}
    ) as running:
        with ExitStack() as stack:
            waiting = [stack.enter_context(by_hand(net, running, b"")) for _ in range(2)]
            stack.enter_context(by_hand(net, running, header(1, OUTSIDER, V4), greet=True))
            assert dropped(net.balancer, (GUARD[V4], running.port))
            waiting[0].send(header(2, OUTSIDER, V4))
            assert waiting[0].reply().startswith(b"220 ")

        def room() -> bool:
            try:
                with by_hand(net, running, header(1, OUTSIDER, V4)) as client:
                    return client.reply().startswith(b"220 ")
            except (ConnectionError, NotSmtp):
                return False

        wait_until(room, "room for another session")


def test_a_client_of_the_wrong_family_gets_421_under_transparent(
    net: Net, server: RealSendmail, tmp_path: Path
) -> None:
    """Its header carries IPv6, and the mail server has no such address."""
    shown = {"endpoint": f"tcp:127.0.0.1:{server.port}", "identity": "transparent"}
    listen = EVERYWHERE[:1]
    with (
        routes(net.guard),
        guarding(net.guard, tmp_path, shown, listen=listen, listeners=proxied(*BALANCER, listen=listen)) as running,
    ):
        with by_hand(net, running, header(1, OUTSIDER, V6)) as client:
            assert client.reply().startswith(UNAVAILABLE.encode())
            assert client.closed()
        running.wait_line(
            rf"{re.escape(of_guard(OUTSIDER[V6]))}: mail server: cannot connect: an IPv6 client cannot connect to "
            rf"tcp:127\.0\.0\.1:{server.port}"
        )
        with by_hand(net, running, header(1, OUTSIDER, V4), greet=True) as client:
            assert f"[{OUTSIDER[V4]}]" in client.banner
