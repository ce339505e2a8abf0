"""A transport in TLS: what is handed on, what is sent, and how it ends."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpguard.tls.engine import PIECE_OCTETS
from tests.tls.ends import VERSIONS, splits
from tests.tls.support import Split, each_octet, whole

from .secured import End, carry, two


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize("split", [whole, each_octet])
def test_what_one_end_writes_the_other_gets(version: ssl.TLSVersion, split: Split) -> None:
    """Both ways, and enciphered."""
    client, server = two(version=version, split=split)
    client.secure.write(b"EHLO x\r\n")
    server.secure.writeSequence([b"250-mx\r\n", b"250 SIZE\r\n"])
    assert b"EHLO" not in client.raw.value()
    carry(client, server, split=split)
    assert bytes(server.got) == b"EHLO x\r\n"
    assert bytes(client.got) == b"250-mx\r\n250 SIZE\r\n"


def test_what_is_written_before_the_handshake_is_dropped() -> None:
    """Nobody is owed it, and in clear it may not be."""
    client, server = two(shake=False)
    for end in (client, server):
        before = end.raw.value()
        end.secure.write(b"secret")
        end.secure.writeSequence([b"secret"] * 3)
        assert end.raw.value() == before
    server.then["established"] = lambda: server.secure.write(b"220 mx\r\n")
    carry(client, server)
    assert bytes(client.got) == b"220 mx\r\n"


@pytest.mark.parametrize(
    ("pieces", "records"),
    [
        ([], 0),
        ([b"", b""], 0),
        ([b"x"] * 1000, 1),
        ([b"x" * 1000] * 33, 3),
        ([b"x" * (PIECE_OCTETS + 1)], 2),
        ([b"x" * PIECE_OCTETS, b"y"], 2),
        ([b"a", b"x" * PIECE_OCTETS, b"b"], 3),
    ],
)
def test_small_pieces_share_a_record(pieces: list[bytes], records: int) -> None:
    """Each record costs 22 octets and a system call for who reads it."""
    client, server = two()
    server.secure.writeSequence(iter(pieces))
    sent = server.raw.value()
    plain = b"".join(pieces)
    assert len(sent) == len(plain) + 22 * records
    carry(client, server)
    assert bytes(client.got) == plain


@given(pieces=st.lists(st.binary(max_size=300) | st.integers(0, 40000).map(bytes), max_size=8), split=splits())
def test_pieces_come_whole_and_in_order(pieces: list[bytes], split: Split) -> None:
    """Wherever the octets of the other end are split."""
    client, server = two()
    server.secure.writeSequence(pieces)
    server.secure.write(b"end")
    carry(client, server, split=split)
    assert bytes(client.got) == b"".join(pieces) + b"end"


def test_no_write_makes_more_than_a_record_at_a_time() -> None:
    """A megabyte is neither joined nor enciphered in one piece."""
    _, server = two()
    written: list[int] = []
    server.raw.write = lambda octets: written.append(len(octets))  # type: ignore[method-assign]
    server.secure.write(bytes(1 << 20))
    server.secure.writeSequence([bytes(1 << 20)])
    assert len(written) == 2 * (1 << 20) // PIECE_OCTETS
    assert max(written) <= 16384 + 22


# -- how it ends -----------------------------------------------------------------------------------


def test_a_close_says_goodbye_and_hands_nothing_on() -> None:
    """What was written before it arrives; the raw connection closes behind it."""
    client, server = two()
    server.secure.write(b"221 bye\r\n")
    server.secure.loseConnection()
    assert server.raw.disconnecting
    server.secure.write(b"more")
    client.secure.write(b"more")
    carry(client, server)
    assert bytes(client.got) == b"221 bye\r\n"
    assert client.told == ["established", "plain", "finished"]
    assert server.told == ["established"]
    before = server.raw.value()
    server.secure.loseConnection()
    assert server.raw.value() == before


def test_a_half_close_goes_on_reading() -> None:
    """As a session that lingers does."""
    client, server = two()
    server.secure.write(b"421 bye\r\n")
    server.secure.loseWriteConnection()
    assert server.raw.write_closed
    assert not server.raw.disconnecting
    client.secure.write(b"more")
    carry(client, server)
    assert bytes(client.got) == b"421 bye\r\n"
    assert bytes(server.got) == b"more"
    server.secure.write(b"x")
    assert server.raw.value() == b""
    client.secure.loseWriteConnection()
    carry(client, server)
    assert server.told[-1] == "finished"


def test_an_abort_says_nothing() -> None:
    """Not even goodbye: the other end must see that it is no orderly end."""
    client, server = two()
    client.secure.write(b"DATA\r\n")
    server.secure.abortConnection()
    assert server.raw.aborted
    assert server.raw.value() == b""
    server.secure.write(b"x")
    server.secure.writeSequence([b"x"])
    server.secure.received(client.raw.take())
    assert server.raw.value() == b""
    assert server.told == ["established"]


@pytest.mark.parametrize("how", ["loseConnection", "abortConnection"])
@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("established", ["established"]),
        ("plain", ["established", "plain"]),
        ("finished", ["established", "plain", "finished"]),
    ],
)
def test_nothing_is_handed_on_behind_an_end_that_was_made_in_between(how: str, when: str, told: list[str]) -> None:
    """The end of the handshake, text, goodbye and garbage come in one segment."""
    client, server = two(shake=False)
    server.secure.received(client.raw.take())
    client.secure.received(server.raw.take())
    client.secure.write(b"EHLO x\r\n")
    client.secure.loseConnection()
    server.then[when] = getattr(server.secure, how)
    server.secure.received(client.raw.take() + b"garbage" * 10)
    assert server.told == told
    assert server.raw.disconnecting
    assert server.raw.aborted is (how == "abortConnection")
    server.secure.received(b"more garbage")
    assert server.told == told


@pytest.mark.parametrize(
    "octets", [b"EHLO mx\r\n", b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\xff" * 9]
)
def test_a_fault_in_the_handshake_closes(octets: bytes) -> None:
    """Once, in order; whatever comes then is not even looked at."""
    server = End(server=True)
    server.secure.registerProducer(object(), True)
    server.secure.received(octets)
    assert server.told == ["fault"]
    assert server.raw.disconnecting
    assert not server.raw.aborted
    assert server.raw.producer is None
    server.raw.clear()
    server.secure.received(End(server=False).engine.start())
    server.secure.write(b"x")
    server.secure.loseConnection()
    server.secure.unregisterProducer()
    assert server.raw.value() == b""
    assert server.told == ["fault"]


def test_text_in_front_of_a_fault_is_handed_on_and_the_alert_is_sent() -> None:
    """However it was split, it would have been; but an answer to it can no more be sent."""
    client, server = two()
    client.secure.write(b"QUIT\r\n")
    record = client.raw.take()
    server.then["plain"] = lambda: server.secure.write(b"221 bye\r\n")
    server.secure.received(record + record)
    assert server.told == ["established", "plain", "fault"]
    assert bytes(server.got) == b"QUIT\r\n"
    carry(client, server)
    assert bytes(client.got) == b""
    assert client.fault is not None
    assert "alert bad record mac" in client.fault.what
    assert server.fault is not None
    assert server.fault.what == "decryption failed or bad record mac"


def test_a_handshake_that_this_end_cannot_begin_is_a_fault() -> None:
    """As when nothing is left of what may be spoken."""
    end = End(server=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2
    end.engine.__init__(context, server=False, name="mx.test")  # type: ignore[misc]
    end.secure.begin()
    assert end.told == ["fault"]
    assert end.raw.disconnecting


# -- the raw transport's own -----------------------------------------------------------------------


def test_flow_control_is_the_raw_transport_s() -> None:
    """Its buffer is the one that fills."""
    _, server = two()

    class Producer:
        paused = 0

        def pauseProducing(self) -> None:
            self.paused += 1

        def resumeProducing(self) -> None:
            self.paused -= 1

    producer = Producer()
    server.secure.registerProducer(producer, True)
    server.raw.fill()
    assert producer.paused == 1
    server.raw.drain()
    assert producer.paused == 0
    server.secure.pauseProducing()
    assert not server.raw.read_from
    server.secure.resumeProducing()
    assert server.raw.read_from
    server.secure.unregisterProducer()
    assert server.raw.producer is None
    server.secure.unregisterProducer()


def test_addresses_are_the_raw_transport_s() -> None:
    """A session logs them."""
    end = End(server=True)
    assert end.secure.getPeer() == end.raw.getPeer()
    assert end.secure.getHost() == end.raw.getHost()
    assert end.secure.getPeer() != end.secure.getHost()
