"""SIGHUP: certificates are read again, and nobody who is served notices."""

from __future__ import annotations

import shutil
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.rig.client import Talk
from tests.rig.guard import Guard
from tests.rig.wait import wait_until
from tests.sendmail.support import OUTSIDE, ConfiguredGuard, ask, delivered
from tests.tls.support import Issued

from .conftest import Ports
from .leg import guarding, required
from .scripted import ScriptedBackend, upgrading
from .support import BACKEND, MX, POLICY, Certified, implicit, listener, listening, starttls

AGAIN = "reloaded: policy"
KEPT = "stays in use, and so do the settings and certificates"


class Renewable:
    """A guard with one certificate in two files, at a listener with STARTTLS and one in TLS."""

    def __init__(self, guard: Guard, chain: Path, key: Path, certified: Certified) -> None:
        self.guard = guard
        self.chain, self.key = chain, key
        self._certified = certified

    def write(self, issued: Issued) -> None:
        """Renew as ACME clients do: new files under the old names."""
        for path, octets in ((self.chain, issued.chain_pem), (self.key, issued.key_pem)):
            new = path.with_suffix(".new")
            new.write_bytes(octets)
            new.chmod(0o600)
            new.replace(path)

    def shown(self) -> list[list[str]]:
        """Return the names that new connections see."""
        context = self._certified.trusting()
        context.check_hostname = False
        found = []
        for begin, port in ((starttls, self.guard.ports[0]), (implicit, self.guard.ports[1])):
            with begin(port, context, OUTSIDE) as client:
                found.append(client.host_names)
        return found


def hang_up(guard: Guard, outcome: str) -> None:
    """Send SIGHUP, and wait for what comes of it."""

    def times() -> int:
        return sum(outcome in line for line in guard.lines())

    before = times()
    guard.signal(signal.SIGHUP)
    wait_until(lambda: times() > before, outcome, 20, lambda: "\n".join(guard.lines()))


@pytest.fixture
def renewable(plain_ports: Ports, certified: Certified, tmp_path: Path) -> Iterator[Renewable]:
    chain, key = certified.authority.issue((MX, "old.test")).write(tmp_path, "mx")
    certificates = {"certificates": {"chain": "mx.crt", "key": "mx.key"}}
    settings = listening(
        listener("mx", starttls=certificates),
        listener("submissions", starttls=certificates, tls="implicit"),
    )
    server = plain_ports.server
    with ConfiguredGuard(tmp_path, (server.address, server.port), POLICY, **settings) as guard:
        yield Renewable(guard, chain, key, certified)


def test_new_connections_see_the_new_certificate(renewable: Renewable, certified: Certified) -> None:
    """At every listener, and only when it was asked for."""
    assert renewable.shown() == [[MX, "old.test"]] * 2
    renewable.write(certified.authority.issue((MX, "new.test")))
    assert renewable.shown() == [[MX, "old.test"]] * 2
    hang_up(renewable.guard, AGAIN)
    assert renewable.shown() == [[MX, "new.test"]] * 2


@pytest.mark.parametrize("how", ["starttls", "implicit"])
def test_a_message_in_transfer_goes_on(
    renewable: Renewable, certified: Certified, plain_ports: Ports, how: str
) -> None:
    """Neither its keys nor its session are touched; the same for a session in clear, which then sees the new one."""
    begin, port = (starttls, renewable.guard.ports[0]) if how == "starttls" else (implicit, renewable.guard.ports[1])
    sender = f"reload-{how}@b.example"
    with (
        begin(port, certified.trusting(), OUTSIDE) as client,
        Talk("127.0.0.1", renewable.guard.ports[0], OUTSIDE) as plain,
    ):
        ask(client, "EHLO me.test", f"MAIL FROM:<{sender}>", "RCPT TO:<george@x.test>", "DATA")
        client.send(b"Subject: s\r\n\r\nbefore\r\n")
        plain.say("EHLO me.test")
        renewable.write(certified.authority.issue((MX, "new.test")))
        hang_up(renewable.guard, AGAIN)
        client.send(b"after\r\n" + b"x" * 70 + b"\r\n")
        assert client.say(".").startswith("250 2.0.0 ")
        assert client.host_names == [MX, "old.test"]
        assert plain.say("STARTTLS").startswith("220 ")
        assert client.say("QUIT").startswith("221 ")
    (delivery,) = delivered(plain_ports.server, sender)
    assert delivery.content.endswith(b"\n\nbefore\nafter\n" + b"x" * 70 + b"\n")


def test_a_broken_certificate_changes_nothing(renewable: Renewable, certified: Certified) -> None:
    """The one in use stays, the log names file and reason; mended, it is taken."""
    good = certified.authority.issue((MX, "new.test"))
    other = certified.authority.issue()
    broken = {
        "mx.key:1:1: no private key in it": Issued(good.chain_pem, b""),
        "mx.key:1:1: the key does not belong to the certificate in mx.crt": Issued(good.chain_pem, other.key_pem),
        "mx.crt:1:1: expired on ": certified.authority.issue((MX,), expired=True),
        "mx.crt:1:1: no certificate in it": Issued(b"\x1b[2Jgarbage", good.key_pem),
    }
    for fault, issued in broken.items():
        renewable.write(issued)
        hang_up(renewable.guard, KEPT)
        assert [line for line in renewable.guard.lines() if f"{renewable.chain.parent}/{fault}" in line], fault
        assert renewable.shown() == [[MX, "old.test"]] * 2
    renewable.key.unlink()
    hang_up(renewable.guard, KEPT)
    assert [line for line in renewable.guard.lines() if f"{renewable.key}:1:1: no such file" in line]
    renewable.write(good)
    hang_up(renewable.guard, AGAIN)
    assert renewable.shown() == [[MX, "new.test"]] * 2


def test_whom_the_guard_trusts_is_read_again_too(certified: Certified, tmp_path: Path) -> None:
    """`backend.ca`: the server's new certificate is of another authority."""
    ca = tmp_path / "ca.pem"
    shutil.copy(certified.ca, ca)
    context = certified.server(BACKEND, by=certified.stranger)
    options = {**required(certified), "ca": str(ca)}
    with (
        ScriptedBackend(upgrading(context)) as backend,
        guarding(tmp_path, certified, backend.address, **options) as guard,
    ):
        with Talk("127.0.0.1", guard.port, OUTSIDE) as client:
            assert client.banner.startswith("421 ")
        shutil.copy(certified.strange_ca, ca)
        hang_up(guard, AGAIN)
        with Talk("127.0.0.1", guard.port, OUTSIDE) as client:
            assert ask(client, "EHLO me.test", "NOOP")[1] == "250 ok"


def test_a_stranger_who_was_trusted_is_so_no_more(certified: Certified, plain_ports: Ports, tmp_path: Path) -> None:
    """`client_ca` the same; a handshake goes by what was read last."""
    ca = tmp_path / "ca.pem"
    shutil.copy(certified.ca, ca)
    server = plain_ports.server
    settings = listening(listener("mx", starttls={"certificates": str(certified.sites), "client_ca": "ca.pem"}))
    partner = certified.authority.issue(("mx.partner.test",), client=True)
    with ConfiguredGuard(tmp_path, (server.address, server.port), POLICY, **settings) as guard:
        with starttls(guard.port, certified.trusting(partner), OUTSIDE) as client:
            assert client.say("VRFY george").startswith("250 ")
        shutil.copy(certified.strange_ca, ca)
        hang_up(guard, AGAIN)
        with (
            pytest.raises((ssl.SSLError, ConnectionResetError)),
            starttls(guard.port, certified.trusting(partner), OUTSIDE) as client,
        ):
            client.say("NOOP")


def test_a_listener_without_its_certificate_goes_on_in_clear(renewable: Renewable, certified: Certified) -> None:
    """For who comes now; who was offered STARTTLS before still gets it, with the certificate of then."""
    guard, settings = renewable.guard, renewable.chain.parent / "smtpguard.yaml"
    with Talk("127.0.0.1", guard.ports[0], OUTSIDE) as old:
        assert "STARTTLS" in old.say("EHLO me.test")
        whole = yaml.safe_load(settings.read_text())
        del whole["listen"][0]["starttls"]
        settings.write_text(yaml.safe_dump(whole))
        hang_up(guard, AGAIN)
        with Talk("127.0.0.1", guard.ports[0], OUTSIDE) as client:
            assert "STARTTLS" not in client.say("EHLO me.test")
            assert client.say("STARTTLS").startswith("5")
        with implicit(guard.ports[1], certified.trusting(), OUTSIDE) as client:
            assert client.host_names == [MX, "old.test"]
        assert old.say("STARTTLS").startswith("220 ")
