"""Engines to test with: contexts that are made once, and what a series of segments brings."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import pytest
from attrs import field, frozen
from hypothesis import strategies as st

from smtpguard.tls.contexts import server_context
from smtpguard.tls.engine import TlsEngine, TlsFault

from .support import Authority, Pair, Split, whole

AUTHORITY = Authority()
MX = AUTHORITY.issue(("mx.test",))
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
SERVER = server_context(MX.chain_pem, MX.key_pem)
ASKING = server_context(MX.chain_pem, MX.key_pem, client_ca=AUTHORITY.ca_pem)


def trusting(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """Return a context of a client that is the ssl module's own, and none of ours."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=AUTHORITY.ca_pem.decode())
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


CLIENTS = {version: trusting(version) for version in VERSIONS}


def pair(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, *, split: Split = whole) -> Pair:
    """Return two engines that have not begun."""
    return Pair(TlsEngine(CLIENTS[version], server=False, name="mx.test"), TlsEngine(SERVER, server=True), split=split)


def meet(client: ssl.SSLContext, server: ssl.SSLContext, name: str | None = "mx.test") -> Pair:
    """Return two ends that have shaken hands; raises TlsFault."""
    both = Pair(TlsEngine(client, server=False, name=name), TlsEngine(server, server=True))
    both.shake_hands()
    return both


def fault_of(engine: TlsEngine, octets: bytes) -> TlsFault:
    with pytest.raises(TlsFault) as caught:
        engine.receive(octets)
    return caught.value


@frozen
class Seen:
    """All that a series of segments brought."""

    plain: bytes
    established: int
    finished: int
    what: str
    """Of the fault that ended it."""
    taken: int = field(eq=False)
    """Octets up to that, with those of its segment."""


def feed(engine: TlsEngine, segments: Sequence[bytes]) -> Seen:
    """Let an engine receive segments until it has a fault."""
    plain, established, finished, taken = b"", 0, 0, 0
    for segment in segments:
        taken += len(segment)
        try:
            got = engine.receive(segment)
        except TlsFault as fault:
            got = fault.before
            return Seen(plain + got.plain, established + got.established, finished + got.finished, fault.what, taken)
        plain += got.plain
        established += got.established
        finished += got.finished
    return Seen(plain, established, finished, "", taken)


@st.composite
def splits(draw: st.DrawFn) -> Split:
    """Draw a way to split octets."""
    lengths = draw(st.lists(st.integers(1, 600), min_size=1, max_size=6))

    def split(octets: bytes) -> list[bytes]:
        segments, at, turn = [], 0, 0
        while at < len(octets):
            segments.append(octets[at : at + lengths[turn % len(lengths)]])
            at, turn = at + lengths[turn % len(lengths)], turn + 1
        return segments

    return split
