"""`identity: proxy-v1` and `proxy-v2`: real mail servers behind the guard take the client from its header."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from smtpguard.identity.proxy_protocol import write_v2
from tests.rig.haproxy import RealHaproxy
from tests.rig.opensmtpd import RealOpenSmtpd
from tests.rig.postfix import RealPostfix

from .support import (
    BALANCER,
    CUSTOMER,
    FOREIGN,
    GUARD,
    INSIDER,
    OUTSIDER,
    UNAVAILABLE,
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

POSTFIX: Final = {
    "inet_protocols": "all",
    # The customers may relay; all others get what a stock Postfix says to strangers.
    "mynetworks": f"{CUSTOMER[V4]}, [{CUSTOMER[V6]}]",
    "debug_peer_list": "0.0.0.0/0, [::]/0",
    "smtpd_upstream_proxy_protocol": "haproxy",
}
DENIED: Final = "454 4.7.1 <somebody@else.example>: Relay access denied"


class ProxiedOpenSmtpd(RealOpenSmtpd):
    """An OpenSMTPD that wants a header."""

    def configure(self, root: Path) -> None:
        super().configure(root)
        (file,) = (root / "etc").glob("*smtpd.conf")
        listener = f"listen on 127.0.0.1 port {self.port}"
        assert listener in file.read_text()
        file.write_text(file.read_text().replace(listener, f"{listener} proxy-v2"))


@pytest.fixture(scope="module")
def postfix(net: Net) -> Iterator[RealPostfix]:
    """Postfix, at 127.0.0.1 and ::1 of the guard's host, which wants a header from everybody."""
    with on(net.guard, RealPostfix(POSTFIX)) as running:
        yield running


@pytest.mark.parametrize("identity", ["proxy-v1", "proxy-v2"])
@pytest.mark.parametrize("at", ["127.0.0.1", "::1"])
def test_postfix_logs_and_judges_the_client(
    net: Net, postfix: RealPostfix, tmp_path: Path, identity: str, at: str
) -> None:
    """Clients of both families, whichever the guard and Postfix have between them."""
    shown = {"endpoint": endpoint(at, postfix.port), "identity": identity, "profile": "postfix"}
    with guarding(net.guard, tmp_path, shown) as guard:
        # A stock Postfix puts off mail to elsewhere (454), and that is an answer too.
        guard.wait_line(r"refuses to relay mail from 198\.51\.100\.1: 454 4\.7\.1 .*Relay access denied")
        for family in (V4, V6):
            sender, since = f"{identity}-{family}-{at.count(':')}@b.example", postfix.mark()
            with net.outsider.talk(GUARD[family], guard.ports[family]) as client:
                assert client.say("EHLO me.test").startswith("250-x.test")
                client.say("MAIL FROM:<a@b.example>")
                assert client.say(FOREIGN) == DENIED
                client.say("RSET")
                mail_from(client, sender=sender)
                leave(client)
            postfix.wait_sessions(1, since)
            said = "\n".join(postfix.records()[since:])
            address = OUTSIDER[family]
            assert f"connect from unknown[{address}]" in said
            assert f"client=unknown[{address}]" in said
            (mail,) = delivered(postfix, sender)
            in_mail = f"IPv6:{address}" if family == V6 else address
            assert f"Received: from me.test (unknown [{in_mail}])".encode() in mail.content
            with net.customer.talk(GUARD[family], guard.ports[family]) as client:
                client.say("EHLO me.test")
                client.say("MAIL FROM:<a@b.example>")
                assert client.say(FOREIGN) == "250 2.1.5 Ok"


@both
def test_a_client_is_told_all_the_way_from_haproxy_to_postfix(
    net: Net, postfix: RealPostfix, tmp_path: Path, family: int
) -> None:
    """HAProxy -> guard -> Postfix, by a header each; at each place the client is the client."""
    shown = {"endpoint": endpoint("127.0.0.1", postfix.port), "identity": "proxy-v2", "profile": "postfix"}
    with guarding(net.guard, tmp_path, shown, listeners=proxied(*BALANCER)) as guard:
        target = GUARD[V4], guard.ports[V4]
        with on(net.balancer, RealHaproxy(target, "send-proxy-v2", BALANCER)) as balancer:
            for host, addresses, vrfy, rcpt in (
                (net.outsider, OUTSIDER, "252 2.5.2 ", DENIED),
                (net.customer, CUSTOMER, "252 2.0.0 george", "250 2.1.5 Ok"),
            ):
                since = postfix.mark()
                with host.talk(BALANCER[family], balancer.ports[family]) as client:
                    client.say("EHLO me.test")
                    # Postfix's VRFY says 252 2.0.0, the guard's is 252 2.5.2.
                    assert client.say("VRFY george").startswith(vrfy)
                    client.say("MAIL FROM:<a@b.example>")
                    assert client.say(FOREIGN) == rcpt
                    leave(client)
                postfix.wait_log(rf"disconnect from unknown\[{re.escape(addresses[family])}\] ")
                assert f"connect from unknown[{addresses[family]}]" in "\n".join(postfix.records()[since:])
            # LOCAL: the balancer speaks for itself, and Postfix may know whom it has before it.
            with net.balancer.talk(GUARD[V4], guard.ports[V4], greet=False) as client:
                client.send(write_v2(None))
                assert client.reply().startswith(b"220 ")
            postfix.wait_log(rf"disconnect from unknown\[{BALANCER[V4]}\] ")
            # Who is not known at all cannot be told: behind UNKNOWN Postfix would take the guard for the client.
            with net.balancer.talk(GUARD[V4], guard.ports[V4], greet=False) as client:
                client.send(b"PROXY UNKNOWN\r\n")
                assert client.reply().startswith(UNAVAILABLE.encode())
            guard.wait_line(r"\[unknown\]: mail server: cannot connect: the client has no address that a PROXY header")


def test_opensmtpd_takes_the_client_from_version_2(net: Net, tmp_path: Path) -> None:
    """`listen on ... proxy-v2`."""
    with on(net.guard, ProxiedOpenSmtpd()) as server:
        shown = {"endpoint": endpoint("127.0.0.1", server.port), "identity": "proxy-v2", "profile": "opensmtpd"}
        with guarding(net.guard, tmp_path, shown) as guard:
            guard.wait_line(r"refuses to relay mail from 198\.51\.100\.1: 550 Invalid recipient")
            for family, host in ((V4, net.outsider), (V6, net.insider)):
                with host.talk(GUARD[family], guard.ports[family]) as client:
                    assert client.say("EHLO me.test").startswith("250-x.test Hello me.test")
                    mail_from(client)
                    leave(client)
            received = b"\n".join(one.content for one in server.deliveries(2))
            for address in (OUTSIDER[V4], INSIDER[V6]):
                assert f"Received: from me.test (<unknown> [{address}])".encode() in received


def test_postfix_that_expects_no_header_is_never_served(net: Net, tmp_path: Path) -> None:
    """It takes the header for a command; nothing that it says behind that is believed."""
    with on(net.guard, RealPostfix()) as plain:
        shown = {"endpoint": endpoint("127.0.0.1", plain.port), "identity": "proxy-v1", "profile": "postfix"}
        with guarding(net.guard, tmp_path, shown) as guard:
            guard.wait_line("relay check: .* gave no clear answer: ")
            with net.outsider.talk(GUARD[V4], guard.port) as client:
                assert client.banner.startswith(UNAVAILABLE)
