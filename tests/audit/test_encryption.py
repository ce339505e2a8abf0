"""STARTTLS: a real sendmail's, and that of servers which keep what came in clear."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from smtpguard.audit.certificate import Certificate
from smtpguard.audit.encryption import _judged
from smtpguard.audit.findings import Verdict
from smtpguard.audit.wishes import Tls
from tests.rig.sendmail import RealSendmail

from .certificates import certificate
from .scripted import Peer, Script, Scripted, table
from .support import bad, found, one

OK, NOTE, WARNING, HOLE = Verdict
OF_TLS = ("starttls", "certificate", "tls-versions", "starttls-injection", "inside-tls")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def keys() -> Iterator[Path]:
    """A certificate for x.test."""
    with certificate() as folder:
        yield folder


def macros(keys: Path) -> str:
    """Return what makes a sendmail offer STARTTLS."""
    places = {
        "confCACERT_PATH": keys,
        "confCACERT": keys / "cert.pem",
        "confSERVER_CERT": keys / "cert.pem",
        "confSERVER_KEY": keys / "key.pem",
    }
    return "\n".join(f"define(`{name}', `{place}')dnl" for name, place in places.items())


def test_a_sendmail_with_a_certificate_of_its_own_has_nothing_bad(keys: Path) -> None:
    """It drops what came in clear, and has no second STARTTLS; no mail comes of it."""
    with RealSendmail(extra_mc=macros(keys)) as server:
        findings = found(server.port, *OF_TLS, known="george")
        assert server.deliveries(0) == []
    assert bad(findings) == {}
    assert not [finding for finding in findings if finding.unasked]
    assert one(findings, "offered").seen == "offered"
    assert one(findings, "protocol").seen.startswith("TLSv1.3, ")
    assert one(findings, "subject").seen == "commonName=x.test, signed by itself"
    assert one(findings, "subject").verdict is NOTE
    assert one(findings, "names").seen == "x.test; asked for x.test"
    assert one(findings, "NOOP behind STARTTLS").seen.startswith("dropped; to QUIT: 221 2.0.0 ")
    assert one(findings, "STARTTLS again").seen == "454 4.3.3 TLS not available after start"


# -- servers that are not real -----------------------------------------------------------------------


class Encrypted:
    """A peer whose socket is in TLS."""

    def __init__(self, keys: Path, old: bool = False) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(keys / "cert.pem", keys / "key.pem")
        if old:
            self._context.set_ciphers("ALL:@SECLEVEL=0")
            with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
                self._context.minimum_version = ssl.TLSVersion.TLSv1

    def wrap(self, peer: Peer) -> bool:
        """Make the handshake; False if there was none."""
        try:
            peer.socket = self._context.wrap_socket(peer.socket, server_side=True)
        except OSError:
            return False
        return True


def starting_tls(
    tls: Encrypted, kept: bool = False, inside: Script | None = None, clear: bytes = b"", late: bytes = b""
) -> Script:
    """A server that knows STARTTLS.

    With `kept`, it answers in TLS what stood behind STARTTLS in the same segment; `inside` is how it
    talks in TLS, by default as in clear; `clear` is what it says in clear behind its 220, and
    `late` what it says in clear where its part of the handshake belongs.
    """

    def script(peer: Peer) -> None:
        peer.send(b"220 x.test\r\n")
        while True:
            octets = peer.socket.recv(4096)
            if not octets:
                return
            line, _, behind = octets.partition(b"\r\n")
            if line != b"STARTTLS":
                peer.send(b"250-x.test\r\n250 STARTTLS\r\n" if line[:4] == b"EHLO" else b"252 no\r\n")
                continue
            peer.send(b"220 go\r\n" + clear)
            if late:
                peer.socket.recv(4096)
                peer.send(late)
                return
            if not tls.wrap(peer):
                return
            if behind and kept:
                peer.send(b"250 kept\r\n")
            (inside or table({b"STARTTLS": b"503 no\r\n"}, banner=b""))(peer)
            return

    return script


@pytest.mark.parametrize(
    ("kept", "clear", "late", "verdict"),
    [
        (True, b"", b"", HOLE),
        (False, b"", b"", OK),
        (False, b"250 ok\r\n", b"", WARNING),
        (False, b"", b"250 ok\r\n", WARNING),
        (False, b"", b"\x15\x03\x01\x00\x02\x02\x28", OK),
    ],
)
def test_a_command_in_clear_that_is_answered_in_tls_is_a_hole(
    keys: Path, kept: bool, clear: bytes, late: bytes, verdict: Verdict
) -> None:
    """Whoever is on the way could write the beginning of what the client says."""
    with Scripted(starting_tls(Encrypted(keys), kept, clear=clear, late=late)) as server:
        findings = found(server.port, "starttls-injection", source="")
    assert one(findings, "NOOP behind STARTTLS").verdict is verdict


def test_what_is_hidden_in_clear_only_is_found(keys: Path) -> None:
    """A filter that cannot look into TLS does not filter there."""
    inside = table(
        {
            b"EHLO": b"250-x.test\r\n250 EXPN\r\n",
            b"VRFY": b"250 George <george@x.test>\r\n",
            b"STARTTLS": b"220 go\r\n",
        },
        banner=b"",
    )
    with Scripted(starting_tls(Encrypted(keys), inside=inside)) as server:
        findings = found(server.port, "inside-tls", source="", known="george")
    assert [finding.verdict for finding in findings] == [WARNING, HOLE, NOTE]
    assert one(findings, "EHLO").seen == "EXPN offered in TLS only"


def test_what_comes_in_clear_is_no_answer_to_what_is_asked_in_tls(keys: Path) -> None:
    """The server's words behind its 220 are dropped, as ours have to be."""
    with Scripted(starting_tls(Encrypted(keys), clear=b"250-x.test\r\n250 VERB\r\n250 <george@x.test>\r\n")) as server:
        findings = found(server.port, "inside-tls", source="")
    assert [finding.verdict for finding in findings] == [OK, OK, OK]
    assert one(findings, "VRFY").seen == "252 2.5.2 Cannot VRFY user"


def test_old_versions_are_a_warning(keys: Path) -> None:
    """RFC 8996 has ended them."""
    with Scripted(starting_tls(Encrypted(keys, old=True))) as server:
        findings = found(server.port, "tls-versions", source="")
    assert [(one.verdict, one.seen) for one in findings] == [(WARNING, "TLSv1 accepted"), (WARNING, "TLSv1.1 accepted")]


def test_a_server_in_tls_from_the_first_octet_is_asked_in_tls(keys: Path) -> None:
    """As on port 465; what has to do with STARTTLS is not."""
    tls = Encrypted(keys)

    def script(peer: Peer) -> None:
        if tls.wrap(peer):
            table({b"VRFY": b"250 George <george@x.test>\r\n"})(peer)

    with Scripted(script) as server:
        findings = found(server.port, "vrfy", "certificate", "starttls-injection", source="", tls=Tls.IMPLICIT)
    assert one(findings, "VRFY root").seen == "250 George <george@x.test>"
    assert one(findings, "subject").seen == "commonName=x.test, signed by itself"
    assert findings[-1].unasked


def test_a_server_that_has_no_tls_where_it_should_could_not_be_asked() -> None:
    """Neither in the beginning nor behind a 220."""
    starting = table({b"EHLO": b"250-x.test\r\n250 STARTTLS\r\n", b"STARTTLS": b"220 go\r\n"})
    for wishes in ({}, {"tls": Tls.IMPLICIT}):
        with Scripted(starting) as server:
            findings = found(server.port, "certificate", "inside-tls", source="", timeout=1.0, **wishes)
        assert all(finding.unasked for finding in findings)


# -- certificates --------------------------------------------------------------------------------------


def shown(ends: timedelta, host: str = "x.test", issuer: str = "commonName=CA") -> dict[str, Verdict]:
    """Return the verdicts on a certificate for x.test and *.y.test."""
    one = Certificate("commonName=x.test", issuer, ("x.test", "*.y.test"), NOW + ends)
    return {finding.asked: finding.verdict for finding in _judged(one, host, NOW)}


def test_a_certificate_is_judged_by_its_end_its_names_and_who_signed_it() -> None:
    """An end that is near is a warning while it can be mended."""
    good = {"subject": OK, "names": OK, "end": OK}
    assert shown(timedelta(days=30)) == good
    assert shown(timedelta(days=13)) == {**good, "end": WARNING}
    assert shown(timedelta(days=-1)) == {**good, "end": WARNING}
    assert shown(timedelta(days=30), "a.y.test") == good
    assert shown(timedelta(days=30), "X.TEST.") == good
    for other in ("a.b.y.test", "y.test", "xx.test", "localhost"):
        assert shown(timedelta(days=30), other) == {**good, "names": NOTE}
    assert shown(timedelta(days=30), issuer="commonName=x.test") == {**good, "subject": NOTE}


def test_a_certificate_that_has_ended_is_shown_all_the_same() -> None:
    """The names of one that nobody takes are of interest too."""
    with certificate("old.test", days=-1) as folder, Scripted(starting_tls(Encrypted(folder))) as server:
        findings = found(server.port, "certificate", source="")
    assert one(findings, "subject").seen == "commonName=old.test, signed by itself"
    assert one(findings, "names").verdict is NOTE
    assert one(findings, "end").verdict is WARNING
