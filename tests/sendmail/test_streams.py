"""Every client stream of tests/vectors, from outside, through the guard, to a real sendmail."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator

import pytest

from tests.rig.guard import Guard
from tests.rig.recorder import Recorder
from tests.rig.sendmail import RealSendmail
from tests.vectors import Stream, load

from .support import OUTSIDE, ConfiguredGuard, commands_read, policy, verb_as_read

# Scripted backends, TLS and what depends on the deployment are for other tests.
STREAMS = [
    stream
    for stream in load()
    if stream.backend is None
    and stream.stage is None
    and not any(step.kind in ("backend_send", "backend_close", "tls") for step in stream.steps)
]

OF_MAIL = {"HELO", "EHLO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT", "AUTH"}
"""All that sendmail may hear from outside under the perimeter rules."""

_REPLY = re.compile(rb"(?:[0-9]{3}-[^\n]*\n)*([0-9]{3})(?: [^\n]*)?\n")
# What VRFY and EXPN tell, and RCPT does not; and names that no stream holds.
_TOLD = re.compile(rb"2\.1\.5 (?!<[^>]*>\.\.\. Recipient ok\r\n)|george|alice|bob|root@x\.test|Mailing List")


class Player:
    """Plays the steps of a stream."""

    def __init__(self, port: int, source: str = OUTSIDE) -> None:
        """Connect."""
        self.heard = bytearray()
        self._understood = 0
        self._message: bytes | None = None
        self._owed = 1
        self._ended = False
        self._urgent = False
        self._socket = socket.create_connection(("127.0.0.1", port), 10, (source, 0))

    def play(self, stream: Stream) -> None:
        """Play all, say that nothing follows, and hear the rest."""
        with self._socket:
            if all(step.kind != "wait_banner" for step in stream.steps):
                self._hear_reply()
            for step in stream.steps:
                match step.kind:
                    case "send":
                        self._note(step.octets)
                        self._send(step.octets)
                    case "wait_banner":
                        self._hear_reply()
                    case "reply":
                        for _ in range(self._owed):
                            self._hear_reply()
                    case "wait_close":
                        self._hear_rest()
                    case "half_close":
                        self._send(None)
                    case "oob":
                        self._urgent = True
                    case "sleep":
                        self._hear(step.ms / 1000)
                    case _:
                        raise AssertionError(step.kind)
            self._send(None)
            self._hear_rest()

    def _note(self, octets: bytes) -> None:
        """Count the replies that a client has to wait for before it may go on.

        That is one, but for commands in front of DATA: whatever else is sent, the text of a message
        must not overtake the 354.
        """
        self._owed = 1
        if self._message is not None:
            self._message += octets
            _, end, commands = self._message.partition(b"\r\n.\r\n")
            if not end:
                return
            self._message = None
            self._owed += commands.count(b"\n")
        elif octets.endswith(b"DATA\r\n"):
            self._owed = octets.count(b"\n")

    def _send(self, octets: bytes | None) -> None:
        """Send, or end the own side.  That a server has closed shows when it is heard."""
        self._socket.settimeout(10)
        with contextlib.suppress(OSError):
            if octets is None:
                self._socket.shutdown(socket.SHUT_WR)
            elif self._urgent:
                self._urgent = False
                self._socket.send(octets[:1], socket.MSG_OOB)
                self._socket.sendall(octets[1:])
            else:
                self._socket.sendall(octets)

    def _hear(self, seconds: float) -> bool:
        """Take what comes next; False if nothing does in time, or ever."""
        if self._ended:
            return False
        self._socket.settimeout(seconds)
        try:
            part = self._socket.recv(65536)
        except TimeoutError:
            return False
        except ConnectionError:
            part = b""
        self.heard += part
        self._ended = not part
        return bool(part)

    def _hear_reply(self) -> None:
        """Wait for a complete reply, or the end; within a message only for a moment, since none is due."""
        while (match := _REPLY.match(self.heard, self._understood)) is None:
            if not self._hear(5 if self._message is None else 0.05):
                return
        self._understood = match.end()
        if match[1] == b"354":
            self._message = b"\r\n"

    def _hear_rest(self) -> None:
        while self._hear(10):
            pass


@pytest.fixture(scope="module")
def server() -> Iterator[RealSendmail]:
    """A sendmail that takes the mail of the streams as its own."""
    with RealSendmail(extra_mc="LOCAL_DOMAIN(`mx.test')dnl") as running:
        yield running


@pytest.fixture(scope="module")
def behind(server: RealSendmail) -> Iterator[Recorder]:
    """The wire between guard and sendmail."""
    with Recorder((server.address, server.port)) as running:
        yield running


@pytest.fixture(scope="module")
def perimeter(behind: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    """A guard with the perimeter rules."""
    text = policy(("127.0.0.1/32",), "perimeter")
    with ConfiguredGuard(tmp_path_factory.mktemp("perimeter"), ("127.0.0.1", behind.port), text) as running:
        yield running


def test_no_stream_is_forgotten() -> None:
    """Those that are not played here need something that is not here."""
    assert len(STREAMS) == 127


@pytest.mark.parametrize("stream", STREAMS, ids=[stream.id for stream in STREAMS])
def test_nothing_gets_through(perimeter: Guard, behind: Recorder, server: RealSendmail, stream: Stream) -> None:
    """Neither is sendmail asked what an outsider may not ask, nor is a name told; mail passes unchanged."""
    count, read_before = len(behind.connections), len(server.traffic())
    player = Player(perimeter.port)
    player.play(stream)
    recording = behind.finished(count + 1)[count]
    commands = commands_read(server.traffic()[read_before:])
    assert not _TOLD.search(player.heard)
    assert {verb_as_read(command) for command in commands} <= OF_MAIL
    demands = {stream.must, *stream.also}
    if "accepted_unchanged" in demands:
        assert recording.client_bytes == b"".join(step.octets for step in stream.steps)
    if "message_not_accepted" in demands:
        assert b"Message accepted" not in recording.server_bytes


@pytest.mark.parametrize("name", ["verb-vrfy", "verb-in-transaction", "cmd-sep-vt", "cmd-mail-lf-vrfy", "eof-partial"])
def test_without_the_guard_it_would(server: RealSendmail, name: str) -> None:
    """What is looked for above is there where there is no guard."""
    read_before = len(server.traffic())
    player = Player(server.port)
    player.play(next(stream for stream in STREAMS if stream.id == name))
    verbs = {verb_as_read(command) for command in commands_read(server.traffic()[read_before:])}
    assert verbs & {"VRFY", "EXPN"}
    assert _TOLD.search(player.heard)
