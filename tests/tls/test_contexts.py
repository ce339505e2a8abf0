"""What is spoken, by whom one is known, and which certificate is shown."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from smtpguard.tls.certificates import load
from smtpguard.tls.contexts import client_context, server_context
from smtpguard.tls.engine import PeerCertificate, TlsEngine, TlsFault

from .ends import AUTHORITY, MX, SERVER, VERSIONS, meet, trusting
from .support import Authority, Issued


def server_of(issued: Issued) -> ssl.SSLContext:
    return server_context(issued.chain_pem, issued.key_pem)


def test_only_ciphers_that_keep_secrets_are_spoken() -> None:
    """Ephemeral keys, AEAD, 128 bits or more, an authenticated server: in both directions."""
    for context in (SERVER, client_context(None, True), client_context(None, False)):
        ciphers = context.get_ciphers()
        assert {cipher["protocol"] for cipher in ciphers} == {"TLSv1.2", "TLSv1.3"}
        for cipher in ciphers:
            assert cipher["aead"]
            assert cipher["strength_bits"] >= 128
            if cipher["protocol"] == "TLSv1.2":
                assert cipher["kea"] == "kx-ecdhe"
                assert cipher["auth"] in ("auth-rsa", "auth-ecdsa")
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert context.options & ssl.OP_NO_COMPRESSION
    assert SERVER.options & ssl.OP_CIPHER_SERVER_PREFERENCE


@pytest.mark.parametrize(
    "ciphers",
    ["aNULL", "eNULL", "AES128-GCM-SHA256", "AES256-SHA", "DHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-SHA"],
)
def test_other_ciphers_are_refused(ciphers: str) -> None:
    """Anonymous, without secrecy, with static keys, with a MAC inside: RFC 9325 4.1 and 4.2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(TlsFault, match="no shared cipher"):
        meet(context, SERVER)


def test_the_server_chooses_the_cipher() -> None:
    """Whatever the client likes best."""
    context = trusting(ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
    assert meet(context, SERVER).server.cipher == "ECDHE-ECDSA-AES256-GCM-SHA384"


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_no_tickets_are_given_out(version: ssl.TLSVersion) -> None:
    """A session of TLS 1.3 cannot be taken up again, and nothing follows the handshake."""
    context = trusting(version)
    client, server = TlsEngine(context, server=False, name="mx.test"), TlsEngine(SERVER, server=True)
    to_client = server.receive(client.start()).to_send
    last = server.receive(client.receive(to_client).to_send)
    assert last.established
    if version == ssl.TLSVersion.TLSv1_3:
        assert last.to_send == b""
    assert SERVER.options & ssl.OP_NO_TICKET


def test_a_key_that_is_enciphered_or_another_s_is_no_context() -> None:
    """And nobody is asked for a passphrase: the test would wait for ever."""
    other = AUTHORITY.issue()
    for key in (AUTHORITY.issue(passphrase=b"secret").key_pem, other.key_pem, b"", b"-----BEGIN PRIVATE KEY-----\n"):
        with pytest.raises(ssl.SSLError):
            server_context(MX.chain_pem, key)


# -- names that clients ask for --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("a.test", "a.test"),
        ("A.TEST", "a.test"),
        ("x.wild.test", "*.wild.test"),
        ("other.wild.test", "other.wild.test"),
        ("x.y.wild.test", "default.test"),
        ("wild.test", "default.test"),
        ("unknown.test", "default.test"),
        ("test", "default.test"),
        ("192.0.2.1", "default.test"),
        (None, "default.test"),
    ],
)
@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_the_certificate_fits_the_name(tmp_path: Path, asked: str | None, shown: str, version: ssl.TLSVersion) -> None:
    """A wildcard is one label, the exact name goes before it, and what is unknown gets the default, not an alert."""
    for name in ("a.test", "*.wild.test", "other.wild.test", "default.test"):
        AUTHORITY.issue((name,)).write(tmp_path, "default" if name == "default.test" else name.replace("*", "_"))
    context = trusting(version)
    context.check_hostname = False
    assert meet(context, load([tmp_path]).context(), asked).client.peer == PeerCertificate((shown,))


@pytest.mark.parametrize("name", [b"mx test", b"mx\r\n.te", b"..\x01....", b"*.mx.te", b"-------", b"%s%n%s%"])
def test_odd_names_get_the_default(tmp_path: Path, name: bytes) -> None:
    """They are looked up, and not found."""
    AUTHORITY.issue(("a.test",)).write(tmp_path, "a")
    server = TlsEngine(load([tmp_path]).context(), server=True)
    hello = TlsEngine(trusting(), server=False, name="mx.test").start()
    assert len(name) == 7
    got = server.receive(hello.replace(b"mx.test", name))
    assert got.to_send.startswith(b"\x16")


def test_clients_are_verified_whatever_name_they_ask_for(tmp_path: Path) -> None:
    """The context that is chosen has the trust too."""
    for name in ("a.test", "b.test"):
        AUTHORITY.issue((name,)).write(tmp_path / "server", name)
    asking = load([tmp_path / "server"]).context(AUTHORITY.write_ca(tmp_path))
    issued = AUTHORITY.issue(("client.test",), client=True).write(tmp_path, "good")
    other = Authority("Other").issue(("client.test",), client=True).write(tmp_path, "bad")
    for name in ("a.test", "b.test", "c.test"):
        context = trusting()
        context.check_hostname = False
        assert meet(context, asking, name).server.peer is None
        context.load_cert_chain(*issued)
        assert meet(context, asking, name).server.peer == PeerCertificate(("client.test",))
        context.load_cert_chain(*other)
        with pytest.raises(TlsFault, match="certificate not accepted"):
            meet(context, asking, name)


# -- names of servers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "asked", "why"),
    [
        (("mx.test",), "mx.test", ""),
        (("*.test.example",), "mx.test.example", ""),
        (("192.0.2.7",), "192.0.2.7", ""),
        (("2001:db8::7",), "2001:db8::7", ""),
        (("mx.test",), "other.test", "Hostname mismatch, certificate is not valid for 'other.test'"),
        (("*.example",), "a.b.example", "Hostname mismatch"),
        (("192.0.2.7",), "192.0.2.8", "IP address mismatch"),
        (("mx.test",), "192.0.2.7", "IP address mismatch"),
    ],
)
def test_a_server_must_be_who_was_asked_for(tmp_path: Path, names: tuple[str, ...], asked: str, why: str) -> None:
    """By name or by address."""
    ca = AUTHORITY.write_ca(tmp_path)
    server = server_of(AUTHORITY.issue(names))
    if not why:
        assert meet(client_context(ca, True), server, asked).client.peer is not None
        return
    with pytest.raises(TlsFault, match=why) as caught:
        meet(client_context(ca, True), server, asked)
    assert caught.value.to_send
    assert meet(client_context(ca, False), server, asked).client.established


@pytest.mark.parametrize("how", ["expired", "self_signed", "client"])
def test_a_server_that_is_not_vouched_for_is_none(tmp_path: Path, how: str) -> None:
    """Without `verify` it is taken, and has no names."""
    ca = AUTHORITY.write_ca(tmp_path)
    server = server_of(AUTHORITY.issue(("mx.test",), **{how: True}))  # type: ignore[arg-type]
    with pytest.raises(TlsFault, match="certificate not accepted"):
        meet(client_context(ca, True), server)
    assert meet(client_context(ca, False), server).client.peer is None


def test_what_the_system_trusts_is_not_what_a_test_made() -> None:
    """Without a file, the system's authorities are asked."""
    with pytest.raises(TlsFault, match="certificate not accepted"):
        meet(client_context(None, True), server_of(AUTHORITY.issue()))


def test_a_server_may_be_its_own_authority(tmp_path: Path) -> None:
    """Its certificate is the file; and so may one be that is no root."""
    own = AUTHORITY.issue(("mx.test",), self_signed=True)
    leaf = AUTHORITY.issue(("mx.test",))
    middle = Authority("Middle", above=AUTHORITY)
    for issued, trusted in ((own, own.chain_pem), (leaf, leaf.chain_pem), (middle.issue(), middle.ca_pem)):
        path = tmp_path / "ca.pem"
        path.write_bytes("# Jörg's own\n".encode("latin-1") + trusted)
        assert meet(client_context(path, True), server_of(issued)).client.peer == PeerCertificate(("mx.test",))
    with pytest.raises(TlsFault):
        meet(client_context(path, True), server_of(own))


def test_a_chain_is_sent_whole(tmp_path: Path) -> None:
    """Who trusts the root alone can follow it."""
    middle = Authority("Middle", above=AUTHORITY)
    chain, _ = (issued := middle.issue()).write(tmp_path, "mx")
    assert chain.read_bytes().count(b"BEGIN CERTIFICATE") == 2
    assert meet(client_context(AUTHORITY.write_ca(tmp_path), True), server_of(issued)).client.established
