"""The moment between clear and TLS: nothing said in the one counts in the other (RFC 3207 5, CVE-2011-0411)."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.client import NotSmtp, Talk
from tests.rig.guard import Guard
from tests.rig.wait import wait_until
from tests.sendmail.support import INSIDE, OUTSIDE, ConfiguredGuard, ask

from .conftest import Ports
from .scripted import Conversation, ScriptedBackend, obliging
from .support import (
    POLICY,
    Certified,
    TlsTalk,
    commands,
    implicit,
    listener,
    listening,
    listening_client,
    starttls,
)

BROKE = "421 4.3.0 "
HANDSHAKE_SECONDS = 0.5
ALERT = re.compile(rb"(\x15\x03[\x00-\x04]\x00\x02..)?", re.DOTALL)
"""A TLS alert at most."""
NO_TLS = (b"EHLO me.test\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, b"\x80\x2e\x01\x03\x01" + b"\0" * 43)
HELLO = b"\x16\x03\x01"
"""A record of a handshake begins so."""


@pytest.fixture(scope="module")
def hurried(plain_ports: Ports, certified: Certified, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    """A guard that waits for no handshake."""
    settings = listening(
        listener("mx", starttls=certified.starttls),
        listener("submissions", starttls=certified.starttls, tls="implicit"),
        timeouts={"handshake": HANDSHAKE_SECONDS},
        log={"level": 14},
    )
    server = plain_ports.server
    with ConfiguredGuard(tmp_path_factory.mktemp("hurried"), (server.address, server.port), POLICY, **settings) as one:
        yield one


# -- what a client sends too early -------------------------------------------------------------


@pytest.mark.parametrize("behind", [b"VRFY root\r\n", b"V", b"\r\n", b"\n", b"EHLO me.test\r\nQUIT\r\n", HELLO])
@pytest.mark.parametrize("source", [INSIDE, OUTSIDE])
def test_octets_in_the_segment_of_starttls_end_the_session(ports: Ports, behind: bytes, source: str) -> None:
    """554 in place of 220: the server behind must see them neither now nor inside TLS."""
    name, before = f"early-{len(behind)}-{source}.test", len(ports.server.traffic())
    with Talk("127.0.0.1", ports.starttls, source) as client:
        client.say(f"EHLO {name}")
        client.send(b"STARTTLS\r\n" + behind)
        assert client.reply().startswith(b"554 5.5.0 ")
        assert client.closed()
    assert commands(ports.server, name, before) == [f"EHLO {name}"]


@pytest.mark.parametrize("split", range(1, 10))
def test_it_makes_no_difference_how_starttls_was_cut(ports: Ports, split: int) -> None:
    """The first part of it in a segment of its own, the rest with what does not belong there."""
    with Talk("127.0.0.1", ports.starttls, OUTSIDE) as client:
        client.send(b"STARTTLS\r\n"[:split])
        assert client.quiet(0.02)
        client.send(b"STARTTLS\r\n"[split:] + b"VRFY root\r\n")
        assert client.reply().startswith(b"554 5.5.0 ")
        assert client.closed()


@pytest.mark.parametrize(
    "behind", [b"VRFY root\r\n", b"MAIL FROM:<a@b.example>\r\nRCPT TO:<george@x.test>\r\nDATA\r\n"]
)
def test_commands_in_place_of_a_handshake_go_nowhere(ports: Ports, behind: bytes) -> None:
    """Sent when the 220 is there: no handshake, and no word in clear behind the 220."""
    source, name, before = "127.0.0.51", f"in-place-{len(behind)}.test", len(ports.server.traffic())
    with Talk("127.0.0.1", ports.starttls, source) as client:
        assert ask(client, f"EHLO {name}", "STARTTLS")[1].startswith("220 ")
        client.send(behind)
        heard = client.rest()
    assert ALERT.fullmatch(heard)
    ports.guard.wait_line(rf"STARTTLS=server, error: .*, relay=\[{source}\]")
    assert commands(ports.server, name, before) == [f"EHLO {name}"]


def test_commands_in_front_of_the_handshake_fail_it(ports: Ports, certified: Certified) -> None:
    """In the same segment as the hello, when the 220 is there."""
    name, before = "in-front.test", len(ports.server.traffic())
    hello, _ = listening_client(certified.trusting())
    with Talk("127.0.0.1", ports.starttls, OUTSIDE) as client:
        assert ask(client, f"EHLO {name}", "STARTTLS")[1].startswith("220 ")
        client.send(b"VRFY root\r\n" + hello)
        assert b"252" not in client.rest()
    assert commands(ports.server, name, before) == [f"EHLO {name}"]


def test_starttls_with_an_argument_or_in_other_letters(ports: Ports, certified: Certified) -> None:
    """501, and nothing has begun; `sTaRtTlS` is STARTTLS."""
    with TlsTalk("127.0.0.1", ports.starttls, OUTSIDE) as client:
        assert ask(client, "EHLO me.test", "STARTTLS now")[1].startswith("501 5.5.4 ")
        assert client.say("NOOP").startswith("250 ")
        assert client.say("sTaRtTlS").startswith("220 ")
        client.shake_hands(certified.trusting())
        assert client.say("NOOP").startswith("250 ")


def test_not_within_a_transaction_nor_behind_auth(plain_ports: Ports, certified: Certified) -> None:
    """The server would go on where it was; in a message there are no commands at all."""
    with TlsTalk("127.0.0.1", plain_ports.starttls, OUTSIDE) as client:
        ask(client, "EHLO me.test", "MAIL FROM:<begun@b.example>")
        assert client.say("STARTTLS").startswith("503 5.5.1 ")
        assert client.say("RCPT TO:<george@x.test>").startswith("250 ")
        assert client.say("STARTTLS").startswith("503 5.5.1 ")
        assert client.say("DATA").startswith("354 ")
        client.send(b"Subject: s\r\n\r\nSTARTTLS\r\n")
        assert client.say(".").startswith("250 2.0.0 ")
        assert client.say("STARTTLS").startswith("220 ")
        client.shake_hands(certified.trusting())
        assert client.say("NOOP").startswith("250 ")


# -- what a backend sends out of turn ------------------------------------------------------


@contextlib.contextmanager
def before_backend(folder: Path, certified: Certified, backend: ScriptedBackend) -> Iterator[Guard]:
    settings = listening(listener("mx", starttls=certified.starttls))
    with ConfiguredGuard(folder, backend.address, POLICY, **settings) as guard:
        yield guard


def test_what_the_backend_says_amid_the_handshake_is_no_answer_inside(certified: Certified, tmp_path: Path) -> None:
    """It would be taken for the reply to the first command in TLS: the session ends, without a word in clear."""
    now = threading.Event()

    def inject(talk: Conversation) -> None:
        talk.say(b"220 backend\r\n")
        talk.line()
        talk.say(b"250-backend\r\n250 STARTTLS\r\n")
        now.wait(20)
        talk.say(b"250 injected\r\n")
        talk.line()

    with (
        ScriptedBackend(inject) as backend,
        before_backend(tmp_path, certified, backend) as guard,
        TlsTalk("127.0.0.1", guard.port, OUTSIDE) as client,
    ):
        assert ask(client, "EHLO me.test", "STARTTLS")[1].startswith("220 ")
        now.set()
        assert client.rest() == b""
        assert backend.over()[0].lines == [b"EHLO me.test"]
        guard.wait_line(r"mail server: surplus reply: 250 injected")


def test_what_the_backend_says_between_handshake_and_command_is_none_either(
    certified: Certified, tmp_path: Path
) -> None:
    """The same an instant later: 421 inside TLS, and nothing of it."""
    now = threading.Event()

    def inject(talk: Conversation) -> None:
        talk.say(b"220 backend\r\n")
        talk.line()
        talk.say(b"250 backend\r\n")
        now.wait(20)
        talk.say(b"250 injected\r\n")
        talk.line()

    with (
        ScriptedBackend(inject) as backend,
        before_backend(tmp_path, certified, backend) as guard,
        starttls(guard.port, certified.trusting(), OUTSIDE) as client,
    ):
        now.set()
        assert client.reply().startswith(BROKE.encode())
        assert client.rest() == b""


# -- who does not shake hands ------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", HELLO, HELLO + b"\x01\x00" + b"\x01" * 100])
@pytest.mark.parametrize("way", ["starttls", "implicit"])
def test_a_handshake_that_is_never_finished_is_not_waited_for(hurried: Guard, sent: bytes, way: str) -> None:
    """Nor is the connection to the server kept any longer; under implicit TLS there is none yet."""
    source = f"127.0.0.{60 + len(sent) % 50}"
    with Talk("127.0.0.1", hurried.ports[way == "implicit"], source, greet=way == "starttls") as client:
        if way == "starttls":
            assert ask(client, "EHLO me.test", "STARTTLS")[1].startswith("220 ")
        client.send(sent)
        with contextlib.suppress(ConnectionResetError):  # nothing is owed at the implicit port
            assert client.rest() == b""
    if way == "starttls":
        hurried.wait_line(rf"disconnect from \[{source}\] .*\(time-out\)")
    else:
        hurried.wait_line(rf"no handshake within 0\.5 s, relay=\[{source}\]")


def test_the_server_is_let_go_with_the_handshake(certified: Certified, tmp_path: Path) -> None:
    """Seen from the server: the end of the connection, in order."""
    settings = listening(listener("mx", starttls=certified.starttls), timeouts={"handshake": HANDSHAKE_SECONDS})
    with (
        ScriptedBackend(obliging) as backend,
        ConfiguredGuard(tmp_path, backend.address, POLICY, **settings) as guard,
        Talk("127.0.0.1", guard.port, OUTSIDE) as client,
    ):
        assert ask(client, "EHLO me.test", "STARTTLS")[1].startswith("220 ")
        assert backend.over()[0].lines == [b"EHLO me.test"]
        assert client.rest() == b""


def test_what_is_no_tls_gets_no_word_at_the_implicit_port(certified: Certified, tmp_path: Path) -> None:
    """And costs no connection to the server: it is made when there is a session."""
    settings = listening(listener("submissions", starttls=certified.starttls, tls="implicit"))
    with (
        ScriptedBackend(obliging) as backend,
        ConfiguredGuard(tmp_path, backend.address, POLICY, **settings) as guard,
    ):
        for sent in NO_TLS:
            with Talk("127.0.0.1", guard.port, OUTSIDE, greet=False) as client:
                client.send(sent)
                assert ALERT.fullmatch(client.rest())
        assert backend.conversations == []
    assert len([line for line in guard.lines() if "STARTTLS=server, error: " in line]) == len(NO_TLS)


def test_two_hundred_handshakes_at_once_have_the_room_that_there_is(
    plain_ports: Ports, certified: Certified, tmp_path: Path
) -> None:
    """`limits.sessions: 8`: no more are held, in a handshake or behind it, and then there is room again."""
    context = certified.trusting()
    hello, _ = listening_client(context)
    server = plain_ports.server
    settings = listening(listener("submissions", starttls=certified.starttls, tls="implicit"), limits={"sessions": 8})
    with ConfiguredGuard(tmp_path, (server.address, server.port), POLICY, **settings) as guard:
        with contextlib.ExitStack() as stack:
            clients = [client for _ in range(200) if (client := _come(guard.port, hello, stack)) is not None]
            assert sum(map(_is_answered, clients)) == 8
        wait_until(lambda: _serves(guard, context), "room for one more", 20)


def _come(port: int, hello: bytes, stack: contextlib.ExitStack) -> socket.socket | None:
    """Connect and begin to shake hands; None if it was turned away by a reset before that was done."""
    with contextlib.suppress(ConnectionError):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20, (OUTSIDE, 0)))
        client.sendall(hello)
        return client
    return None


def _is_answered(client: socket.socket) -> bool:
    """True if the handshake went on; else the connection is at an end, maybe by a reset."""
    with contextlib.suppress(ConnectionError):
        return client.recv(3) == HELLO[:1] + b"\x03\x03"
    return False


def _serves(guard: Guard, context: ssl.SSLContext) -> bool:
    try:
        with implicit(guard.port, context, OUTSIDE) as client:
            return client.say("NOOP").startswith("250 ")
    except (OSError, NotSmtp):
        return False


def test_handshakes_from_one_address_have_the_room_of_that_address(certified: Certified, tmp_path: Path) -> None:
    """`limits.sessions_per_address: 3` counts from the first octet on, or handshakes would be a way around it."""
    hello, _ = listening_client(certified.trusting())
    settings = listening(
        listener("submissions", starttls=certified.starttls, tls="implicit"), limits={"sessions_per_address": 3}
    )
    with (
        ScriptedBackend(obliging) as backend,
        ConfiguredGuard(tmp_path, backend.address, POLICY, **settings) as guard,
    ):
        with contextlib.ExitStack() as stack:
            clients = [client for _ in range(10) if (client := _come(guard.port, hello, stack)) is not None]
            assert sum(map(_is_answered, clients)) == 3
            guard.wait_line(rf"rejecting connection from \[{OUTSIDE}\]: 3 sessions from one address")
            implicit(guard.port, certified.trusting(), INSIDE).close()
        wait_until(lambda: _serves(guard, certified.trusting()), "room for one more", 20)
