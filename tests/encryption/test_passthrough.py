"""`passthrough`: clients in the networks named reach the server's own STARTTLS, and nobody else does."""

from __future__ import annotations

import contextlib
import re
import ssl
import subprocess
from collections.abc import Iterator

import pytest

from tests.rig.guard import Guard
from tests.rig.sendmail import RealSendmail
from tests.rig.wait import wait_until
from tests.sendmail.support import GEORGE, NO_VRFY, OUTSIDE, ConfiguredGuard, ask, delivered

from .scripted import Conversation, ScriptedBackend, up_to_starttls
from .support import BACKEND, MX, POLICY, Certified, TlsTalk, commands, listener, listening, s_client, session, starttls

TRUSTED = "127.0.0.4"
"""In the network of that name."""
UNINSPECTED = rf"\[{re.escape(TRUSTED)}\]: STARTTLS passed through: the rest of the session is uninspected"


@pytest.fixture(scope="module")
def guard(
    certified: Certified, encrypting_mx: RealSendmail, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guard]:
    """Before a sendmail with STARTTLS; the second listener has no certificates of its own."""
    settings = listening(
        listener("mx", starttls={"certificates": str(certified.sites), "passthrough": ["trusted"]}),
        listener("bare", starttls={"passthrough": ["trusted"]}),
    )
    folder = tmp_path_factory.mktemp("passthrough")
    with ConfiguredGuard(folder, (encrypting_mx.address, encrypting_mx.port), POLICY, **settings) as running:
        yield running


@pytest.mark.parametrize("number", [0, 1])
def test_the_trusted_see_the_servers_certificate(
    guard: Guard, encrypting_mx: RealSendmail, certified: Certified, number: int
) -> None:
    """And its STARTTLS, which it says itself; inside, no rule of the guard holds."""
    before, name = len(encrypting_mx.log()), f"tunnel-{number}.test"
    with starttls(guard.ports[number], certified.trusting(), TRUSTED, BACKEND, name) as client:
        assert client.host_names == [BACKEND]
        assert "EXPN" in client.keywords()
        assert client.say("VRFY george") == GEORGE
        assert client.say("QUIT").startswith("221 ")
        assert client.closed()
    assert commands(encrypting_mx, name)[:2] == [f"EHLO {name}", "STARTTLS"]
    assert "STARTTLS=server, relay=" in encrypting_mx.log()[before:]


def test_openssl_talks_to_the_server_through_the_guard(guard: Guard, certified: Certified) -> None:
    """Its chain is the server's."""
    options = (
        "-bind",
        f"{TRUSTED}:0",
        "-CAfile",
        str(certified.ca),
        "-verify_return_error",
        "-verify_hostname",
        BACKEND,
    )
    seen = s_client(guard.port, *options, said="VRFY george\r\nQUIT\r\n")
    assert "Verify return code: 0 (ok)" in seen
    assert f"{GEORGE}\r\n221 2.0.0 x.test closing connection\r\n" in seen


def test_swaks_sends_mail_through_the_tunnel(guard: Guard, encrypting_mx: RealSendmail, certified: Certified) -> None:
    """A megabyte, both ways of the tunnel at once."""
    sender = "tunnel@b.example"
    done = subprocess.run(
        [
            *("swaks", "--server", "127.0.0.1", "--port", str(guard.port), "--local-interface", TRUSTED),
            *("--helo", "me.test", "--from", sender, "--to", "george@x.test", "-tls"),
            *("--tls-verify", "--tls-ca-path", str(certified.ca), "--body", "-"),
        ],
        input="x" * 76 + "\n" + ("y" * 76 + "\n") * 13_000,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    (delivery,) = delivered(encrypting_mx, sender)
    assert delivery.content.count(b"y" * 76 + b"\n") == 13_000


def test_everybody_else_gets_the_guards_own(guard: Guard, encrypting_mx: RealSendmail, certified: Certified) -> None:
    """With its certificate, and with its rules; sendmail hears of no STARTTLS."""
    with starttls(guard.port, certified.trusting(), OUTSIDE, MX, "elsewhere.test") as client:
        assert client.host_names == [MX]
        assert "STARTTLS" not in client.keywords()
        assert client.say("VRFY george") == NO_VRFY
        assert client.say("QUIT").startswith("221 ")
    assert "STARTTLS" not in commands(encrypting_mx, "elsewhere.test")


def test_without_certificates_everybody_else_gets_none(guard: Guard, encrypting_mx: RealSendmail) -> None:
    """Hidden, and refused whoever knows that the server has it."""
    with TlsTalk("127.0.0.1", guard.ports[1], OUTSIDE) as client:
        assert "STARTTLS" not in client.keywords()
        assert client.say("STARTTLS") == "502 5.5.1 Command not implemented"
        ask(client, "EHLO bare.test", "QUIT")
        assert client.closed()
    assert commands(encrypting_mx, "bare.test") == ["EHLO me.test", "EHLO bare.test", "QUIT"]


def test_it_is_logged_once_a_session(guard: Guard, certified: Certified) -> None:
    """However much goes through the tunnel; nothing in it is taken for a command."""

    def told() -> int:
        return sum(re.search(UNINSPECTED, line) is not None for line in guard.lines())

    before, lines = told(), len(guard.lines())
    with starttls(guard.port, certified.trusting(), TRUSTED, BACKEND) as client:
        ask(client, "EHLO me.test", *["EXPN all"] * 3, "QUIT")
        assert client.closed()
    wait_until(lambda: any("disconnect from [127.0.0.4]" in line for line in guard.lines()[lines:]), "its end", 20)
    assert told() == before + 1
    assert not [line for line in guard.lines()[lines:] if "EXPN" in line]


def test_what_comes_behind_starttls_is_not_passed_on(guard: Guard, encrypting_mx: RealSendmail) -> None:
    """A tunnel begins with the server's 220, and what was there before it ends the session."""
    with TlsTalk("127.0.0.1", guard.port, TRUSTED) as client:
        client.say("EHLO behind.test")
        client.send(b"STARTTLS\r\nVRFY root\r\n")
        assert client.reply().startswith(b"554 5.5.0 ")
        assert client.closed()
    assert commands(encrypting_mx, "behind.test") == ["EHLO behind.test"]


def test_the_server_cannot_say_more_than_220(certified: Certified, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An answer in clear behind it would be taken for one in TLS: 421, and no tunnel."""

    def inject(talk: Conversation) -> None:
        up_to_starttls(talk)
        talk.say(b"220 go\r\n250 injected\r\n")
        talk.line()

    settings = listening(listener("bare", starttls={"passthrough": ["trusted"]}))
    folder = tmp_path_factory.mktemp("inject")
    with (
        ScriptedBackend(inject) as backend,
        ConfiguredGuard(folder, backend.address, POLICY, **settings) as guard,
        TlsTalk("127.0.0.1", guard.port, TRUSTED) as client,
    ):
        assert ask(client, "EHLO me.test", "STARTTLS")[1].startswith("421 4.3.0 ")
        assert client.rest() == b""


@pytest.mark.parametrize("end", ["FIN", "reset"])
def test_a_message_cut_off_in_the_tunnel_is_none(
    guard: Guard, encrypting_mx: RealSendmail, certified: Certified, end: str
) -> None:
    """The guard does not know that there is one, and lets go of the server as if there were."""
    sender, name = f"cut-in-tunnel-{end.lower()}@b.example", f"cut-{end}.test"
    with starttls(guard.port, certified.trusting(), TRUSTED, BACKEND, name) as client:
        ask(client, "EHLO me.test", f"MAIL FROM:<{sender}>", "RCPT TO:<george@x.test>", "DATA")
        client.send(b"Subject: s\r\n\r\ntext\r\n")
        if end == "FIN":
            client.raw_half_close()
            with contextlib.suppress(ssl.SSLEOFError, ConnectionResetError):
                client.rest()
    assert "Message accepted" not in session(encrypting_mx, name)
    assert not [one for one in encrypting_mx.deliveries(0) if one.sender == sender]
