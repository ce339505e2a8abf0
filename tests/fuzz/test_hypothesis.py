"""The oracle again, with streams that hypothesis draws and shrinks.

The seeded generator knows what to look for; hypothesis puts the same pieces together without a plan,
and what it finds comes small.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.smtp.table import INSIDE, OUTSIDE

from . import mutations, sessions
from .arena import Manner, Timing
from .generator import ClientStream
from .runs import LIARS, WAYS, Case, run, servers

LINES = st.sampled_from(
    [
        *sessions.HELLO, b"MAIL FROM:<a@b.test>", b"RCPT TO:<c@mx.test>", b"RCPT TO:<c@mx.test>",
        b"DATA", b"DATA", b"QUIT", b"BDAT 5 LAST", b"BDAT 7", *[line for lines in sessions.EXCHANGES for line in lines],
        *[b"MAIL FROM:<a@b.test>" + parameter for parameter in sessions.PARAMETERS],
        *[b"RCPT TO:" + recipient for recipient in sessions.MAGIC], *sessions.OTHER_LINES, *sessions.REFUSED_LINES,
    ]
).map(lambda line: line + b"\r\n")  # fmt: skip
ODD = (
    st.sampled_from([*mutations.ENDS, *mutations.BLANKS, *mutations.DOTS, *mutations.STARTS])
    | st.sampled_from([b"BDAT " + size + b"\r\n" for size in mutations.SIZES])
    | st.sampled_from(sorted(set(mutations.BOUNDS))).map(lambda count: b"A" * count)
    | st.binary(max_size=4).filter(lambda octets: b"#" not in octets)
)
MAIL = st.just(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@mx.test>\r\nDATA\r\n")
PIECES = LINES | LINES | ODD | MAIL
TURNS = st.lists(st.lists(PIECES, min_size=1, max_size=4).map(b"".join), min_size=1, max_size=12)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw all that a run depends on."""
    turns = [turn for turn in draw(TURNS) if turn]
    waits = tuple(sum(map(len, turns[: i + 1])) for i in range(len(turns)))
    cut, timing = draw(st.sampled_from(WAYS))
    stream = ClientStream(draw(st.integers(0, 99)), b"".join(turns), waits=waits)
    server = draw(st.sampled_from(sorted(servers())))
    manner = draw(st.sampled_from([Manner.STRICT, Manner.TLS, Manner.NORMALIZE, Manner.CHUNKING]))
    if manner is Manner.CHUNKING and server in LIARS:
        manner = Manner.STRICT
    if manner is Manner.TLS and timing is not Timing.POLITE:
        manner = Manner.STRICT
    return Case(stream, server, draw(st.sampled_from([OUTSIDE, INSIDE])), cut, timing, manner)


@settings(max_examples=400)
@given(case=cases())
def test_no_stream_that_is_drawn_breaks_a_promise(case: Case) -> None:
    """All the oracle's promises at once."""
    assert not run(case).violations


@pytest.mark.long
@settings(max_examples=40_000)
@given(case=cases())
def test_nor_do_many_more(case: Case) -> None:
    """The same for some minutes; `make test-long`."""
    assert not run(case).violations
