"""The fuzzer's own parts: streams by seed, the reading, the minimiser, the regression files."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from smtpguard.smtp.bounds import Bounds
from tests.smtp.table import INSIDE

from . import found
from .arena import Cut, Manner, Timing, play, seat, segments
from .generator import ClientStream, stream
from .judged import Filter, Forwarder
from .minimise import minimise
from .oracle import Promise
from .plain import Plain
from .reading import cut_replies, mend, read
from .runs import WAYS, Case, case_of, run

SEEDS = range(300)


def test_a_stream_is_a_function_of_its_seed() -> None:
    assert [stream(seed) for seed in SEEDS] == [stream(seed) for seed in SEEDS]
    assert len({stream(seed).octets for seed in SEEDS}) > 280


def test_no_stream_has_the_mark_of_the_serial_numbers() -> None:
    """Else a client could write the tag that the oracle reads."""
    assert not any(b"#" in stream(seed).octets for seed in SEEDS)


def test_a_quarter_of_the_streams_is_valid_and_passes_a_strict_server_without_any_guard() -> None:
    valid = [one for one in map(stream, SEEDS) if one.valid]
    assert 50 < len(valid) < 100
    for one in valid:
        record = play(one, Plain(), guard=Forwarder())
        assert tuple(message.raw for message in record.server.messages) == one.messages
        refusals = [reply for reply in record.said if reply[:1] in b"45"]
        assert len(refusals) == one.octets.count(b"<later@") + one.octets.count(b"<refused@")
        assert record.to_backend == one.octets


def test_valid_streams_conform() -> None:
    """Lines of at most 1,000 octets that end in CRLF, 8-bit only where it is announced."""
    for one in map(stream, SEEDS):
        if one.valid:
            lines = one.octets.split(b"\r\n")
            assert max(map(len, lines)) <= 998
            assert not any(octet in line for line in lines for octet in (b"\r", b"\n", b"\0"))
            assert one.octets.isascii() or b"BODY=8BITMIME" in one.octets


@pytest.mark.parametrize("cut", Cut)
def test_a_cut_loses_nothing_and_is_the_same_at_every_call(cut: Cut) -> None:
    for seed in range(60):
        pieces = list(segments(stream(seed), cut))
        assert b"".join(pieces) == stream(seed).octets
        assert all(pieces)
        assert pieces == list(segments(stream(seed), cut))


def test_consecutive_seeds_go_through_all_servers_ways_and_sides() -> None:
    names = ["a", "b", "c"]
    cases = [case_of(seed, names) for seed in range(len(names) * len(WAYS) * 20)]
    assert {case.stream.seed for case in cases} == set(range(len(cases)))
    for kinds, many in (("server", 3), ("source", 2), ("manner", 4)):
        found = {(getattr(case, kinds), case.cut, case.timing) for case in cases}
        no_tls = sum(timing is not Timing.POLITE for _, timing in set(WAYS)) * (kinds == "manner")
        assert len(found) == len(set(WAYS)) * many - no_tls


@pytest.mark.parametrize("manner", Manner)
def test_each_manner_is_another_guard(manner: Manner) -> None:
    """Bare LF passes in one of them only, chunks in another, and STARTTLS is answered with 220 in a third."""
    start = b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"
    for octets, passes in (
        (start + b"BDAT 3 LAST\r\nx\r\n", Manner.CHUNKING),
        (start + b"DATA\nx\n.\n.y\r\n.\r\n", Manner.NORMALIZE),
    ):
        case = Case(ClientStream(0, octets), "plain", cut=Cut.OCTETS, manner=manner)
        outcome = run(case)
        assert not outcome.violations
        assert bool(outcome.record.server.messages) is (manner is passes)
    outcome = run(Case(ClientStream(0, b"STARTTLS\r\nNOOP\r\n"), "plain", cut=Cut.OCTETS, manner=manner))
    assert not outcome.violations
    assert (b"220 2.0.0 " in outcome.record.to_client) is (manner is Manner.TLS)


def test_content_is_mended_so_that_no_dot_comes_to_stand_alone() -> None:
    assert mend(b"x\n.\n..y\r\n.z\n") == b"x\r\n..\r\n...y\r\n.z\r\n"
    assert mend(b".\n.x") == b"..\r\n..x"
    assert mend(b"x\r\n.y\r\n") == b"x\r\n.y\r\n"


def test_the_queue_is_bounded_before_the_banner() -> None:
    """The arena feeds a guard while it is hungry, so a guard that always is would take all."""
    flood = ClientStream(0, b"NOOP\r\n" * 200, waits=tuple(range(6, 1200, 6)))
    record = play(flood, Plain(), timing=Timing.EARLY, guard=seat("203.0.113.9", "default", Bounds(queue=100)))
    assert record.unread <= 100 + record.longest
    assert len(record.server.executed) == 200


def test_replies_are_cut_or_are_none() -> None:
    assert cut_replies(b"250-a\r\n250 b\r\n354 go\r\n250\r\n") == [b"250-a\r\n250 b\r\n", b"354 go\r\n", b"250\r\n"]
    for octets in (b"250 a", b"250-a\r\n", b"250-a\r\n251 b\r\n", b"x\r\n", b"150 a\r\n", b"250 a\n"):
        assert cut_replies(octets) is None


@pytest.mark.parametrize(
    ("octets", "replies", "complaint"),
    [
        (b"NOOP\r\nVRFY x\r\n", b"250 NOOP #1\r\n250 VRFY #2\r\n", None),
        (b"NOOP\r\nVRFY x\r\n", b"250 VRFY #2\r\n250 NOOP #1\r\n", "reply to b'VRFY'"),
        (b"NOOP\r\nNOOP\r\n", b"250 NOOP #2\r\n250 NOOP #1\r\n", "behind"),
        (b"NOOP\r\nNOOP\r\n", b"250 NOOP #1\r\n", "no reply"),
        (b"NOOP\r\n", b"250 NOOP #1\r\n250 x\r\n", "reply to nothing"),
        (b"DATA\r\nVRFY x\r\n.\r\nNOOP\r\n", b"354 DATA #1\r\n250 x\r\n250 NOOP #2\r\n", None),
        (b"DATA\r\nVRFY x\r\n.\r\n", b"503 DATA #1\r\n500 x\r\n500 x\r\n", None),
        (b"AUTH LOGIN\r\nVRFY\r\nEXPN\r\n", b"334 x\r\n334 y\r\n235 z\r\n", None),
        (b"NOOP\r\n", b"354 NOOP #1\r\n", "354"),
        (b"BDAT 6\r\nVRFY\r\nNOOP\r\n", b"502 x\r\n250 NOOP #1\r\n", None),
        (b"BDAT 9 x\r\nNOOP\r\n", b"502 x\r\n250 NOOP #1\r\n", "went on"),
    ],
)
def test_a_stream_is_read_again_by_the_replies_that_came(octets: bytes, replies: bytes, complaint: str | None) -> None:
    seen = read(ClientStream(0, octets), b"220 x\r\n" + replies, closed=False, hurried=False)
    assert bool(seen.complaints) is (complaint is not None)
    assert complaint is None or complaint in seen.complaints[0]


def test_a_closing_reply_may_come_before_the_line_is_complete() -> None:
    for closed in (True, False):
        seen = read(ClientStream(0, b"NOOP\nx"), b"220 x\r\n500 no\r\n", closed=closed, hurried=False)
        assert bool(seen.complaints) is not closed


def failing() -> Case:
    """A stream of many steps in which a filter overlooks one thing."""
    turns = [
        b"EHLO x.test\r\n", b"NOOP\r\n", b"MAIL FROM:<a@b.test>\r\n", b"RCPT TO:<c@d.test>\r\n", b"RSET\r\n",
        b"DATA\r\n", b"EXPN " + b"l" * 60 + b"\r\n", b".\r\n", b"NOOP\r\n", b"QUIT\r\n",
    ]  # fmt: skip
    waits = tuple(sum(map(len, turns[: i + 1])) for i in range(len(turns)))
    return Case(ClientStream(7, b"".join(turns), waits=waits), "plain", cut=Cut.RAGGED)


def overlooked(case: Case) -> bool:
    """True if the filter lets a refused verb through."""
    return any(violation.promise is Promise.NO_REFUSED_VERB for violation in run(case, Filter).violations)


def test_what_fails_is_made_small() -> None:
    small = minimise(failing(), overlooked)
    assert small.stream.octets == b"DATA\r\nEXPN\r\n"
    assert small.cut is Cut.BURST
    assert overlooked(small)


def test_the_minimiser_stops_when_its_time_is_over() -> None:
    ticks = count()
    tried = []

    def fails(case: Case) -> bool:
        tried.append(case)
        return overlooked(case)

    small = minimise(failing(), fails, 10, lambda: float(next(ticks)))
    assert len(tried) < 20
    assert overlooked(small)


def test_a_case_is_read_as_it_was_written(tmp_path: Path) -> None:
    for seed in range(80):
        case = case_of(seed, ["plain"])
        case = Case(case.stream, "plain", INSIDE, Cut.TURNS, Timing.EARLY)
        again = found.load(found.save(case, 'what "was" wrong\\', "name", tmp_path))
        assert again.stream.turns == case.stream.turns
        assert (again.stream.octets, again.stream.messages) == (case.stream.octets, case.stream.messages)
        assert (again.server, again.source, again.cut, again.timing) == ("plain", INSIDE, Cut.TURNS, Timing.EARLY)


def test_a_regression_file_can_be_read_by_people(tmp_path: Path) -> None:
    octets = b"EHLO x\r\n" + b"NOOP " + b"A" * 995 + b"VRFY root\r\n\xe9\0\n"
    case = Case(ClientStream(3, octets, waits=(8,)), "plain")
    assert found.save(case, "why", "name", tmp_path).read_text("ascii").splitlines() == [
        'about: "why"',
        "seed: 3",
        "server: plain",
        "source: outside",
        "cut: turns",
        "timing: polite",
        "manner: strict",
        "turns:",
        r'  - - "EHLO x\r\n"',
        '  - - "NOOP "',
        '    - {repeat: "A", times: 995}',
        r'    - "VRFY root\r\n"',
        r'    - "\xe9\x00\n"',
    ]
