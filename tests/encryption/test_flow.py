"""What the guard holds for peers that do not read, in TLS: no more than without it (threat-model.md, 11)."""

from __future__ import annotations

import select
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rig.wait import wait_until
from tests.sendmail.support import OUTSIDE, ConfiguredGuard, ask, resident

from .scripted import Conversation, ScriptedBackend
from .support import BACKEND, POLICY, Certified, TlsTalk, implicit, listener, listening, starttls

MEGABYTE = 1 << 20
ALLOWED_GROWTH = 10 * MEGABYTE
"""8 MB without TLS (tests/sendmail); a record that is being made, and OpenSSL's own, come on top."""
REPLY = (b"250-" + b"so be it " * 100 + b"\r\n") * 900 + b"250 so be it\r\n"
LEGS = pytest.mark.parametrize(
    ("way", "leg"), [(starttls, "none"), (implicit, "required")], ids=["one leg", "both legs"]
)
Way = Callable[..., TlsTalk]


class Hoarder:
    """A mail server with long replies to HELP, that reads nothing of a message until it may, and then all."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self.may_read = threading.Event()
        self.answered = 0
        self.octets = 0

    def __call__(self, talk: Conversation) -> None:
        talk.say(b"220 hoarder.test\r\n")
        while (line := talk.line()) != b"QUIT":
            if line == b"STARTTLS" and self._context is not None:
                talk.say(b"220 go\r\n")
                talk.secure(self._context)
            elif line == b"DATA":
                talk.say(b"354 go on\r\n")
                self.may_read.wait(60)
                while (part := talk.line()) != b".":
                    self.octets += len(part) + 2
                talk.say(b"250 got it\r\n")
            elif line == b"HELP":
                talk.say(REPLY)
                self.answered += 1
            else:
                talk.say(b"250-hoarder.test\r\n250 STARTTLS\r\n" if line.startswith(b"EHLO") else b"250 ok\r\n")
            talk.lines.clear()
        talk.say(b"221 bye\r\n")


def guarding(folder: Path, certified: Certified, backend: ScriptedBackend, way: Way, leg: str) -> ConfiguredGuard:
    host, port = backend.address
    server: dict[str, object] = {"endpoint": f"tcp:{host}:{port}", "starttls": leg}
    if leg == "required":
        server |= {"server_name": BACKEND, "ca": str(certified.ca)}
    settings = listening(
        listener("mx", starttls=certified.starttls, tls="implicit" if way is implicit else "none"), backend=server
    )
    return ConfiguredGuard(folder, backend.address, POLICY, **settings)


def push(client: TlsTalk, data: bytes) -> int:
    """Send until nothing is taken for half a second; return how much was."""
    view, sent, tls = memoryview(data), 0, client.tls
    usual = tls.gettimeout()
    tls.setblocking(False)
    try:
        while sent < len(data) and select.select([], [tls], [], 0.5)[1]:
            try:
                sent += tls.send(view[sent : sent + 16384])
            except ssl.SSLWantWriteError:
                continue  # a record that is half sent is sent again, from the same place
    finally:
        tls.settimeout(usual)
    return sent


def stopped(progress: Callable[[], int]) -> int:
    """Wait until `progress` stays the same for half a second; return it."""
    last, since = progress(), time.monotonic()

    def still() -> bool:
        nonlocal last, since
        if (now := progress()) != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > 0.5

    wait_until(still, "a standstill", 30)
    return last


@LEGS
def test_a_client_that_does_not_read_stops_the_server(certified: Certified, tmp_path: Path, way: Way, leg: str) -> None:
    """Replies of 0.8 MB to a client that takes none are not hoarded, and none is lost."""
    count = 40
    act = Hoarder(certified.server(BACKEND))
    with (
        ScriptedBackend(act) as backend,
        guarding(tmp_path, certified, backend, way, leg) as guard,
        way(guard.port, certified.trusting(), OUTSIDE) as client,
    ):
        client.say("EHLO me.test")
        before = resident(guard.pid)
        client.send(b"HELP\r\n" * count)
        assert stopped(lambda: act.answered) < count / 2, "the server was never stopped"
        assert resident(guard.pid) - before < ALLOWED_GROWTH
        for _ in range(count):
            complete = client.reply() == REPLY
            assert complete
        assert client.say("QUIT").startswith("221 ")
        assert resident(guard.pid) - before < ALLOWED_GROWTH


@LEGS
def test_a_slow_server_slows_the_client_down(certified: Certified, tmp_path: Path, way: Way, leg: str) -> None:
    """A big message is not hoarded; when the server reads again, all of it arrives."""
    content = b"x" * 98 + b"\r\n"
    content *= 24 * MEGABYTE // len(content)
    act = Hoarder(certified.server(BACKEND))
    with (
        ScriptedBackend(act) as backend,
        guarding(tmp_path, certified, backend, way, leg) as guard,
        way(guard.port, certified.trusting(), OUTSIDE) as client,
    ):
        ask(client, "EHLO me.test", "MAIL FROM:<a@b.example>", "RCPT TO:<george@x.test>", "DATA")
        before = resident(guard.pid)
        sent = push(client, content)
        assert sent < len(content), "the client was never stopped"
        assert resident(guard.pid) - before < ALLOWED_GROWTH
        act.may_read.set()
        client.send(content[sent:])
        assert client.say(".") == "250 got it"
        assert act.octets == len(content)
        assert resident(guard.pid) - before < ALLOWED_GROWTH
