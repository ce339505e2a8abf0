"""TLS towards the mail server, required and opportunistic, with servers as they should be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest

from tests.rig.client import Talk
from tests.rig.postfix import RealPostfix
from tests.rig.sendmail import RealSendmail
from tests.rig.wait import wait_until
from tests.sendmail.support import GEORGE, INSIDE, NO_VRFY, OUTSIDE, ask, delivered

from .leg import GREETING, guarding, required
from .scripted import Conversation, ScriptedBackend, up_to_starttls, upgrading
from .support import BACKEND, Certified, starttls

SENDMAIL_IN_TLS: Final = r"STARTTLS=server, relay=.*, version=TLSv1\.3, verify=NO, cipher=TLS_AES_256_GCM_SHA384"


class EncryptingPostfix(RealPostfix):
    """A Postfix with STARTTLS, that believes everybody's XCLIENT."""

    def __init__(self, certified: Certified) -> None:
        super().__init__(
            {
                "smtpd_tls_security_level": "may",
                "smtpd_tls_chain_files": "/etc/postfix/chain.pem",
                "smtpd_tls_received_header": "yes",
                "smtpd_authorized_xclient_hosts": "127.0.0.0/8",
            }
        )
        self._issued = certified.authority.issue((BACKEND,))

    def configure(self, root: Path) -> None:
        super().configure(root)
        (root / "etc/postfix/chain.pem").write_bytes(self._issued.key_pem + self._issued.chain_pem)
        with (root / "etc/postfix/master.cf").open("a") as file:
            file.write("tlsmgr unix - - n 1000? 1 tlsmgr\n")


# -- required ------------------------------------------------------------------------------


def test_the_right_server_is_reached_in_tls(certified: Certified, encrypting_mx: RealSendmail, tmp_path: Path) -> None:
    """The relay check asks in TLS too; sendmail says what it saw."""
    address, before = (encrypting_mx.address, encrypting_mx.port), len(encrypting_mx.log())
    options: dict[str, Any] = {**required(certified), "bind": {"internal": INSIDE, "default": "127.0.0.25"}}
    with guarding(tmp_path, certified, address, "enforce", **options) as guard:
        guard.wait_line(r"relay check: .* refuses to relay mail from 127\.0\.0\.25: 550 5\.7\.1 ")
        for source, reply in ((INSIDE, GEORGE), (OUTSIDE, NO_VRFY)):
            with Talk("127.0.0.1", guard.port, source) as client:
                assert client.banner.startswith("220 x.test ESMTP Sendmail")
                assert ask(client, "EHLO me.test", "VRFY george")[1] == reply
                assert client.say("QUIT").startswith("221 ")
    log = encrypting_mx.log()[before:]
    assert len(re.findall(SENDMAIL_IN_TLS, log)) == 3
    assert "error" not in log


def test_there_is_tls_on_both_legs(certified: Certified, encrypting_mx: RealSendmail, tmp_path: Path) -> None:
    """One ends where the other begins; the mail is what it was, and sendmail does not count one EHLO too many."""
    address, sender = (encrypting_mx.address, encrypting_mx.port), "both-legs@b.example"
    before = len(encrypting_mx.log())
    body = b"".join(b"%d \xe4\r\n" % number for number in range(20_000))
    with guarding(tmp_path, certified, address, **required(certified)) as guard:
        with starttls(guard.port, certified.trusting(), OUTSIDE) as client:
            assert "STARTTLS" not in client.keywords()
            ask(client, f"MAIL FROM:<{sender}> BODY=8BITMIME", "RCPT TO:<george@x.test>", "DATA")
            client.send(b"Subject: s\r\n\r\n" + body)
            assert client.say(".").startswith("250 2.0.0 ")
        (delivery,) = delivered(encrypting_mx, sender)
        assert delivery.content.endswith(b"\n\n" + body.replace(b"\r\n", b"\n"))
        assert "possible SMTP attack" not in encrypting_mx.log()[before:]


@pytest.mark.parametrize("trusted", ["the authority", "the certificate itself"])
@pytest.mark.parametrize("name", [BACKEND, "127.0.0.1"])
def test_what_the_settings_trust_is_enough(certified: Certified, tmp_path: Path, name: str, trusted: str) -> None:
    """`ca` may be the server's own certificate; without `server_name` it must have the address."""
    issued = certified.authority.issue((name,), self_signed=trusted != "the authority")
    (tmp_path / "ca.pem").write_bytes(certified.authority.ca_pem if trusted == "the authority" else issued.chain_pem)
    options: dict[str, Any] = {"starttls": "required", "ca": "ca.pem"} | (
        {"server_name": name} if name == BACKEND else {}
    )
    with (
        ScriptedBackend(upgrading(certified.showing(issued))) as backend,
        guarding(tmp_path, certified, backend.address, **options) as guard,
    ):
        with Talk("127.0.0.1", guard.port, OUTSIDE) as client:
            assert ask(client, "EHLO me.test", "NOOP")[1] == "250 ok"
        assert backend.over()[0].lines == [GREETING, b"STARTTLS", b"EHLO me.test", b"NOOP"]


@pytest.mark.parametrize("leg", ["none", "required"])
@pytest.mark.parametrize("end", ["close_notify", "FIN", "reset"])
def test_a_message_that_is_cut_off_is_cut_off_by_a_reset(
    certified: Certified, tmp_path: Path, leg: str, end: str
) -> None:
    """An orderly end, or a close_notify, could be taken for the end of the message by a server that is not sendmail."""
    seen: list[str] = []
    context = certified.server(BACKEND)

    def act(talk: Conversation) -> None:
        if leg == "required":
            up_to_starttls(talk)
            talk.say(b"220 go\r\n")
            talk.secure(context)
        else:
            talk.say(b"220 backend\r\n")
        while (line := talk.line()) != b"text":
            talk.say(b"354 go\r\n" if line == b"DATA" else b"250 ok\r\n")
        seen.append(talk.end())

    options = required(certified) if leg == "required" else {}
    with (
        ScriptedBackend(act) as backend,
        guarding(tmp_path, certified, backend.address, **options) as guard,
    ):
        with starttls(guard.port, certified.trusting(), OUTSIDE) as client:
            ask(client, "MAIL FROM:<a@b.example>", "RCPT TO:<george@x.test>", "DATA")
            client.send(b"text\r\nand more")
            wait_until(lambda: backend.conversations[0].lines[-1] == b"text", "the message at the server")
            if end == "close_notify":
                client.tls.unwrap()
            elif end == "FIN":
                client.raw_half_close()
                assert client.closed()
        backend.over()
    assert seen == ["reset"]


# -- opportunistic -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["encrypting", "plain"])
def test_tls_is_used_where_it_is_offered(
    certified: Certified, request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Whatever the certificate; otherwise in clear.  Clients see the same in either case."""
    server: RealSendmail = request.getfixturevalue(f"{kind}_mx")
    before = len(server.log())
    with (
        guarding(tmp_path, certified, (server.address, server.port), starttls="opportunistic") as guard,
        Talk("127.0.0.1", guard.port) as client,
    ):
        assert ask(client, "EHLO me.test", "VRFY george")[1] == NO_VRFY
        assert client.say("QUIT").startswith("221 ")
    assert len(re.findall(SENDMAIL_IN_TLS, server.log()[before:])) == (kind == "encrypting")


def test_nobody_is_verified_where_tls_is_opportunistic(certified: Certified, tmp_path: Path) -> None:
    """Any certificate is better than none against those who only listen."""
    with (
        ScriptedBackend(upgrading(certified.server("other.test", by=certified.stranger))) as backend,
        guarding(tmp_path, certified, backend.address, starttls="opportunistic") as guard,
    ):
        with Talk("127.0.0.1", guard.port, OUTSIDE) as client:
            assert ask(client, "EHLO me.test", "NOOP")[1] == "250 ok"
        assert backend.over()[0].lines[1] == b"STARTTLS"


# -- Postfix, which is told who the client is ----------------------------------------------


def test_postfix_is_told_who_the_client_is_in_tls(certified: Certified, tmp_path: Path) -> None:
    """STARTTLS, EHLO, XCLIENT, and then the client's own words; both legs are in TLS."""
    with EncryptingPostfix(certified) as server:
        address = (server.address, server.port)
        options: dict[str, Any] = {**required(certified), "identity": "xclient", "profile": "postfix"}
        with guarding(tmp_path, certified, address, **options) as guard:
            with starttls(guard.port, certified.trusting(), "127.0.0.77") as client:
                ask(client, "EHLO me.test", "MAIL FROM:<xclient@b.example>", "RCPT TO:<george@x.test>", "DATA")
                client.send(b"Subject: s\r\n\r\ntext\r\n")
                assert client.say(".").startswith("250 2.0.0 ")
            (delivery,) = server.deliveries(1)
            assert re.search(rb"^Received: from me\.test \(unknown \[127\.0\.0\.77\]\)", delivery.content, re.MULTILINE)
            assert b"(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384" in delivery.content
            starttls_said, xclient = [line for line in server.commands() if not line.startswith("EHLO ")][:2]
            assert starttls_said == "STARTTLS"
            assert re.fullmatch(r"XCLIENT NAME=\[UNAVAILABLE\] .*\bADDR=127\.0\.0\.77\b.*", xclient)
