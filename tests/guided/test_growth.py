"""Work grows with the input and not with its square, and what is held is bounded.

Each parser gets N and 4N octets of what is worst for it.  Work is counted twice: in calls of
functions, which is the same at every run, and in processor time, which sees what is inside a call;
time is the best of some tries, and has to grow to more than eightfold in all of them to count.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from time import process_time

import pytest

from smtpguard.config.faults import Faulty
from smtpguard.config.models import validate
from smtpguard.config.policy_file import build
from smtpguard.config.settings import Loaded, Settings
from smtpguard.config.yaml_reader import read
from smtpguard.policy.networks import NetworkTable
from smtpguard.policy.rules import Policy
from smtpguard.smtp.bounds import Bounds
from smtpguard.smtp.content import Content, ContentFault
from smtpguard.smtp.grammar import Malformed
from smtpguard.smtp.replies import ReplyFault, ReplyReader
from smtpguard.smtp.terms import Terms

from . import parts
from .bdat import OnlyNoop

MORE = 4
TIMES = 8
TRIES = 4


def octet_by_octet(octets: bytes) -> Iterator[bytes]:
    return (octets[at : at + 1] for at in range(len(octets)))


def read_lines(segments: Iterable[bytes]) -> None:
    reader = parts.lines(1 << 30)
    for segment in segments:
        reader.append(segment)
        while (line := reader.take_command()) is not None:
            if isinstance(line, Malformed) and line.fault.ends_session:
                return


def read_replies(segments: Iterable[bytes]) -> None:
    reader = ReplyReader(1 << 30, 1 << 30)
    try:
        for segment in segments:
            reader.append(segment)
            while reader.take() is not None:
                pass
    except ReplyFault:
        pass


def read_content(segments: Iterable[bytes]) -> None:
    content = Content(seven_bit=True)
    try:
        for segment in segments:
            content.feed(segment)
    except ContentFault:
        pass


def talk(segments: Iterable[bytes], reply: bytes = b"250 ok\r\n") -> None:
    """A client's octets against a backend that answers all that it was sent."""
    dialogue = parts.dialogue(OnlyNoop(), Terms(Bounds(reply_line=1 << 30, reply=1 << 30), parts.profile()))
    dialogue.from_backend(b"220 mx\r\n")
    for segment in segments:
        dialogue.from_client(segment)
        while dialogue.phase.value == "reply":
            dialogue.from_backend(reply)


def make_policy(text: str) -> None:
    with suppress(Faulty):
        build(read(text, "growth.yaml")).faults_with(["smtp"])


def make_settings(text: str) -> None:
    with suppress(Faulty):
        document = read(text, "growth.yaml")
        settings, _ = validate(Settings, document)
        if settings is not None:
            names = (f"net{number}" for number in range(len(text) // 20))
            Loaded(settings, document.places).faults_with(Policy(NetworkTable(dict.fromkeys(names, ())), {}))


def many(octets: int, form: str) -> str:
    """Return so many octets of `form`, each time with the next number, and the next address, in it."""
    return "".join(
        form.format(number, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        for number in range(octets // len(form))
    )


def make_rules(octets: int, form: str) -> None:
    make_policy(f"rulesets:\n  check_vrfy:\n{many(octets, form)}")


Case = tuple[Callable[[int], object], int]
CASES: dict[str, Case] = {
    # what: (work on so many octets, N)
    "a line octet by octet": (lambda n: read_lines(octet_by_octet(b"A" * n)), 10_000),
    "many lines at once": (lambda n: read_lines([b"NOOP\r\n" * (n // 6)]), 30_000),
    "many empty lines": (lambda n: read_lines([b"\r\n" * (n // 2)]), 20_000),
    "a line of CRs": (lambda n: read_lines([b"\r" * n, b"\n"]), 100_000),
    "a line of blanks": (lambda n: read_lines([b"A" + b" " * n + b"\t", b"\r\n"]), 100_000),
    "a line of hyphens": (lambda n: read_lines([b"-" * n + b"\x0b\r\n"]), 100_000),
    "a reply octet by octet": (lambda n: read_replies(octet_by_octet(b"250-x\r\n" * (n // 7) + b"250 x\r\n")), 20_000),
    "a reply line octet by octet": (lambda n: read_replies(octet_by_octet(b"250-" + b"x" * n)), 20_000),
    "a reply of many lines": (lambda n: read_replies([b"250-\r\n" * (n // 6)]), 60_000),
    "a reply of CRs": (lambda n: read_replies([b"250-" + b"\r" * n, b"\n"]), 100_000),
    "many replies at once": (lambda n: read_replies([b"250\r\n" * (n // 5)]), 50_000),
    "content octet by octet": (lambda n: read_content(octet_by_octet(b"x\r\n..\r\n" * (n // 7))), 10_000),
    "content of CRLF octet by octet": (lambda n: read_content(octet_by_octet(b"\r\n" * (n // 2))), 10_000),
    "content of CRLF.": (lambda n: read_content([b"\r\n." * (n // 3)]), 400_000),
    "content with its fault at the end": (lambda n: read_content([b"\r\n" * (n // 2) + b"\x80"]), 200_000),
    "a chunk octet by octet": (lambda n: talk([b"BDAT 999999999\r\n", *octet_by_octet(b"\n" * n)]), 10_000),
    "many chunks": (lambda n: talk([b"BDAT 1 LAST\r\n\n" * (n // 14)]), 20_000),
    "a burst": (lambda n: talk([b"NOOP\r\n" * (n // 6)]), 20_000),
    "a burst of refused commands": (lambda n: talk([b"VRFY\r\n" * (n // 6)]), 20_000),
    "a burst of no commands": (lambda n: talk([b" \r\n" * (n // 3)]), 10_000),
    "many keywords": (lambda n: talk([b"NOOP\r\n"], b"250-VRFY\r\n" * (n // 10) + b"250 X\r\n"), 100_000),
    "YAML of flow lists": (lambda n: make_policy("[" * 16 + "[]," * (n // 3) + "]" * 16), 20_000),
    "YAML that is deep": (lambda n: make_policy("[" * n), 100_000),
    "YAML that is deep in blocks": (lambda n: make_policy("- " * (n // 2)), 100_000),
    "many anchors": (lambda n: make_policy("- &a b\n" * (n // 7)), 10_000),
    "many aliases": (lambda n: make_policy("- *a\n" * (n // 5)), 10_000),
    "many tags": (lambda n: make_policy("- !a b\n" * (n // 7)), 4_000),
    "a key many times": (lambda n: make_policy("a: b\n" * (n // 5)), 3_000),
    "a long scalar": (lambda n: make_policy("a: '" + "''" * (n // 2) + "'"), 200_000),
    "many comments": (lambda n: make_policy("#\n" * (n // 2)), 200_000),
    "many documents": (lambda n: make_policy("---\n" * (n // 4)), 20_000),
    "many networks in a list": (
        lambda n: make_policy("networks: {a: [" + "".join(f"10.{i >> 8}.{i & 255}.1," for i in range(n // 12)) + "]}"),
        10_000,
    ),
    "many networks that are none": (
        lambda n: make_policy("networks: {a: [" + "10.0.0.0/33," * (n // 12) + "]}"),
        5_000,
    ),
    "many tests": (
        lambda n: make_policy("rulesets: {}\ntests:\n" + "- {from: '::1', command: A, expect: 250}\n" * (n // 42)),
        20_000,
    ),
    "many rules with conditions": (lambda n: make_rules(n, "  - {{tls: true, action: close}}\n"), 10_000),
    "many rules with networks of their own": (lambda n: make_rules(n, "  - {{from: {1}, action: close}}\n"), 10_000),
    "many rules with listeners": (lambda n: make_rules(n, "  - {{listener: l{0}, action: close}}\n"), 10_000),
    "a rule with many networks": (
        lambda n: make_policy("rulesets: {check_vrfy: [{action: close, from: [" + many(n, "{1},") + "]}]}"),
        20_000,
    ),
    "many verbs with rule sets": (
        lambda n: make_policy(
            "verbs: [" + many(n // 4, "X{0},") + "]\nrulesets:\n" + many(n, "  check_x{0}: [{{action: close}}]\n")
        ),
        20_000,
    ),
    "many unknown verbs with rule sets": (
        lambda n: make_policy("rulesets:\n" + many(n, "  check_x{0}: [{{action: close}}]\n")),
        10_000,
    ),
    "many unknown keys": (lambda n: make_policy(many(n, "k{0}: 1\n")), 3_000),
    "many unknown options": (lambda n: make_policy("privacy_options: [" + many(n, "no{0},") + "]"), 3_000),
    "many unknown networks": (
        lambda n: make_policy(
            "networks: {"
            + many(n, "net{0}: [],")
            + "}\nrulesets: {check_vrfy: [{action: close, from: ["
            + many(n, "nte{0},")
            + "]}]}"
        ),
        5_000,
    ),
    "many choices for unknown networks": (
        lambda n: make_policy(
            "networks: {" + many(n, "net{0}: [],") + "}\nbare_newline: {" + many(n, "nte{0}: reject,") + "}"
        ),
        5_000,
    ),
    "many networks in many": (
        lambda n: make_policy("rulesets: {}\nnetworks: {" + many(n, "a{0}: 10.0.0.0/8,") + many(n, "b{0}: {1},") + "}"),
        10_000,
    ),
    "many addresses to bind to": (
        lambda n: make_settings(
            "listen: tcp:25\nbackend: {endpoint: tcp:h:25, bind: {" + many(n, "nte{0}: 10.0.0.1,") + "}}"
        ),
        6_000,
    ),
    "many listeners": (
        lambda n: make_settings("backend: tcp:a:1\nlisten: [" + "".join(f"tcp:{i}," for i in range(n // 9)) + "]"),
        10_000,
    ),
    "many listeners that are none": (lambda n: make_settings("backend: 1\nlisten: [" + "tcp," * (n // 4) + "]"), 4_000),
    "an endpoint of backslashes": (
        lambda n: make_settings("backend: tcp:a:1\nlisten: tcp:" + "\\:" * (n // 2)),
        50_000,
    ),
}


def calls(work: Callable[[int], object], octets: int) -> int:
    """Count the functions called, those of C too."""
    count = 0

    def see(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += 1

    gc.disable()
    sys.setprofile(see)
    try:
        work(octets)
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


def seconds(work: Callable[[int], object], octets: int) -> float:
    # Without the collector, which looks at all that other tests have left, and the longer the work, the more often.
    gc.disable()
    try:
        began = process_time()
        work(octets)
        return process_time() - began
    finally:
        gc.enable()


def grows_too_fast(work: Callable[[int], object], octets: int) -> bool:
    work(64)  # what is made once is not counted
    if calls(work, MORE * octets) > TIMES * calls(work, octets):
        return True
    # Less than a millisecond is no measure of anything.
    few, many = 1e-3, float("inf")
    for _ in range(TRIES):
        few, many = max(few, seconds(work, octets)), min(many, seconds(work, MORE * octets))
        if many <= TIMES * few:
            return False
    return True


@pytest.mark.parametrize("what", CASES)
def test_work_grows_with_the_input(what: str) -> None:
    """Four times the octets, less than eight times the work."""
    work, octets = CASES[what]
    assert not grows_too_fast(work, octets)


def test_what_grows_with_the_square_is_seen() -> None:
    """In calls, and where a single call does more each time."""

    def many_calls(n: int) -> None:
        for _ in range(n):
            for _ in range(n):
                len("")

    def long_calls(n: int) -> None:
        for _ in range(n):
            (b"x" * (n * n // 1000)).find(b"y")  # and by more than the square, to be seen on a busy machine

    assert grows_too_fast(many_calls, 100)
    assert grows_too_fast(long_calls, 6_000)


LINE, REPLY_LINE, REPLY = 2000, 1000, 5000


def feed_lines(segment: bytes) -> None:
    """A client that never ends its line is stopped at the bound; what is complete is not kept."""
    reader = parts.lines(LINE)
    for _ in range(300):
        reader.append(segment)
        while (line := reader.take_command()) is not None:
            if isinstance(line, Malformed) and line.fault.ends_session:
                return


def feed_replies(segment: bytes) -> None:
    reader = ReplyReader(REPLY_LINE, REPLY)
    try:
        for _ in range(300):
            reader.append(segment)
            while reader.take() is not None:
                pass
    except ReplyFault:
        pass


def feed_content(segment: bytes) -> None:
    content = Content(seven_bit=False)
    for _ in range(300):
        content.feed(segment)


def feed_chunk(segment: bytes) -> None:
    dialogue = parts.dialogue(OnlyNoop())
    dialogue.from_backend(b"220 mx\r\n")
    dialogue.from_client(b"BDAT 999999999\r\n")
    for _ in range(300):
        dialogue.from_client(segment)


@pytest.mark.parametrize(
    ("feed", "segment"),
    [
        (feed_lines, b"NOOP\r\n" * 200),
        (feed_lines, b"A" * 999),
        (feed_lines, b"\t" * 999),
        (feed_replies, b"250 ok\r\n" * 200),
        (feed_replies, b"250-ok\r\n" * 100),
        (feed_replies, b"250-" + b"x" * 500),
        (feed_content, b"\r\n" * 500),
        (feed_content, b"x" * 1000),
        (feed_chunk, b"x" * 1000),
    ],
)
def test_what_is_held_is_bounded(feed: Callable[[bytes], None], segment: bytes) -> None:
    """A quarter of a megabyte goes through; some kilobytes at a time are held."""
    feed(segment)
    tracemalloc.start()
    try:
        feed(segment)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text", ["[" * 1_000_000, "- " * 500_000, "a: &a [*a]\n" * 20_000, "? " * 500_000, "{a: " * 250_000]
)
def test_yaml_that_is_refused_takes_no_more_memory_than_its_faults(text: str) -> None:
    """A megabyte of nesting, or of signs that are not allowed."""
    tracemalloc.start()
    try:
        make_policy(text)
        # A line of the third text has three faults, each with a text of its own.
        assert tracemalloc.get_traced_memory()[1] < 120 * len(text)
    finally:
        tracemalloc.stop()
