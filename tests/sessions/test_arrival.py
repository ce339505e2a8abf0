"""What a connection goes through before it has a session: a PROXY header, a handshake, and whose it is then."""

from __future__ import annotations

import io
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from smtpguard.backends.backend import Client
from smtpguard.backends.backend_side import BackendSide, BackendUser
from smtpguard.config.listener import Listener
from smtpguard.config.settings import Limits, Settings
from smtpguard.journal.journal import Journal
from smtpguard.journal.sinks import StderrSink
from smtpguard.metrics import catalogue
from smtpguard.metrics.counts import Counts, key_of
from smtpguard.net.deadlines import Deadlines
from smtpguard.sessions.client import ClientSide, Doorway
from smtpguard.sessions.listener import Reception
from smtpguard.sessions.session_metrics import SessionMetrics
from smtpguard.tls.engine import TlsEngine
from tests.smtp.table import perimeter
from tests.tls.support import Authority

from .stage import Wire

BALANCER = "192.0.2.1"
V1 = b"PROXY TCP4 203.0.113.9 192.0.2.25 40000 25\r\n"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n" + b"\x20\0\0\0"
AUTHORITY = Authority()


class Backend:
    """Stands for the connector: keeps who was to be shown to the backend."""

    def __init__(self) -> None:
        self.clients: list[Client] = []
        self.sides: list[BackendSide] = []

    def begin(self, user: BackendUser, client: Client, failed: Callable[[Failure], None]) -> Deferred[Any]:
        self.clients.append(client)
        self.sides.append(BackendSide(user, Deadlines(Clock())))
        return Deferred(lambda _: None)


class Entrance:
    """A listener with one balancer that it trusts, or with TLS from the first octet, or both."""

    def __init__(self, *, limits: Limits | None = None, **listener: Any) -> None:
        self.clock = Clock()
        self.log = io.StringIO()
        self.backend = Backend()
        given = {"endpoint": "tcp:25:interface=192.0.2.25", "proxy_protocol": "required", "trusted": [BALANCER]}
        self.listener = Listener.model_validate({**given, **listener})
        settings = Settings.model_validate({"listen": [given], "backend": "tcp:127.0.0.1:25"})
        settings = settings.model_copy(update={"limits": limits or Limits()})
        journal = Journal([StderrSink(self.log, with_priority=False)], level=99)
        self.reception = Reception(self.clock, settings, perimeter(), journal, self.backend, "guard.test")
        self.context: ssl.SSLContext | None = None

    def connect(self, source: str = BALANCER) -> tuple[ClientSide, Wire]:
        """Connect from `source`."""
        side = ClientSide(self.reception, Doorway(self.listener, self.context))
        wire = Wire(peerAddress=IPv4Address("TCP", source, 50000), hostAddress=IPv4Address("TCP", "192.0.2.25", 25))
        side.makeConnection(wire)
        return side, wire

    def shown(self) -> list[tuple[str, str | None]]:
        """Return (address for the policy, address for the backend) of every session so far."""
        return [(one.peer.text, one.origin.peer.text if one.origin else None) for one in self.backend.clients]


def feed(side: ClientSide, octets: bytes, step: int) -> None:
    """Let octets come, `step` of them at a time."""
    for at in range(0, len(octets), step):
        side.dataReceived(octets[at : at + step])


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_the_client_is_whom_the_header_tells_of(step: int) -> None:
    """However it is cut; nothing is said, and nobody connected to, before it is complete."""
    entrance = Entrance()
    side, wire = entrance.connect()
    feed(side, V1[:-1], step)
    assert (entrance.shown(), wire.take()) == ([], b"")
    feed(side, V1[-1:] + b"NOOP\r\n", step)
    assert entrance.shown() == [("203.0.113.9", "203.0.113.9")]
    (origin,) = [client.origin for client in entrance.backend.clients]
    assert origin is not None
    assert (origin.port, origin.to and origin.to.text, origin.to_port) == (40000, "192.0.2.25", 25)
    assert "connect from [203.0.113.9]" in entrance.log.getvalue()
    assert BALANCER not in entrance.log.getvalue()
    # What came behind the header is the client's, and waits for the banner.
    (backend,) = entrance.backend.sides
    backend_wire = Wire()
    backend.makeConnection(backend_wire)
    backend.dataReceived(b"220 mx\r\n")
    assert (wire.take(), backend_wire.take()) == (b"220 mx\r\n", b"NOOP\r\n")


def test_local_is_the_balancer_itself_and_in_no_network() -> None:
    """It may look whether the guard is there; it gets no insider's rights."""
    entrance = Entrance(trusted=["127.0.0.1"])
    side, _ = entrance.connect("127.0.0.1")
    side.dataReceived(LOCAL)
    assert entrance.shown() == [("local", "127.0.0.1")]
    (session,) = entrance.reception.sessions
    entrance.backend.sides[0].makeConnection(Wire())
    entrance.backend.sides[0].dataReceived(b"220 mx\r\n")
    wire = side.transport
    wire.clear()
    side.dataReceived(b"VRFY root\r\n")
    assert wire.value().startswith(b"252 2.5.2 ")
    assert session in entrance.reception.sessions


def test_unknown_is_nobody() -> None:
    """There is nothing that the backend could be shown, and no network that it is in."""
    entrance = Entrance()
    side, _ = entrance.connect()
    side.dataReceived(b"PROXY UNKNOWN\r\n")
    assert entrance.shown() == [("unknown", None)]


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"EHLO x\r\n", "no PROXY header: "),
        (b"PROXY TCP4 203.0.113.9 192.0.2.25 40000 99999\r\n", "no PROXY header: "),
        (b"\x16\x03\x01", "no PROXY header: "),
        (b"\x1b[2J<0>forged\n", r"\033[2J<0>forged\n"),
    ],
)
def test_what_is_no_header_is_dropped_without_a_word(octets: bytes, why: str) -> None:
    """And logged, escaped; there is never a session."""
    entrance = Entrance()
    side, wire = entrance.connect()
    side.dataReceived(octets)
    assert wire.aborted
    assert wire.take() == b""
    assert entrance.shown() == []
    assert why in entrance.log.getvalue() or why[:4] in entrance.log.getvalue()
    assert f"rejecting connection from [{BALANCER}]: no PROXY header: " in entrance.log.getvalue()
    side.dataReceived(V1)
    assert entrance.shown() == []


def test_who_is_not_trusted_is_dropped_before_an_octet_is_read() -> None:
    """Else anybody could be anybody."""
    entrance = Entrance()
    side, wire = entrance.connect("203.0.113.66")
    side.dataReceived(V1)
    assert wire.aborted
    assert (wire.take(), entrance.shown()) == (b"", [])
    assert "rejecting connection from [203.0.113.66]: its PROXY headers are not to be believed" in (
        entrance.log.getvalue()
    )


@pytest.mark.parametrize(
    ("source", "octets", "seconds"),
    [(BALANCER, b"EHLO x\r\n", 0), (BALANCER, b"", 3600), ("203.0.113.66", b"", 0)],
    ids=["no header", "none in time", "not trusted"],
)
def test_who_is_not_believed_is_counted_as_turned_away(source: str, octets: bytes, seconds: int) -> None:
    """By a reason of its own, once: a balancer with another address, or a listener that is no balancer's."""
    entrance, counts = Entrance(), Counts()
    entrance.reception.observers.append(SessionMetrics(counts))
    side, _ = entrance.connect(source)
    side.dataReceived(octets)
    entrance.clock.advance(seconds)
    assert counts.take() == {key_of(catalogue.TURNED_AWAY, "untrusted"): 1}


def test_a_header_that_does_not_come_in_time_is_waited_for_no_longer() -> None:
    """The time does not begin anew with every octet."""
    entrance = Entrance()
    side, wire = entrance.connect()
    for octet in V1[:4]:
        entrance.clock.advance(1)
        side.dataReceived(bytes([octet]))
    assert not wire.aborted
    entrance.clock.advance(1)
    assert wire.aborted
    assert "no PROXY header within 5 s" in entrance.log.getvalue()


def test_a_client_that_goes_away_before_it_is_known_leaves_nothing_behind() -> None:
    """No timer, no place taken."""
    entrance = Entrance()
    side, _ = entrance.connect()
    assert len(entrance.reception.arriving) == 1
    side.connectionLost()
    assert not entrance.reception.arriving
    assert not entrance.clock.getDelayedCalls()


def test_connections_that_are_not_known_yet_count() -> None:
    """`limits.sessions` bounds the descriptors, whoever holds them."""
    entrance = Entrance(limits=Limits(sessions=2))
    wires = [entrance.connect()[1] for _ in range(3)]
    assert [wire.aborted for wire in wires] == [False, False, True]


def test_a_known_client_for_whom_there_is_no_room_is_told() -> None:
    """By the address in the header: the balancer itself may have as many as it likes."""
    entrance = Entrance(limits=Limits(sessions_per_address=1))
    replies = []
    for _ in range(2):
        side, wire = entrance.connect()
        side.dataReceived(V1)
        replies.append(wire.take())
    side, wire = entrance.connect()
    side.dataReceived(V1.replace(b"113.9", b"113.8"))
    assert replies[0] == b""
    assert replies[1].startswith(b"421 4.3.2 guard.test Too many connections")
    assert wire.take() == b""
    assert len(entrance.shown()) == 2


# -- TLS from the first octet ------------------------------------------------------------------------


class TlsClient:
    """The other end of a wire, in TLS."""

    def __init__(self, side: ClientSide, wire: Wire, header: bytes = b"") -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.engine = TlsEngine(context, server=False, name="mx.test")
        self._side, self._wire = side, wire
        self.plain = b""
        self._send(header + self.engine.start())

    def pump(self) -> None:
        """Pass octets until both are quiet."""
        while octets := self._wire.take():
            got = self.engine.receive(octets)
            self.plain += got.plain
            self._send(got.to_send)

    def say(self, octets: bytes) -> None:
        self._send(self.engine.send(octets))
        self.pump()

    def _send(self, octets: bytes) -> None:
        if octets:
            self._side.dataReceived(octets)


def encrypted(tmp_path: Any, **listener: Any) -> Entrance:
    """Return an entrance with TLS from the first octet."""
    chain, key = AUTHORITY.issue(("mx.test",)).write(tmp_path, "mx")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    certificates = [{"chain": str(chain), "key": str(key)}]
    entrance = Entrance(tls="implicit", starttls={"certificates": certificates}, **listener)
    entrance.context = context
    return entrance


@pytest.mark.parametrize("proxied", [False, True])
def test_there_is_a_session_when_the_handshake_is_done(tmp_path: Any, proxied: bool) -> None:
    """Behind a header, if there is one; in the same segment, too."""
    entrance = encrypted(tmp_path, **({} if proxied else {"proxy_protocol": "none", "trusted": []}))
    side, wire = entrance.connect()
    client = TlsClient(side, wire, V1 if proxied else b"")
    assert entrance.shown() == []
    client.pump()
    assert client.engine.established
    source = "203.0.113.9" if proxied else BALANCER
    assert entrance.shown() == [(source, source)]
    assert f"STARTTLS=server, relay=[{source}], version=TLSv1.3, verify=NO" in entrance.log.getvalue()
    (backend,) = entrance.backend.sides
    backend.makeConnection(Wire())
    backend.dataReceived(b"220 mx\r\n")
    client.pump()
    client.say(b"VRFY root\r\nSTARTTLS\r\n")
    assert client.plain.startswith(b"220 mx\r\n252 2.5.2 ")
    assert client.plain.endswith(b"\r\n502 5.5.1 Command not implemented\r\n")
    client.say(b"")
    side.dataReceived(client.engine.close())
    side.connectionLost()
    assert not entrance.reception.sessions


@pytest.mark.parametrize("octets", [b"EHLO x\r\n", b"\x16\x03\x01\xff\xff", b"\0" * 64])
def test_what_is_no_handshake_gets_no_session(tmp_path: Any, octets: bytes) -> None:
    """Nor a word in clear."""
    entrance = encrypted(tmp_path, proxy_protocol="none", trusted=[])
    side, wire = entrance.connect()
    side.dataReceived(octets)
    assert wire.disconnecting
    assert b"2" not in wire.take()[:1]
    assert entrance.shown() == []
    assert "STARTTLS=server, error: " in entrance.log.getvalue()


def test_a_handshake_that_does_not_come_in_time_is_waited_for_no_longer(tmp_path: Any) -> None:
    """And holds a place as long as it is."""
    entrance = encrypted(tmp_path, proxy_protocol="none", trusted=[], limits=Limits(sessions=1))
    _, wire = entrance.connect()
    _, other = entrance.connect()
    assert other.aborted
    assert "rejecting connection from [192.0.2.1]: 1 connection (limits.sessions)" in entrance.log.getvalue()
    entrance.clock.advance(60)
    assert wire.aborted
    assert "no handshake within 60 s" in entrance.log.getvalue()


@pytest.mark.parametrize("turn_away", [lambda reception: setattr(reception, "closed_because", "no answer")])
def test_who_is_turned_away_hears_nothing_in_clear_where_tls_is_expected(
    tmp_path: Any, turn_away: Callable[[Reception], None]
) -> None:
    """It could not read it."""
    entrance = encrypted(tmp_path, proxy_protocol="none", trusted=[])
    turn_away(entrance.reception)
    _, wire = entrance.connect()
    assert wire.disconnecting
    assert wire.take() == b""


def test_handshakes_that_are_not_done_count_for_their_client(tmp_path: Any) -> None:
    """Else an address could have as many sessions as it can begin handshakes before the first is done."""
    entrance = encrypted(tmp_path, proxy_protocol="none", trusted=[], limits=Limits(sessions_per_address=1))
    side, _ = entrance.connect("203.0.113.9")
    _, second = entrance.connect("203.0.113.9")
    _, other = entrance.connect("203.0.113.8")
    assert (second.disconnecting, second.take(), other.disconnecting) == (True, b"", False)
    side.connectionLost()
    assert not entrance.connect("203.0.113.9")[1].disconnecting


def test_handshakes_that_are_not_done_count_beside_sessions(tmp_path: Any) -> None:
    """`limits.sessions` holds for both together, in whatever order they come."""
    entrance = encrypted(tmp_path, proxy_protocol="none", trusted=[], limits=Limits(sessions=3))
    shaking = [entrance.connect() for _ in range(2)]
    entrance.listener = Listener(endpoint="tcp:25")
    plain = [entrance.connect()[1] for _ in range(3)]
    assert [wire.disconnecting for wire in plain] == [False, True, True]
    assert plain[1].value().startswith(b"421 4.3.2 guard.test Too many connections")
    for side, wire in shaking:
        TlsClient(side, wire).pump()
    assert len(entrance.reception.sessions) == 3


@pytest.mark.parametrize("octets", [b"EHLO x\r\n", b""])
def test_a_client_that_does_not_read_its_dismissal_is_let_go_all_the_same(tmp_path: Any, octets: bytes) -> None:
    """Whether it failed the handshake, or came when there was no room."""
    entrance = encrypted(tmp_path, proxy_protocol="none", trusted=[])
    if not octets:
        entrance.reception.closed_because = "no answer"
    side, wire = entrance.connect()
    side.dataReceived(octets)
    assert (wire.disconnecting, wire.aborted) == (True, False)
    entrance.clock.advance(entrance.reception.linger_seconds)
    assert wire.aborted
    side.connectionLost()
    assert not entrance.reception.arriving
    assert not entrance.clock.getDelayedCalls()


def test_what_changed_during_a_handshake_counts(tmp_path: Any) -> None:
    """Then there is TLS to say it in."""
    entrance = encrypted(tmp_path, proxy_protocol="none", trusted=[])
    side, wire = entrance.connect()
    client = TlsClient(side, wire)
    entrance.reception.closed_because = "no answer"
    client.pump()
    assert client.plain.startswith(b"421 4.3.2 guard.test Mail server not available")
    assert (wire.disconnecting, entrance.shown()) == (True, [])
