"""Mail servers that are not to be trusted with mail, and how TLS with them may end."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.rig.client import Talk
from tests.sendmail.support import OUTSIDE, ask

from .leg import GREETING, guarding, required
from .scripted import Conversation, ScriptedBackend, obliging, up_to_starttls, upgrading
from .support import BACKEND, Certified

Act = Callable[[Conversation], None]


def _plain(_certified: Certified) -> Act:
    return obliging


def _wrong_name(certified: Certified) -> Act:
    return upgrading(certified.server("other.test"))


def _by_a_stranger(certified: Certified) -> Act:
    return upgrading(certified.server(BACKEND, by=certified.stranger))


def _self_signed(certified: Certified) -> Act:
    return upgrading(certified.server(BACKEND, self_signed=True))


def _expired(certified: Certified) -> Act:
    return upgrading(certified.server(BACKEND, expired=True))


def _refuses(_certified: Certified) -> Act:
    def act(talk: Conversation) -> None:
        up_to_starttls(talk)
        talk.say(b"454 4.7.0 TLS not available\r\n")
        talk.serve()

    return act


def _injects(_certified: Certified) -> Act:
    def act(talk: Conversation) -> None:
        up_to_starttls(talk)
        talk.say(b"220 go\r\n250 injected\r\n")
        talk.serve()

    return act


def _injects_in_place_of_a_handshake(_certified: Certified) -> Act:
    def act(talk: Conversation) -> None:
        up_to_starttls(talk)
        talk.say(b"220 go\r\n")
        talk.connection.recv(1)
        talk.say(b"250 injected\r\n")
        talk.connection.recv(1)

    return act


def _injects_in_tls(certified: Certified) -> Act:
    def act(talk: Conversation) -> None:
        up_to_starttls(talk)
        talk.say(b"220 go\r\n")
        talk.secure(certified.server(BACKEND))
        talk.line()
        talk.say(b"250-backend\r\n250 OK\r\n250 injected\r\n")
        talk.serve()

    return act


def _hangs_up(_certified: Certified) -> Act:
    def act(talk: Conversation) -> None:
        up_to_starttls(talk)
        talk.say(b"220 go\r\n")
        talk.connection.recv(1)

    return act


WRONG: Final = {
    _plain: "the backend does not offer STARTTLS",
    _wrong_name: "TLS: certificate not accepted: Hostname mismatch, certificate is not valid for 'backend\\.test'",
    _by_a_stranger: "TLS: certificate not accepted: unable to get local issuer certificate",
    _self_signed: "TLS: certificate not accepted: self-signed certificate",
    _expired: "TLS: certificate not accepted: certificate has expired",
    _refuses: "reply to STARTTLS that is no 220",
    _injects: "octets behind a reply that nothing asked for",
    _injects_in_place_of_a_handshake: "TLS: wrong version number",
    _hangs_up: "connection lost",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_server_that_is_not_to_be_trusted_gets_no_client(
    certified: Certified, tmp_path: Path, wrong: Callable[[Certified], Act]
) -> None:
    """421, and the reason in the log, also where it is asked whether it relays; it hears nothing of the client's."""
    with (
        ScriptedBackend(wrong(certified)) as backend,
        guarding(tmp_path, certified, backend.address, "warn", **required(certified)) as guard,
    ):
        guard.wait_line(f"relay check: .* gave no clear answer: {WRONG[wrong]}.*; serving all the same")
        with Talk("127.0.0.1", guard.port, OUTSIDE) as client:
            assert client.banner.startswith("421 4.")
            assert "injected" not in client.banner
            assert client.closed()
        guard.wait_line(rf"\[127\.0\.0\.2\]: mail server: {WRONG[wrong]}")
        assert all(set(one.lines) <= {GREETING, b"STARTTLS"} for one in backend.over(2))


def test_a_server_that_says_more_than_it_was_asked_inside_tls_is_cut_off(certified: Certified, tmp_path: Path) -> None:
    """As outside: 421 for the client, nothing of the surplus, and no answer for the relay check."""
    with (
        ScriptedBackend(_injects_in_tls(certified)) as backend,
        guarding(tmp_path, certified, backend.address, "warn", **required(certified)) as guard,
    ):
        guard.wait_line("gave no clear answer: surplus reply behind that to HELO .*; serving all the same")
        with Talk("127.0.0.1", guard.port, OUTSIDE) as client:
            client.send(b"EHLO me.test\r\n")
            told = client.rest()
            assert b"injected" not in told
            assert told.splitlines()[-1].startswith(b"421 4.3.0 ")
        guard.wait_line(r"\[127\.0\.0\.2\]: mail server: surplus reply: 250 injected")


def test_clients_wait_until_the_server_can_be_trusted(certified: Certified, tmp_path: Path) -> None:
    """`relay_check: enforce` is not content with a server that nobody could ask."""
    with (
        ScriptedBackend(_wrong_name(certified)) as backend,
        guarding(tmp_path, certified, backend.address, "enforce", **required(certified)) as guard,
    ):
        with Talk("127.0.0.1", guard.port, OUTSIDE) as client:
            assert client.banner.startswith("421 4.3.2 ")
            assert client.closed()
        guard.wait_line(r"rejecting connection from \[127\.0\.0\.2\]: relay check without an answer yet")
        guard.wait_line(f"gave no clear answer: {WRONG[_wrong_name]}; clients get 421 until it answers")


def test_a_server_that_cuts_tls_off_ends_the_session(certified: Certified, tmp_path: Path) -> None:
    """Its replies have an end each, so that no close_notify is needed to know what was said: 421."""

    def act(talk: Conversation) -> None:
        up_to_starttls(talk)
        talk.say(b"220 go\r\n")
        talk.secure(certified.server(BACKEND))
        while not talk.line().startswith(b"NOOP"):
            talk.say(b"250 ok\r\n")
        talk.say(b"250-half")
        talk.connection.shutdown(socket.SHUT_RDWR)

    with (
        ScriptedBackend(act) as backend,
        guarding(tmp_path, certified, backend.address, **required(certified)) as guard,
        Talk("127.0.0.1", guard.port, OUTSIDE) as client,
    ):
        assert ask(client, "EHLO me.test", "NOOP")[1].startswith("421 4.4.2 ")
        assert client.closed()


def test_after_a_handshake_that_failed_mail_goes_on_in_clear(certified: Certified, tmp_path: Path) -> None:
    """One client gets 421, the next is served, and nobody says STARTTLS for a while."""
    with (
        ScriptedBackend(_hangs_up(certified)) as backend,
        guarding(tmp_path, certified, backend.address, starttls="opportunistic") as guard,
    ):
        with Talk("127.0.0.1", guard.port, OUTSIDE) as client:
            assert client.banner.startswith("421 4.")
        for _ in range(2):
            with Talk("127.0.0.1", guard.port, OUTSIDE) as client:
                assert ask(client, "EHLO me.test", "NOOP")[1] == "250 ok"
        first, second, third = backend.over(3)
        assert first.lines == [GREETING, b"STARTTLS"]
        assert second.lines == third.lines == [b"EHLO me.test", b"NOOP"]
