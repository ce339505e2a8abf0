"""What a session in TLS is: who the client is, what AUTH costs, what counts on, and how it ends."""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Callable

import pytest

from tests.identity.proxy_headers import v2
from tests.rig.sendmail import AUTH_PASSWORD, AUTH_USER
from tests.sendmail.support import ALL, GEORGE, INSIDE, NO_VRFY, OUTSIDE, ask
from tests.tls.support import Issued

from .conftest import Ports
from .support import (
    HASTY,
    TLS_LINE,
    Certified,
    TlsTalk,
    closed_unless_good,
    commands,
    implicit,
    listening_client,
    session,
    starttls,
)

BALANCER = "127.0.0.4"
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
BOTH = pytest.mark.parametrize("way", ["starttls", "implicit"])


def begin(
    ports: Ports,
    way: str,
    context: ssl.SSLContext,
    source: str = OUTSIDE,
    header: bytes | None = None,
    greeting: str = "me.test",
) -> TlsTalk:
    """Come to TLS and say EHLO in it; with a header, through the balancer."""
    if header is None:
        client = (starttls if way == "starttls" else implicit)(getattr(ports, way), context, source)
    elif way == "implicit":
        client = implicit(ports.proxied_implicit, context, BALANCER, before=header)
    else:
        client = TlsTalk("127.0.0.1", ports.proxied, BALANCER, greet=False)
        with closed_unless_good(client):
            client.send(header)
            client.reply()
            assert ask(client, "EHLO me.test", "STARTTLS")[1].startswith("220 ")
            client.shake_hands(context)
    with closed_unless_good(client):
        client.say(f"EHLO {greeting}")
    return client


# -- certificates of clients ---------------------------------------------------------------


@BOTH
@VERSIONS
def test_a_verified_name_is_what_rules_go_by(
    plain_ports: Ports, certified: Certified, way: str, version: ssl.TLSVersion
) -> None:
    """`tls_name: "*.partner.test"` lets it VRFY; the log says who it was."""
    partner = certified.authority.issue(("mx.partner.test",), client=True)
    with begin(plain_ports, way, certified.trusting(partner, version), "127.0.0.21") as client:
        assert client.say("VRFY george") == GEORGE
    version_text = {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
    pattern = TLS_LINE.format(r"\[127\.0\.0\.21\]", re.escape(version_text), "OK", r"\S+")
    plain_ports.guard.wait_line(pattern + r", cert=mx\.partner\.test$")


@BOTH
@pytest.mark.parametrize("other", ["mx.other.test", "partner.test", ""])
def test_another_name_or_none_grants_nothing(plain_ports: Ports, certified: Certified, way: str, other: str) -> None:
    """The client is served as everybody is."""
    certificate = certified.authority.issue((other,), client=True) if other else None
    with begin(plain_ports, way, certified.trusting(certificate)) as client:
        assert client.say("VRFY george") == NO_VRFY


def _by_a_stranger(certified: Certified) -> Issued:
    return certified.stranger.issue(("mx.partner.test",), client=True)


def _expired(certified: Certified) -> Issued:
    return certified.authority.issue(("mx.partner.test",), client=True, expired=True)


def _for_servers(certified: Certified) -> Issued:
    return certified.authority.issue(("mx.partner.test",))


@BOTH
@VERSIONS
@pytest.mark.parametrize("wrong", [_by_a_stranger, _expired, _for_servers])
def test_a_certificate_that_is_not_verified_fails_the_handshake(
    plain_ports: Ports, certified: Certified, way: str, version: ssl.TLSVersion, wrong: Callable[[Certified], Issued]
) -> None:
    """Under TLS 1.3 the client learns that from the first octet it reads; a session there never is."""
    source = f"127.0.0.{30 + len(wrong.__name__)}"  # one of its own for each, so that the line is its own
    with (
        pytest.raises((ssl.SSLError, ConnectionResetError)),
        begin(plain_ports, way, certified.trusting(wrong(certified), version), source),
    ):
        raise AssertionError("it was served")
    why = r"certificate not accepted: .*, relay=\[" + re.escape(source)
    plain_ports.guard.wait_line(r"STARTTLS=server, error: " + why)


# -- AUTH --------------------------------------------------------------------------------------

PLAIN = base64.b64encode(f"\0{AUTH_USER}\0{AUTH_PASSWORD}".encode()).decode()
WRONG = base64.b64encode(f"\0{AUTH_USER}\0{AUTH_PASSWORD}-not".encode()).decode()
NAME, PASSWORD = (base64.b64encode(word.encode()).decode() for word in (AUTH_USER, AUTH_PASSWORD))


def test_auth_is_for_tls_only_and_no_credential_is_in_the_log(plain_ports: Ports, certified: Certified) -> None:
    """Hidden and refused before; in TLS sendmail decides, and what it decided is logged."""
    source = "127.0.0.41"
    with TlsTalk("127.0.0.1", plain_ports.starttls, source) as client:
        assert "AUTH" not in client.keywords()
        assert client.say(f"AUTH PLAIN {PLAIN}").startswith("538 5.7.11 ")
        assert client.say(f"AUTH LOGIN {NAME}").startswith("538 5.7.11 ")
        assert client.say("STARTTLS").startswith("220 ")
        client.shake_hands(certified.trusting())
        assert "AUTH" in client.keywords()
        assert ask(client, "AUTH LOGIN", NAME, PASSWORD)[-1].startswith("235 2.0.0 ")
    with begin(plain_ports, "implicit", certified.trusting(), source) as client:
        assert client.say(f"AUTH PLAIN {PLAIN}").startswith("235 2.0.0 ")
        assert ask(client, "MAIL FROM:<auth@b.example>", "RCPT TO:<somebody@else.example>")[1].startswith("250 ")
    for mechanism in ("LOGIN", "PLAIN"):
        plain_ports.guard.wait_line(rf"AUTH=server, relay=\[{re.escape(source)}\], mech={mechanism}$")
        plain_ports.server.wait_log(rf"AUTH=server, relay=localhost .*, authid={AUTH_USER}\b.*, mech={mechanism}")
    log = "\n".join(plain_ports.guard.lines())
    assert not [secret for secret in (PLAIN, NAME, PASSWORD, AUTH_PASSWORD) if secret in log]


def test_a_client_whose_auth_failed_is_treated_so(plain_ports: Ports, certified: Certified) -> None:
    """`auth_failed: true, action: close` for VRFY; NOOP has no such rule."""
    with begin(plain_ports, "starttls", certified.trusting(), INSIDE) as client:
        assert client.say("VRFY george") == GEORGE
        assert client.say(f"AUTH PLAIN {WRONG}").startswith("535 5.7.0 ")
        assert client.say("NOOP").startswith("250 ")
        assert client.say("VRFY george").startswith("421 4.7.0 ")
        assert client.closed()
    plain_ports.guard.wait_line(r"AUTH failure \(PLAIN\): authentication failure \(535\) .*, relay=localhost \[127")
    assert WRONG not in "\n".join(plain_ports.guard.lines())


def test_no_auth_goes_on_behind_starttls(plain_ports: Ports, certified: Certified) -> None:
    """An exchange that was begun in clear would end in TLS: it cannot be begun there."""
    with begin(plain_ports, "starttls", certified.trusting()) as client:
        assert client.say(f"AUTH PLAIN {PLAIN}").startswith("235 ")
        assert client.say("STARTTLS") == "503 5.5.1 TLS is in use already"


# -- what counts on ------------------------------------------------------------------------


def test_hasty_clients_are_sent_away_in_tls_too(plain_ports: Ports, certified: Certified) -> None:
    """`early_input: reject`: commands behind EHLO, and before the banner of a TLS session."""
    with starttls(plain_ports.starttls, certified.trusting(), HASTY) as client:
        client.send(b"EHLO me.test\r\nNOOP\r\n")
        assert client.reply().startswith(b"554 5.5.0 ")
        assert client.closed()
    with starttls(plain_ports.starttls, certified.trusting(), HASTY) as client:
        assert client.say("EHLO me.test").startswith("250-")
        assert client.say("NOOP").startswith("250 ")


def test_a_budget_is_not_filled_up_by_starttls(plain_ports: Ports, certified: Certified) -> None:
    """20 refusals, ten in clear and ten inside; the 21st is the last."""
    with TlsTalk("127.0.0.1", plain_ports.starttls, OUTSIDE) as client:
        client.say("EHLO me.test")
        assert ask(client, *["VRFY george"] * 10) == [NO_VRFY] * 10
        assert client.say("STARTTLS").startswith("220 ")
        client.shake_hands(certified.trusting())
        assert ask(client, *["VRFY george"] * 10) == [NO_VRFY] * 10
        assert client.say("VRFY george").startswith("421 4.7.0 ")
        assert client.closed()


# -- behind a balancer -------------------------------------------------------------------------


def _v1(address: str) -> bytes:
    return f"PROXY TCP4 {address} 192.0.2.25 4711 25\r\n".encode()


def _v2(address: str) -> bytes:
    block = bytes(map(int, f"{address}.192.0.2.25".split("."))) + (4711).to_bytes(2, "big") + (25).to_bytes(2, "big")
    return v2(0x11, block)


@BOTH
@pytest.mark.parametrize("header", [_v1, _v2])
@pytest.mark.parametrize(("address", "reply"), [(INSIDE, GEORGE), ("203.0.113.9", NO_VRFY)])
def test_the_header_says_who_is_in_tls(
    plain_ports: Ports, certified: Certified, way: str, header: Callable[[str], bytes], address: str, reply: str
) -> None:
    """Rules and log go by it; TLS comes behind it, at once or by STARTTLS."""
    with begin(plain_ports, way, certified.trusting(), header=header(address)) as client:
        assert client.say("VRFY george") == reply
    plain_ports.guard.wait_line(rf"STARTTLS=server, relay=(localhost )?\[{re.escape(address)}\], version=TLSv1\.3")


@pytest.mark.parametrize("header", [_v1, _v2])
def test_a_header_and_a_handshake_may_come_in_one_segment(
    plain_ports: Ports, certified: Certified, header: Callable[[str], bytes]
) -> None:
    """What is behind the header is the client's hello, and none of it is lost."""
    hello, finish = listening_client(certified.trusting())
    with TlsTalk("127.0.0.1", plain_ports.proxied_implicit, BALANCER, greet=False) as client:
        client.send(header("203.0.113.9") + hello)
        assert finish(client).startswith(b"220 x.test ")


def test_a_header_in_tls_is_no_header(plain_ports: Ports, certified: Certified) -> None:
    """It belongs to the connection, in front of TLS; behind that it is a line like another."""
    with begin(plain_ports, "implicit", certified.trusting()) as client:
        assert client.say(_v1(INSIDE).decode().strip()).startswith("500 ")
        assert client.say("VRFY george") == NO_VRFY


# -- ends ------------------------------------------------------------------------------------------


@BOTH
@VERSIONS
@pytest.mark.parametrize("end", ["close_notify", "FIN", "reset"])
def test_a_message_cut_off_in_tls_is_none(
    plain_ports: Ports, certified: Certified, way: str, version: ssl.TLSVersion, end: str
) -> None:
    """However the client goes away, and however near the end of its message."""
    server, before = plain_ports.server, len(plain_ports.server.traffic())
    cuts = {f"cut-{number}.test": last for number, last in enumerate((b"", b"\r\n", b"\r\n."))}
    for name, last in cuts.items():
        with begin(plain_ports, way, certified.trusting(version=version), greeting=name) as client:
            ask(client, "MAIL FROM:<broken@b.example>", "RCPT TO:<george@x.test>", "DATA")
            client.send(b"Subject: s\r\n\r\ntext" + last)
            if end == "close_notify":
                client.tls.unwrap()
            elif end == "FIN":
                client.raw_half_close()
                assert client.closed()
    for name in cuts:
        assert "Message accepted" not in session(server, name, before)
    assert not [one for one in server.deliveries(0) if one.sender == "broken@b.example"]


def test_a_half_close_in_tls_still_gets_every_reply(plain_ports: Ports, certified: Certified) -> None:
    """A close_notify ends one direction only (RFC 8446 6.1)."""
    hello, finish = listening_client(certified.trusting(), b"EHLO me.test\r\nVRFY george\r\nEXPN all\r\nNOOP\r\n")
    with TlsTalk("127.0.0.1", plain_ports.implicit, INSIDE, greet=False) as client:
        client.send(hello)
        replies = finish(client)
    assert replies.startswith(b"220 ")
    expected = [GEORGE, *ALL.split("\n"), "250 2.0.0 OK"]
    assert replies.decode().split("\r\n")[-6:] == [*expected, ""]


def test_a_client_that_leaves_in_order_sees_an_orderly_end(plain_ports: Ports, certified: Certified) -> None:
    """Behind 221 a close_notify: else its library would call the session truncated."""
    with begin(plain_ports, "starttls", certified.trusting()) as client:
        assert client.say("QUIT").startswith("221 ")
        assert client.tls.recv(1) == b""


def test_mail_in_tls_is_one_transaction_for_the_server(plain_ports: Ports, certified: Certified) -> None:
    """What was said in clear does not count: MAIL in front of STARTTLS stays behind."""
    before = len(plain_ports.server.traffic())
    with TlsTalk("127.0.0.1", plain_ports.starttls, OUTSIDE) as client:
        ask(client, "EHLO anew.test", "MAIL FROM:<one@b.example>")
        assert client.say("STARTTLS").startswith("503 5.5.1 ")
        ask(client, "RSET", "STARTTLS")
        client.shake_hands(certified.trusting())
        assert client.say("DATA").startswith("503 ")
        client.say("QUIT")
        assert client.closed()
    read = commands(plain_ports.server, "anew.test", before)
    assert read == ["EHLO anew.test", "MAIL FROM:<one@b.example>", "RSET", "DATA", "QUIT"]
