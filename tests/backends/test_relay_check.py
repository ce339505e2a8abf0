"""The question whether a backend relays, against backends of every temper."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from smtpguard.backends.backend_side import BackendSide, BackendUser
from smtpguard.backends.relay_check import Answer, Relaying, ask
from smtpguard.net.deadlines import Deadlines


class Backend:
    """Says `replies`, one to a command."""

    def __init__(self, replies: list[str], refused: bool = False) -> None:
        self.wire = StringTransport()
        self.heard: list[bytes] = []
        self._replies = replies
        self._refused = refused
        self.protocol: Any = None

    def connect(self, user: BackendUser) -> Deferred[Any]:
        if self._refused:
            return fail(Failure(ConnectionRefusedError("refused")))
        self.protocol = BackendSide(user, Deadlines(Clock()))
        self.protocol.makeConnection(self.wire)
        return succeed(self.protocol)

    def play(self) -> None:
        for reply in self._replies:
            self.protocol.dataReceived(reply.encode("ascii") + b"\r\n")
            self.heard.append(self.wire.value())
            self.wire.clear()


def asked(replies: list[str]) -> tuple[Answer, list[bytes]]:
    backend = Backend(replies)
    found: list[Answer] = []
    ask(Clock(), backend.connect, "guard.test", "relay@example.com").addCallback(found.append)
    backend.play()
    if not found:
        backend.protocol.connectionLost(Failure(ConnectionResetError()))
    return found[0], backend.heard


def test_the_conversation_delivers_nothing_and_ends_politely() -> None:
    """HELO, an empty sender, one recipient, RSET, QUIT."""
    answer, heard = asked(["220 mx", "250 hi", "250 ok", "550 5.7.1 Relaying denied", "250 reset", "221 bye"])
    assert heard == [
        b"HELO guard.test\r\n",
        b"MAIL FROM:<>\r\n",
        b"RCPT TO:<relay@example.com>\r\n",
        b"RSET\r\n",
        b"QUIT\r\n",
        b"",
    ]
    assert answer.relaying is Relaying.REFUSES
    assert answer.said == "550 5.7.1 Relaying denied"


@pytest.mark.parametrize(
    ("replies", "relaying"),
    [
        (["220 mx", "250 hi", "250 ok", "250 ok"], Relaying.RELAYS),
        (["220 mx", "250 hi", "250 ok", "251 will forward"], Relaying.RELAYS),
        (["220 mx", "250 hi", "250 ok", "450 greylisted"], Relaying.UNKNOWN),
        (["220 mx", "250 hi", "530 5.7.0 Authentication required"], Relaying.REFUSES),
        (["220 mx", "250 hi", "451 later"], Relaying.UNKNOWN),
        (["220 mx", "250 hi", "550 5.1.7 no bounces here"], Relaying.UNKNOWN),
        (["220 mx", "250 hi", "250 ok", "556 5.1.10 Domain does not accept mail (nullMX)"], Relaying.UNKNOWN),
        (["220 mx", "250 hi", "250 ok", "504 5.5.2 Helo command rejected"], Relaying.UNKNOWN),
        (["220 mx", "250 hi", "250 ok", "550 5.1.1 <relay@example.com>... User unknown"], Relaying.UNKNOWN),
        (["220 mx", "250 hi", "250 ok", "554 5.7.1 <relay@example.com>: Relay access denied"], Relaying.REFUSES),
        (["220 mx", "250 hi", "250 ok", "550 relay not permitted"], Relaying.REFUSES),
        (["220 mx", "250 hi", "250 ok", "550 no"], Relaying.REFUSES),
        (["220 mx", "250 hi", "550 no"], Relaying.UNKNOWN),
        (["220 mx", "250 hi", "250 ok", "550 5.1.2 Host unknown"], Relaying.UNKNOWN),
        (["220 mx", "250 hi", "250 ok", "553 not in my list of allowed rcpthosts (#5.7.1)"], Relaying.REFUSES),
        (["220 mx", "250 hi", "250 ok", "550 5.7.1 Delivery not authorized"], Relaying.REFUSES),
        (["220 mx", "250 hi", "250 ok", "454 4.7.1 <x>: Relay access denied"], Relaying.REFUSES),
        (["220 mx", "250 hi", "250 ok", "454 4.7.1 try later"], Relaying.UNKNOWN),
        # About the address that asks, which nobody has, and not about what it asks for.
        (
            ["220 mx", "250 hi", "250 ok", "550 5.7.25 Client host rejected: cannot find your hostname"],
            Relaying.UNKNOWN,
        ),
        (
            ["220 mx", "250 hi", "250 ok", "554 5.7.1 Service unavailable; Client host blocked using x"],
            Relaying.UNKNOWN,
        ),
        (["220 mx", "250 hi", "250 ok", "550 5.7.1 Helo command rejected: Host not found"], Relaying.UNKNOWN),
        (["220 mx", "250 hi", "250 ok", "550 blocked by reputation"], Relaying.UNKNOWN),
        (["220 mx", "250 hi", "550 5.7.1 Access denied"], Relaying.UNKNOWN),
        (["220 mx", "250 hi", "250 ok", "550 5.7.1 <relay@example.com>... Access denied"], Relaying.UNKNOWN),
        (["220 mx", "550 no HELO from you"], Relaying.UNKNOWN),
        (["554 no service"], Relaying.UNKNOWN),
        (["421 busy"], Relaying.UNKNOWN),
        (["SSH-2.0-x"], Relaying.UNKNOWN),
        (["220 mx", "250 hi\r\n550 5.7.1 Relaying denied"], Relaying.UNKNOWN),
        (["220 mx", "250 hi"], Relaying.UNKNOWN),
    ],
)
def test_only_a_refusal_of_sender_or_recipient_counts_as_one(replies: list[str], relaying: Relaying) -> None:
    """Whatever is not known is not assumed."""
    assert asked(replies)[0].relaying is relaying


def test_a_backend_that_cannot_be_reached_or_says_nothing_gives_no_answer() -> None:
    """Neither a refusal to connect nor silence is an answer."""
    found: list[Answer] = []
    clock = Clock()
    ask(clock, Backend([], refused=True).connect, "guard.test", "relay@example.com").addCallback(found.append)
    silent = Backend([])
    ask(clock, silent.connect, "guard.test", "relay@example.com").addCallback(found.append)
    clock.advance(61)
    assert [answer.relaying for answer in found] == [Relaying.UNKNOWN, Relaying.UNKNOWN]
    assert silent.wire.disconnecting
