"""Who the peer is: names that are asked for, and names in certificates."""

from __future__ import annotations

import ssl
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509

from smtpguard.tls.contexts import server_context
from smtpguard.tls.engine import (
    NAMES,
    PeerCertificate,
    Received,
    TlsEngine,
    TlsFault,
)

from .ends import ASKING, AUTHORITY, CLIENTS, MX, SERVER, VERSIONS, fault_of, trusting
from .support import Authority, Issued, Pair


@pytest.mark.parametrize("name", ["", ".x", "a..b", "x" * 64 + ".test", "a\0b", "x." * 200, "\udcff"])
def test_what_no_server_is_called_is_a_fault(name: str) -> None:
    """It comes from the settings, and is found before anything is sent."""
    with pytest.raises(TlsFault):
        TlsEngine(CLIENTS[ssl.TLSVersion.TLSv1_3], server=False, name=name)


@pytest.mark.parametrize("name", ["mx.test", "MX.Test", "mx.test."])
def test_a_server_is_known_by_its_name(name: str) -> None:
    """Letter case and the dot of the root make no other name."""
    both = Pair(TlsEngine(trusting(), server=False, name=name), TlsEngine(SERVER, server=True))
    both.shake_hands()
    assert both.client.peer == PeerCertificate(("mx.test",))


def test_a_server_name_that_is_no_ascii_ends_it_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    """The ssl module would print a traceback with it, for every such client."""
    asked: list[object] = []
    context = server_context(MX.chain_pem, MX.key_pem, by_name=lambda name: asked.append(name) or SERVER)  # type: ignore[func-returns-value]
    hello = TlsEngine(trusting(), server=False, name="mx.test").start()
    hook = sys.unraisablehook
    fault = fault_of(TlsEngine(context, server=True), hello.replace(b"mx.test", b"m\xff.test"))
    assert fault.what == "callback failed"
    assert fault.to_send.startswith(b"\x15\x03\x03\x00\x02\x02")
    assert asked == []
    assert capsys.readouterr() == ("", "")
    assert sys.unraisablehook is hook
    assert TlsEngine(context, server=True).receive(hello).to_send
    assert asked == ["mx.test"]


def test_a_fault_of_our_own_in_the_choice_of_a_certificate_is_not_hushed_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only that one report is: this one is still made."""
    reports: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: reports.append(str(unraisable.exc_value)))

    def broken(name: str) -> ssl.SSLContext:
        raise KeyError(name)

    context = server_context(MX.chain_pem, MX.key_pem, by_name=broken)
    fault_of(TlsEngine(context, server=True), TlsEngine(trusting(), server=False, name="mx.test").start())
    assert reports == ["'mx.test'"]


def shown(folder: Path, issued: Issued | None, asking: ssl.SSLContext = ASKING) -> PeerCertificate | None:
    """Return what a server knows of a client that shows a certificate."""
    context = trusting()
    if issued is not None:
        context.load_cert_chain(*issued.write(folder, "client"))
    both = Pair(TlsEngine(context, server=False, name="mx.test"), TlsEngine(asking, server=True))
    both.shake_hands()
    return both.server.peer


def test_a_client_is_known_by_the_names_of_its_certificate(tmp_path: Path) -> None:
    """Of hosts, and of mailboxes; without names of hosts the common name is one; all in lower case."""
    issue = AUTHORITY.issue
    for issued, names in (
        (issue(("Relay.Test", "b.test"), client=True), ("relay.test", "b.test")),
        (issue((), common_name="Client 7", client=True), ("client 7",)),
        (issue((), common_name="Client", mailboxes=("Joe@A.test",), client=True), ("client", "joe@a.test")),
        (issue(("a.test",), common_name="other.test", mailboxes=("j@a.test",), client=True), ("a.test", "j@a.test")),
        (issue(("192.0.2.1",), common_name="", client=True), ()),
        (issue((), common_name="J\u00f6rg", client=True), ()),
        (issue((), common_name="a\r\nb", client=True), ()),
        (issue(("a.test", "*.b.test"), client=True), ("a.test", "*.b.test")),
    ):
        assert shown(tmp_path, issued) == PeerCertificate(names)


def test_a_certificate_cannot_fill_memory_or_the_log_with_names(tmp_path: Path) -> None:
    """Nor pass off what is no name of a host, nor a mailbox, as one."""
    many = AUTHORITY.issue([f"h{number}.test" for number in range(1000)], client=True)
    peer = shown(tmp_path, many)
    assert peer is not None
    assert peer.names == tuple(f"h{number}.test" for number in range(NAMES))
    odd = [
        *map(x509.DNSName, ("joe@a.test", "a b", "x" * 300, "a\x1b[2J", "a\0b", "good.test")),
        x509.RFC822Name("joe"),
    ]
    peer = shown(tmp_path, AUTHORITY.issue((), common_name="admin", client=True, general_names=odd))
    assert peer == PeerCertificate(("good.test",))


def test_a_certificate_with_a_name_that_is_no_text_speaks_for_nobody(tmp_path: Path) -> None:
    """It is valid all the same; the ssl module cannot read it, and its common name is not asked instead."""
    san = b"\x30\x10\x82\x06\xff.test\x82\x06a.test"
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), san)
    issued = AUTHORITY.issue((), common_name="admin", client=True, extensions=[odd])
    assert shown(tmp_path, issued) == PeerCertificate(())


def test_a_certificate_that_was_not_asked_for_is_nobody_s(tmp_path: Path) -> None:
    """And who shows none is nobody."""
    assert shown(tmp_path, AUTHORITY.issue(("a.test",), client=True), SERVER) is None
    assert shown(tmp_path, None) is None


def test_a_session_that_is_resumed_knows_its_client_until_the_certificate_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS 1.2 alone resumes; OpenSSL does not look at the certificate again then, for two hours."""
    context = trusting(ssl.TLSVersion.TLSv1_2)
    context.load_cert_chain(*AUTHORITY.issue(("a.test",), client=True, days=1 / 24).write(tmp_path, "client"))
    session: ssl.SSLSession | None = None

    def known() -> tuple[bool, PeerCertificate | None]:
        nonlocal session
        both = Pair(TlsEngine(context, server=False, name="mx.test"), TlsEngine(ASKING, server=True))
        if session is not None:
            both.client._tls.session = session
        both.shake_hands()
        session = both.client._tls.session
        both.to_server += both.client.close()  # OpenSSL forgets a session that is not closed in order
        both.pump()
        both.to_client += both.server.close()
        both.pump()
        return bool(both.client._tls.session_reused), both.server.peer

    assert known() == (False, PeerCertificate(("a.test",)))
    assert known() == (True, PeerCertificate(("a.test",)))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3700)
    assert known() == (True, PeerCertificate(()))


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_a_certificate_that_is_not_vouched_for_ends_it(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """None is fine, a wrong one is not: it says that something is broken, or worse."""
    wrong = {
        "unknown": Authority("Test Authority").issue(("a.test",), client=True),
        "expired": AUTHORITY.issue(("a.test",), client=True, expired=True),
        "of a server": AUTHORITY.issue(("a.test",)),
        "self-signed": AUTHORITY.issue(("a.test",), client=True, self_signed=True),
        "not yet valid": AUTHORITY.issue(("a.test",), client=True, begins=2),
    }
    for what, issued in wrong.items():
        context = trusting(version)
        context.load_cert_chain(*issued.write(tmp_path, "client"))
        both = Pair(TlsEngine(context, server=False, name="mx.test"), TlsEngine(ASKING, server=True))
        with pytest.raises(TlsFault) as caught:
            both.shake_hands()
        assert caught.value.what.startswith("certificate not accepted: "), what
        assert caught.value.before == Received()
        assert not both.server.established
        with pytest.raises(TlsFault, match=" alert "):
            both.client.receive(caught.value.to_send)
