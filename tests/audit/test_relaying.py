"""Open relays, and servers that believe who somebody says he is; nothing goes beyond RCPT."""

from __future__ import annotations

import pytest

from smtpguard.audit.findings import Verdict

from .scripted import Peer, Scripted, table
from .support import audited, found, one

OK, NOTE, WARNING, HOLE = Verdict


def test_an_open_relay_is_a_hole_in_every_form_that_says_where_to() -> None:
    """And a note where it may be a user; nothing goes beyond RCPT."""
    with Scripted(table({b"RCPT": b"250 ok\r\n"})) as server:
        findings = found(server.port, "relay", source="")
    holes = {finding.asked for finding in findings if finding.verdict is HOLE}
    assert holes == {"user@foreign", "@host:user@foreign", "user@[address]"}
    assert {finding.verdict for finding in findings} == {HOLE, NOTE}
    assert not any(b"DATA" in session.received for session in server.sessions)


def test_a_relay_for_its_own_senders_only_is_found() -> None:
    """Anybody can write that sender."""

    def script(peer: Peer) -> None:
        own = False
        peer.send(b"220 fake.test\r\n")
        while (line := peer.line()) is not None:
            own = line == b"MAIL FROM:<postmaster@fake.test>" or (own and line.startswith(b"RCPT"))
            refused = line.startswith(b"RCPT") and not own
            peer.send(b"550 5.7.1 no\r\n" if refused else b"221 bye\r\n" if line == b"QUIT" else b"250 fake.test\r\n")

    finding = one(audited(script, "relay"), "user@foreign")
    assert finding.verdict is HOLE
    assert finding.seen.startswith("from own: 250")


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (b"550 5.7.1 Relaying denied\r\n", OK),
        (b"550 relay not permitted\r\n", OK),
        (b"454 4.7.1 Relay access denied\r\n", OK),
        (b"550 no\r\n", OK),
        (b"556 5.1.10 null MX\r\n", NOTE),
        (b"451 4.7.0 later\r\n", NOTE),
    ],
)
def test_a_refusal_for_another_reason_is_no_proof(reply: bytes, verdict: Verdict) -> None:
    """That the domain takes no mail does not mean that no other is relayed to."""
    assert one(audited(table({b"RCPT": reply}), "relay"), "user@foreign").verdict is verdict


def test_a_proxy_header_that_is_swallowed_is_a_hole() -> None:
    """The server believes whoever connects."""

    def script(peer: Peer) -> None:
        # Its other connections are those of clients that wait for the banner.
        peer.socket.settimeout(0.2)
        try:
            header = peer.socket.recv(4096)
        except TimeoutError:
            header = b"PROXY"
        peer.socket.settimeout(20)
        assert header.startswith(b"PROXY")
        table()(peer)

    assert one(audited(script, "identity"), "PROXY").verdict is HOLE
