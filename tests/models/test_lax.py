"""Servers of no name: each laxity does what it says, and any of them read a stream, not segments."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors import load

from . import SERVERS
from .lax import EighthBit, End, Lax, Laxity, LineEnd, Nul, Tail, worst
from .live import RAN
from .playing import filled, in_transaction, play, verbs
from .server import Accepted

LAXITIES = st.builds(
    Laxity,
    line_end=st.sampled_from(LineEnd),
    skipped=st.sampled_from([b"", b" ", b" \t\r\n\0"]),
    separators=st.sampled_from([b" ", b" \t\r", b"\0 "]),
    nul=st.sampled_from(Nul),
    eighth_bit=st.sampled_from(EighthBit),
    line_bound=st.none() | st.integers(30, 40),
    tail=st.sampled_from(Tail),
    nul_hides_length=st.booleans(),
    sasl_hides_length=st.booleans(),
    wide_bound=st.just(60),
    body_bound=st.none() | st.integers(5, 12),
    ends=st.frozensets(st.sampled_from(End)),
    aborts=st.frozensets(st.sampled_from(End)),
    executes_partial=st.booleans(),
    takes_partial=st.booleans(),
    knows_bdat=st.booleans(),
    echoes=st.booleans(),
)
TRANSACTION = b"EHLO x\r\nMAIL FROM:<a@b>%b\r\nRCPT TO:<a@b>\r\n"
FRAGMENTS = st.sampled_from(
    [
        *(TRANSACTION % b"", TRANSACTION % b" BODY=7BIT", b"RSET\r\n", b"DATA\r\n", b"BDAT 3\r\n", b"BDAT 4 LAST\r\n"),
        *(b".", b"\r", b"\n", b"\r\n", b"\0", b"\x8d", b"\x8a", b"\xae", b"x", b"A", b".\r\n", b".\0"),
        *(b"VRFY root\r\n", b"NOOP".ljust(28), b"AUTH PLAIN\r\n", b"AGEAYg==\r\n", b"AUTH LOGIN".ljust(44)),
    ]
)


@settings(max_examples=300)
@given(LAXITIES, st.lists(FRAGMENTS, min_size=1, max_size=25).map(b"".join))
def test_segments_do_not_matter_to_any_laxity(laxity: Laxity, octets: bytes) -> None:
    whole, single = Lax(laxity), Lax(laxity)
    replies = whole.feed(octets)
    assert replies == [reply for i in range(len(octets)) for reply in single.feed(octets[i : i + 1])]
    whole.finish()
    single.finish()
    assert (whole.executed, whole.messages) == (single.executed, single.messages)


LAXER = [
    (Laxity(line_end=LineEnd.CR_OR_LF), b"NOOP\rVRFY a\r\n"),
    (Laxity(skipped=b"\0"), b"\0VRFY a\r\n"),
    (Laxity(separators=b"\x0b"), b"VRFY\x0ba\r\n"),
    (Laxity(nul=Nul.NOTHING), b"VR\0FY a\r\n"),
    (Laxity(eighth_bit=EighthBit.DROPPED), b"\xd6RFY a\r\n"),
    (Laxity(eighth_bit=EighthBit.DROPPED_ONCE_DECLARED), TRANSACTION % b" body=7bit" + b"\xd6RFY a\r\n"),
    (Laxity(line_bound=30), filled(30)),
    (Laxity(line_bound=30, nul_hides_length=True, wide_bound=60), b"NOOP \0".ljust(60) + b"VRFY a\r\n"),
    (Laxity(line_bound=30, sasl_hides_length=True, wide_bound=60), b"AUTH X".ljust(60) + b"VRFY a\r\n"),
    (Laxity(knows_bdat=False), b"BDAT 8 LAST\r\nVRFY a\r\n"),
    *(
        (Laxity(ends={form}), TRANSACTION % b"" + b"DATA\r\nx" + octets + b"VRFY a\r\n")
        for form, octets in zip(
            End,
            [b"\n.\r\n", b"\r\n.\n", b"\n.\n", b"\r.\r\n", b"\r\n.\r", b"\r.\r", b"\r\n.\r\r\n", b"\r\n.\0x\r\n"],
            strict=True,
        )
    ),
    (Laxity(aborts={End.LF_BEHIND}), TRANSACTION % b"" + b"DATA\r\nx\r\n.\nVRFY a\r\n"),
    (Laxity(body_bound=5), TRANSACTION % b"" + b"DATA\r\nxxxxx.\r\nVRFY a\r\n"),
]


@pytest.mark.parametrize(("laxity", "octets"), LAXER, ids=lambda value: repr(value)[-60:])
def test_a_laxity_runs_what_the_standard_does_not(laxity: Laxity, octets: bytes) -> None:
    lax, strict = Lax(laxity), Lax()
    lax.feed(octets)
    strict.feed(octets)
    assert (b"VRFY" in verbs(lax), b"VRFY" in verbs(strict)) == (True, False)


def test_an_echo_can_hold_what_looks_like_a_reply() -> None:
    (reply,) = Lax(Laxity(echoes=True)).feed(b"X\r354 go\r\n")
    assert reply.endswith(b" X\r354 go\r\n")


def test_a_server_may_take_half_a_message() -> None:
    server = in_transaction(Lax(Laxity(takes_partial=True)))
    server.feed(b"DATA\r\nhalf")
    server.finish()
    assert server.messages == [Accepted(b"half")]


def test_the_worst_server_runs_all_but_what_nobody_runs() -> None:
    """Whatever a live server ran, it runs; but it splits long lines sooner, and knows no chunks."""
    assert type(worst()) in SERVERS
    missed = set()
    for stream in load():
        server = worst()
        play(stream, server)
        if stream.id in RAN and not {b"VRFY", b"EXPN", b"ETRN"} & set(verbs(server)):
            missed.add(stream.id)
    assert missed == {"long-noop-16385", "bdat-short"}
