"""Connections over octets: what ends them, and what is said then."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpguard.tls.engine import (
    HANDSHAKE_OCTETS,
    Received,
    TlsEngine,
)

from .ends import SERVER, VERSIONS, Seen, fault_of, feed, pair, splits
from .support import Split, each_octet, whole

GARBAGE = [
    b"EHLO mx.test\r\n",
    b"QUIT\r\n",
    b"GET / HTTP/1.0\r\nHost: mx.test\r\n\r\n",
    b"\x80\x2e\x01\x00\x02" + b"x" * 60,
    b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\xff" * 9,
    b"\x16\x03\x03\xff\xff" + b"\x00" * 70000,
    b"\x17\x03\x03\x00\x05hello" * 9,
    b"\x15\x03\x03\x00\x02\x02\x28",
    b"\x00" * 100,
    b"\xff" * 100,
]


@pytest.mark.parametrize("octets", GARBAGE, ids=lambda octets: repr(octets[:12]))
@pytest.mark.parametrize("split", [whole, each_octet])
@pytest.mark.parametrize("stage", ["server hello", "client hello", "established"])
@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_garbage_ends_it_at_every_stage(octets: bytes, split: Split, stage: str, version: ssl.TLSVersion) -> None:
    """In words of the library's, without an octet of the peer's; and for good."""
    both = pair(version)
    if stage == "server hello":
        both.client.start()
        engine = both.client
    else:
        engine = both.server
    if stage == "established":
        both.shake_hands()
    seen = feed(engine, split(octets))
    assert seen.what
    assert len(seen.what) < 80
    assert seen.what.isascii()
    assert "mx.test" not in seen.what
    assert (seen.plain, seen.established) == (b"", 0)
    again = fault_of(engine, both.client.start() if stage == "client hello" else b"x")
    assert (again.what, again.to_send) == (seen.what, b"")
    with pytest.raises(ValueError):
        engine.send(b"x")
    assert engine.close() == b""


@given(octets=st.binary(min_size=1, max_size=300), split=splits(), version=st.sampled_from(VERSIONS))
def test_octets_that_nobody_enciphered_never_become_text(octets: bytes, split: Split, version: ssl.TLSVersion) -> None:
    """Neither in a handshake nor behind it; and whole or in pieces, the end is the same."""
    for established in (False, True):
        ends: list[Seen] = []
        for cut in (whole, split):
            both = pair(version)
            if established:
                both.shake_hands()
            ends.append(feed(both.server, [*cut(octets)]))
        assert ends[0] == ends[1]
        assert ends[0].plain == b""
        assert not ends[0].established
        assert not ends[0].finished


@given(at=st.integers(0, 400), bit=st.integers(0, 7), split=splits(), version=st.sampled_from(VERSIONS))
def test_a_changed_bit_in_a_record_is_found(at: int, bit: int, split: Split, version: ssl.TLSVersion) -> None:
    """What stood in front of it is text still, however it was split; the peer gets an alert."""
    both = pair(version)
    both.shake_hands()
    good, bad = both.client.send(b"good"), bytearray(both.client.send(b"x" * 379))
    at = at % len(bad)
    if at in (3, 4):
        return  # the length: it only waits for more
    bad[at] ^= 1 << bit
    engine = both.server
    seen = feed(engine, [*split(good + bytes(bad))])
    assert seen.plain == b"good"
    assert seen.what


def test_a_fault_tells_what_came_before_it_and_what_to_send() -> None:
    """One record that is good and one that is not, in one segment with the end of the handshake."""
    both = pair()
    last = both.client.receive(both.server.receive(both.client.start()).to_send)
    fault = fault_of(both.server, last.to_send + both.client.send(b"good") + b"\x17\x03\x03\x00\x20" + b"x" * 32)
    assert fault.before == Received(b"good", b"", established=True)
    alert = fault_of(both.client, fault.to_send)
    assert "alert bad record mac" in alert.what


def test_a_record_that_is_not_whole_is_no_text() -> None:
    """Whether the input ended there, the caller knows."""
    both = pair()
    both.shake_hands()
    record = both.client.send(b"DATA\r\n")
    assert both.server.receive(record[:-1]) == Received()
    assert both.server.receive(record[-1:]).plain == b"DATA\r\n"


@pytest.mark.parametrize("split", [whole, each_octet])
def test_a_handshake_has_an_end(split: Split) -> None:
    """A ClientHello of 128 KiB would be read otherwise, and empty records without end."""
    hello = b"\x01\x01\xff\xff" + b"\x03\x03" + b"r" * 32
    record = b"\x16\x03\x01\x40\x00"
    flood = (record + hello + b"\x00" * (16384 - len(hello))) + (record + b"\x00" * 16384) * 4
    empty = b"\x16\x03\x01\x00\x00" * 20000
    for octets in (flood, empty):
        seen = feed(TlsEngine(SERVER, server=True), [*split(octets)])
        assert seen.what
        assert seen.taken <= HANDSHAKE_OCTETS + 1 or split is whole


@pytest.mark.parametrize(("extra", "passes"), [(0, True), (1, False)])
def test_the_bound_is_exact(extra: int, passes: bool) -> None:
    """The octets are a ClientHello that is not whole yet."""
    waiting = b"\x16\x03\x01\x40\x00\x01\x01\xff\xfa" + b"\x00" * (16384 - 4)
    waiting += (b"\x16\x03\x01\x40\x00" + b"\x00" * 16384) * 4
    octets = waiting[: HANDSHAKE_OCTETS + extra]
    seen = feed(TlsEngine(SERVER, server=True), [octets])
    assert (seen.what == "") is passes


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_versions_that_are_broken_are_refused(version: ssl.TLSVersion) -> None:
    """RFC 8996; the client gets an alert that says so."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    client = TlsEngine(context, server=False, name="mx.test")
    fault = fault_of(TlsEngine(SERVER, server=True), client.start())
    assert fault.what == "unsupported protocol"
    assert "alert protocol version" in fault_of(client, fault.to_send).what
