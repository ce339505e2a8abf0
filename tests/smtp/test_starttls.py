"""The boundary between clear text and TLS: nothing crosses it, however the octets are cut."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpguard.smtp.terms import StartTls

from .table import Split, Table, each_octet, whole

OUT_OF_TURN = b"554 5.5.0 SMTP protocol error: input sent before the reply it depends on\r\n"
READY = b"220 2.0.0 Ready to start TLS\r\n"


def greeted(starttls: StartTls) -> Table:
    """Return a table whose backend has greeted."""
    table = Table(starttls=starttls)
    table.backend(b"220 mx\r\n")
    table.take_client()
    return table


def cut_at(places: list[int]) -> Split:
    """Return a split at these places."""

    def split(octets: bytes) -> Iterable[bytes]:
        marks = sorted({0, len(octets), *(place % (len(octets) + 1) for place in places)})
        return [octets[a:b] for a, b in pairwise(marks)]

    return split


@pytest.mark.parametrize("behind", [b"VRFY root\r\n", b"N", b"\r\n", b"\0", b"\x16\x03\x01"])
@pytest.mark.parametrize("verb", [b"STARTTLS", b"starttls"])
def test_input_in_the_same_segment_as_starttls_is_refused_in_clear(verb: bytes, behind: bytes) -> None:
    """CVE-2011-0411: it would count as said inside TLS.  There is no handshake, and nothing is forwarded."""
    table = greeted(StartTls.OFFERED)
    table.client(verb + b"\r\n" + behind)
    assert (table.take_client(), table.take_backend(), table.tls_begun) == (OUT_OF_TURN, b"", 0)
    assert table.closed is not None


@pytest.mark.parametrize("behind", [b"VRFY root\r\n", b"N"])
def test_input_in_the_same_segment_as_a_starttls_that_would_be_passed_on_is_refused(behind: bytes) -> None:
    """The backend never hears of it."""
    table = greeted(StartTls.PASSED)
    table.client(b"STARTTLS\r\n" + behind)
    assert (table.take_client(), table.take_backend()) == (OUT_OF_TURN, b"")
    assert table.closed is not None


def test_octets_of_the_backend_in_the_same_segment_as_its_220_end_the_session() -> None:
    """They would come to the client inside the tunnel."""
    table = greeted(StartTls.PASSED)
    table.client(b"STARTTLS\r\n")
    table.backend(b"220 go\r\n250 injected\r\n")
    assert table.take_client().startswith(b"421 4.3.0 ")
    assert table.closed is not None


@given(st.lists(st.integers(0, 200), max_size=8), st.binary(min_size=1, max_size=40))
def test_however_it_is_cut_nothing_behind_starttls_is_read(places: list[int], behind: bytes) -> None:
    """Either it is refused, or the handshake has begun and the octets that came beside it end the session."""
    table = greeted(StartTls.OFFERED)
    for segment in cut_at(places)(b"STARTTLS\r\n" + behind):
        if table.closed is None:
            table.client(segment)
    assert table.take_backend() == b""
    assert table.take_client() in (OUT_OF_TURN, READY)
    assert table.closed is not None


@pytest.mark.parametrize("split", [whole, each_octet])
def test_a_session_that_began_encrypted_offers_no_starttls(split: Split) -> None:
    """Port 465: facts known from the first octet."""
    table = Table(starttls=StartTls.HIDDEN, in_tls=frozenset({"mx.partner.example"}))
    for segment in split(b"220 mx\r\n"):
        table.backend(segment)
    for segment in split(b"EHLO x\r\n"):
        table.client(segment)
    for segment in split(b"250-mx\r\n250-STARTTLS\r\n250 SIZE\r\n"):
        table.backend(segment)
    assert table.take_client().endswith(b"250-mx\r\n250 SIZE\r\n")
    table.client(b"STARTTLS\r\n")
    assert table.take_client() == b"502 5.5.1 Command not implemented\r\n"


@pytest.mark.parametrize("starttls", [StartTls.OFFERED, StartTls.PASSED])
def test_a_session_that_is_cut_off_where_the_guard_has_no_voice_ends_at_once(starttls: StartTls) -> None:
    """A 421 would be taken for a part of the encryption; so none is said, and there is none to be waited for."""
    table = greeted(starttls)
    table.client(b"STARTTLS\r\n")
    table.backend(b"220 go\r\n" if starttls is StartTls.PASSED else b"")
    table.take_client()
    table.perform(table.dialogue.stop())
    assert table.take_client() == b""
    assert table.closed is not None
    assert not table.closed.linger


def test_both_bounds_of_a_tunnel_are_the_shells() -> None:
    """What goes through is neither kept nor looked at."""
    table = greeted(StartTls.PASSED)
    table.client(b"STARTTLS\r\n")
    table.backend(b"220 go\r\n")
    table.take_client(), table.take_backend()
    megabyte = b"VRFY root\r\n" * 95_000
    table.client(megabyte)
    assert table.take_backend() == megabyte
    table.backend(megabyte)
    assert table.take_client() == megabyte
    assert table.dialogue.hungry
