"""What the policy does not speak of passes unchanged, both ways, and in bounded memory."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.rig.client import Talk
from tests.rig.guard import Guard
from tests.rig.recorder import Recorder
from tests.rig.sendmail import Delivery, RealSendmail, comparable
from tests.rig.wait import wait_until

from .support import INSIDE, OUTSIDE, ConfiguredGuard, ask, delivered, hello, mail, policy, resident, wire

MEGABYTE = 1024 * 1024
ALLOWED_GROWTH = 8 * MEGABYTE


@dataclass(frozen=True)
class Chain:
    """A guard with a recorder before it and one behind it."""

    front: Recorder
    behind: Recorder

    def play(self, source: str, *commands: str) -> tuple[Passed, Passed]:
        """Say the commands from `source`; return what passed from client and to it."""
        fronts, behinds = len(self.front.connections), len(self.behind.connections)
        with Talk("127.0.0.1", self.front.port, source) as client:
            ask(client, *commands)
        front = self.front.finished(fronts + 1)[fronts]
        behind = self.behind.finished(behinds + 1)[behinds]
        return (front.client_bytes, behind.client_bytes), (behind.server_bytes, front.server_bytes)


Passed = tuple[bytes, bytes]
"""Octets of one direction: as sent, as they came out."""


@contextmanager
def _chain(folders: pytest.TempPathFactory, server: RealSendmail, policy_text: str) -> Iterator[Chain]:
    with (
        Recorder((server.address, server.port)) as behind,
        ConfiguredGuard(folders.mktemp("chain"), ("127.0.0.1", behind.port), policy_text) as guard,
        Recorder(("127.0.0.1", guard.port)) as front,
    ):
        yield Chain(front, behind)


@pytest.fixture(scope="module")
def ruled(stock: RealSendmail, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A chain with the default rules."""
    with _chain(tmp_path_factory, stock, policy()) as running:
        yield running


@pytest.fixture(scope="module")
def unruled(stock: RealSendmail, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A chain with a policy that forbids nothing."""
    with _chain(tmp_path_factory, stock, "networks: {internal: [127.0.0.1/32]}\n") as running:
        yield running


# -- octets ----------------------------------------------------------------------------

CONTENT = "Subject: s\r\n\r\n..dots\r\n.\x85\xff\t \r\n\r\n" + "x" * 998 + "\r\n."

ORDINARY = (
    "EHLO me.test",
    "MAIL FROM:<a@b.example> SIZE=2000 BODY=8BITMIME",
    "rcpt to:<george@x.test> NOTIFY=NEVER",
    "RCPT TO:<nobody-of-that-name@x.test>",
    "Data",
    CONTENT,
    "NOOP with words   and blanks ",
    "Mail From:<>",
    "RSET",
    "HELO me.test",
    "QUIT",
)
CURIOUS = (
    *ORDINARY[:-1],
    "VRFY george",
    "vrfy  nobody-of-that-name ",
    "Expn all",
    "EXPN",
    "HELP",
    "HELP vrfy",
    "ETRN x.test",
    "FOO bar",
    "AUTH PLAIN AGEAYg==",
    "MAIL",
    "quit",
)


def without(replies: bytes, *keywords: str) -> bytes:
    """Take keywords out of the EHLO reply among `replies`; none of them is its last line."""
    for keyword in keywords:
        line = f"250-{keyword}\r\n".encode()
        assert replies.count(line) == 1
        replies = replies.replace(line, b"")
    return replies


def test_an_insiders_session_passes_octet_by_octet(ruled: Chain) -> None:
    """The one thing that insiders do not see is VERB, since nobody may use it."""
    (sent, received), (said, heard) = ruled.play(INSIDE, *CURIOUS)
    assert received == sent
    assert heard == without(said, "VERB")


def test_an_outsiders_mail_passes_octet_by_octet(ruled: Chain) -> None:
    (sent, received), (said, heard) = ruled.play(OUTSIDE, *ORDINARY)
    assert received == sent
    assert heard == without(said, "EXPN", "VERB")


@pytest.mark.parametrize("source", [INSIDE, OUTSIDE])
def test_a_policy_without_rules_changes_nothing(unruled: Chain, source: str) -> None:
    (sent, received), (said, heard) = unruled.play(source, *CURIOUS)
    assert received == sent
    assert heard == said


def test_refused_commands_leave_no_trace_at_the_backend(ruled: Chain) -> None:
    """What sendmail gets is the session without them."""
    asked: list[str] = []
    for command in ORDINARY:
        asked += [command] if command == CONTENT else ["VRFY george", command]
    (_, received), _ = ruled.play(OUTSIDE, *asked)
    assert received == "".join(f"{command}\r\n" for command in ORDINARY).encode("latin-1")


# -- mail --------------------------------------------------------------------------------


def _lines(line: bytes, size: int) -> bytes:
    """Return about `size` octets of text."""
    return (line + b"\r\n") * (size // (len(line) + 2))


# All between DATA and the last dot, with what stands behind the sender and the recipient.
SHAPES: dict[str, tuple[bytes, str, str]] = {
    "plain": (b"Subject: s\r\nTo: george@x.test\r\n\r\ntext\r\n", "", ""),
    "eight-bit": (b"Subject: s\r\n\r\n" + bytes(range(128, 256)) + b"\r\ncaf\xc3\xa9\r\n", " BODY=8BITMIME", ""),
    "eight-bit-undeclared": (b"Subject: \xe4\r\n\r\n\xff\xfe\r\n", "", ""),
    "seven-bit": (b"Subject: s\r\n\r\ntext\r\n", " BODY=7BIT", ""),
    "dots": (b"Subject: s\r\n\r\n..\r\n...\r\n..a\r\n .\r\n. \r\n.a\r\n\r\n..\r\n", "", ""),
    "line-998": (b"Subject: s\r\n\r\n" + _lines(b"x" * 998, 5000) + b"." * 998 + b"\r\n", "", ""),
    "long-lines": (b"Subject: s\r\n\r\n" + _lines(b"y" * 2500, 5000) + b"z" * 9000 + b"\r\n", "", ""),
    "blanks": (b"Subject: s\r\n folded\r\n\r\n \r\n\t\r\n\r\n\r\n\x0b\x0c\x1b\x01\x7f\r\n", "", ""),
    "empty": (b"", "", ""),
    "empty-body": (b"Subject: s\r\n\r\n", "", ""),
    "header-only": (b"Subject: s\r\n", "", ""),
    "size": (b"Subject: s\r\n\r\ntext\r\n", " SIZE=100000", ""),
    "dsn": (b"Subject: s\r\n\r\ntext\r\n", " RET=HDRS ENVID=QQ314159", " NOTIFY=FAILURE,DELAY ORCPT=rfc822;g@x.test"),
    "to-all": (b"Subject: s\r\n\r\ntext\r\n", "", ""),
    "ten-megabytes": (b"Subject: s\r\n\r\n" + _lines(b"0123456789 abcdef \xfc." * 3, 10 * MEGABYTE), "", ""),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_mail_of_every_shape_arrives_as_without_the_guard(stock: RealSendmail, guard: Guard, shape: str) -> None:
    """Once sent to sendmail itself and once through the guard: the same mail to the same people."""
    content, mail_words, rcpt_words = SHAPES[shape]
    sender = f"{shape}@b.example"
    recipient = "all@x.test" if shape == "to-all" else "george@x.test"
    for port in (stock.port, guard.port):
        mail(port, content, OUTSIDE, f"<{sender}>{mail_words}", f"<{recipient}>{rcpt_words}")
    direct, guarded = delivered(stock, sender, 2)
    assert comparable(direct.content) == comparable(guarded.content)
    assert sorted(direct.recipients) == sorted(guarded.recipients)


def test_a_delivery_report_comes_back_as_asked_for(stock: RealSendmail, guard: Guard) -> None:
    """NOTIFY, ENVID, RET and ORCPT have reached sendmail: its report names them."""
    for port, sender in ((stock.port, "alice@x.test"), (guard.port, "bob@x.test")):
        report = _report_to(stock, port, sender)
        for line in (b"Original-Envelope-Id: QQ314159", b"Original-Recipient: rfc822;g@x.test", b"Action: "):
            assert line in report.content


def _report_to(stock: RealSendmail, port: int, sender: str) -> Delivery:
    """Send a mail that asks for a report; return the report."""
    words = f"<{sender}> RET=HDRS ENVID=QQ314159"
    mail(port, b"Subject: s\r\n\r\ntext\r\n", OUTSIDE, words, "<george@x.test> NOTIFY=SUCCESS ORCPT=rfc822;g@x.test")

    def found() -> Delivery | None:
        user = sender.partition("@")[0]
        return next(
            (d for d in stock.deliveries(0) if d.recipients == (user,) and b"Action: " in d.content),
            None,
        )

    return wait_until(found, f"the report to {sender}", 30, stock.log)


def test_two_mails_of_one_session_arrive_as_two(stock: RealSendmail, guard: Guard) -> None:
    """Pipelined as far as RFC 2920 allows: the next MAIL behind the final dot."""
    envelope = b"MAIL FROM:<twice@b.example>\r\nRCPT TO:<george@x.test>\r\nDATA\r\n"
    with hello(guard.port, OUTSIDE) as client:
        client.send(envelope)
        assert [reply[:3] for reply in client.replies(3)] == ["250", "250", "354"]
        client.send(b"Subject: 1\r\n\r\none\r\n.\r\n" + envelope)
        assert [reply[:3] for reply in client.replies(4)] == ["250", "250", "250", "354"]
        client.send(b"Subject: 2\r\n\r\ntwo\r\n.\r\nQUIT\r\n")
        assert [reply[:3] for reply in client.replies(2)] == ["250", "221"]
    bodies = sorted(one.content.rpartition(b"\n\n")[2] for one in delivered(stock, "twice@b.example", 2))
    assert bodies == [b"one\n", b"two\n"]


@pytest.mark.parametrize("last", [b"", b"\r\n", b"\r\n.", b"\r\n.\r"])
@pytest.mark.parametrize("half", [False, True])
def test_a_mail_that_breaks_off_is_no_mail(stock: RealSendmail, guard: Guard, last: bytes, half: bool) -> None:
    """The client goes away amid its message, by a close or a half-close: sendmail must not take it for the end."""
    read_before = len(stock.traffic())
    with hello(guard.port, OUTSIDE) as client:
        ask(client, "MAIL FROM:<broken@b.example>", "RCPT TO:<george@x.test>", "DATA")
        client.send(b"Subject: s\r\n\r\ntext" + last)
        if half:
            client.half_close()
            assert not client.rest().startswith(b"2")
    wait_until(lambda: "[EOF]" in stock.traffic()[read_before:], "sendmail to see the end", 20, stock.traffic)
    assert "Message accepted" not in stock.traffic()[read_before:]
    assert not [one for one in stock.deliveries(0) if one.sender == "broken@b.example"]


# -- ends of connections -------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"", b"QUIT\r\n"])
def test_a_half_close_still_gets_every_reply(stock: RealSendmail, guard: Guard, end: bytes) -> None:
    """`printf ... | nc`: all is sent before the first reply is read, with and without a QUIT."""
    script = b"NOOP\r\nVRFY george\r\nHELP nonsense\r\nRSET\r\n" + end
    assert wire(guard.port, script) == wire(stock.port, script)


def test_all_at_once_from_outside_gets_every_reply(guard: Guard) -> None:
    with Talk("127.0.0.1", guard.port, OUTSIDE, greet=False) as client:
        client.send(b"EHLO me.test\r\nVRFY george\r\nNOOP\r\nEXPN all\r\nQUIT\r\n")
        client.half_close()
        assert [reply[:3] for reply in client.replies(6)] == ["220", "250", "252", "250", "502", "221"]
        assert client.closed()


# -- memory ----------------------------------------------------------------------------------


class Pusher(Talk):
    """A client that sends as long as the other side takes anything."""

    def __enter__(self) -> Pusher:
        """Return itself."""
        return self

    def push(self, data: bytes) -> int:
        """Send; stop when nothing is taken for half a second, and return how much was."""
        view, sent = memoryview(data), 0
        usual = self._socket.gettimeout()
        self._socket.setblocking(False)
        try:
            while sent < len(data) and select.select([], [self._socket], [], 0.5)[1]:
                sent += self._socket.send(view[sent : sent + 65536])
        finally:
            self._socket.settimeout(usual)
        return sent


class Hoarder:
    """A mail server with long replies, that reads nothing of a message until it may, and then all."""

    REPLY = (b"250-" + b"so be it " * 100 + b"\r\n") * 10 + b"250 so be it\r\n"

    def __init__(self) -> None:
        """Listen; the kernel is to hold little, so that it shows who else does."""
        self.may_read = threading.Event()
        self.answered = 0
        self.octets = 0
        self.aborted = False
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, name="hoarder", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return "127.0.0.1", int(self._listener.getsockname()[1])

    @contextmanager
    def serving(self) -> Iterator[Hoarder]:
        """Serve one client; wait for its end."""
        with self._listener:
            self._thread.start()
            yield self
            self.may_read.set()
            self._thread.join(20)

    def _serve(self) -> None:
        peer, _ = self._listener.accept()
        with peer, peer.makefile("rb") as lines:
            peer.sendall(b"220 hoarder.test\r\n")
            for line in lines:
                if line == b"DATA\r\n":
                    peer.sendall(b"354 go on\r\n")
                    self.may_read.wait(60)
                    try:
                        for part in iter(lines.readline, b".\r\n"):
                            self.octets += len(part)
                            if not part:
                                return
                    except ConnectionResetError:
                        self.aborted = True
                        return
                peer.sendall(self.REPLY)
                self.answered += 1


def _stopped(progress: Callable[[], int]) -> int:
    """Wait until `progress` stays the same for half a second; return it."""
    last, since = progress(), time.monotonic()

    def still() -> bool:
        nonlocal last, since
        if (now := progress()) != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > 0.5

    wait_until(still, "a standstill", 30)
    return last


def test_a_slow_server_slows_the_client_down(tmp_path: Path) -> None:
    """A big message is not hoarded by the guard; when the server reads again, all of it arrives."""
    content = _lines(b"x" * 98, 40 * MEGABYTE)
    with (
        Hoarder().serving() as server,
        ConfiguredGuard(tmp_path, server.address, policy()) as guard,
        Pusher("127.0.0.1", guard.port, OUTSIDE) as client,
    ):
        ask(client, "EHLO me.test", "MAIL FROM:<a@b.example>", "RCPT TO:<george@x.test>", "DATA")
        before = resident(guard.pid)
        sent = client.push(content)
        assert sent < len(content), "the client was never stopped"
        assert resident(guard.pid) - before < ALLOWED_GROWTH
        server.may_read.set()
        client.send(content[sent:])
        assert client.say(".").endswith("\n250 so be it")
        assert server.octets == len(content)
        assert resident(guard.pid) - before < ALLOWED_GROWTH


def test_a_client_that_does_not_read_stops_the_server(tmp_path: Path) -> None:
    """Long replies to a client that takes none are not hoarded by the guard, and none is lost."""
    count = 4000
    with (
        Hoarder().serving() as server,
        ConfiguredGuard(tmp_path, server.address, policy()) as guard,
        Pusher("127.0.0.1", guard.port, OUTSIDE) as client,
    ):
        client.say("EHLO me.test")
        before = resident(guard.pid)
        assert client.push(b"HELP\r\n" * count) == 6 * count
        assert _stopped(lambda: server.answered) < count, "the server was never stopped"
        assert resident(guard.pid) - before < ALLOWED_GROWTH
        client.half_close()
        complete = client.rest() == Hoarder.REPLY * count
        assert complete


def test_the_connection_to_the_server_is_aborted_with_the_message(tmp_path: Path) -> None:
    """Not ended in order, which a server could take for the end of the data."""
    with (
        Hoarder().serving() as server,
        ConfiguredGuard(tmp_path, server.address, policy()) as guard,
    ):
        with hello(guard.port, OUTSIDE) as client:
            ask(client, "MAIL FROM:<a@b.example>", "RCPT TO:<george@x.test>", "DATA")
            client.send(b"Subject: s\r\n\r\ntext\r\n")
        guard.wait_line("disconnect from")
    assert server.aborted
