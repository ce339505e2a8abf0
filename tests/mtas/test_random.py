"""Random client streams, from outside, through the guard, to every real server.

Some are valid: what they send has to arrive.  Most are what an attacker would make of them.  All of
a run are played by a few clients at once; what each client hears, what went over each connection
behind the guard, and what the server says to have read must then fit together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from attrs import evolve

from tests.fuzz.generator import ClientStream, stream
from tests.rig.recorder import Recorder, Recording
from tests.rig.unpacked import UnpackedServer
from tests.sendmail.support import OUTSIDE

from .client import play, replies_due
from .hop import Hop, content, replies, understand
from .support import Chain, Sendmail, Server, chain, check_commands, check_mail, is_arrived

CLIENTS = 6

NOT_TAKEN = {"opensmtpd": b'FROM:<"'}
"""What some server does not take from anybody, although it is valid."""

SHORT = range(60)
LONG = [range(first, first + 200) for first in range(0, 2000, 200)]


@pytest.fixture(scope="module")
def sendmail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A sendmail behind a guard with the perimeter rules."""
    with Sendmail() as server, chain(server, tmp_path_factory.mktemp("perimeter")) as running:
        yield running


@pytest.fixture(scope="module")
def sendmail_obliged(sendmail: Chain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """The same, but that all is allowed that there is to allow."""
    with chain(sendmail.server, tmp_path_factory.mktemp("obliging"), obliging=True) as running:
        yield running


def test_behind_the_guard(behind: Chain) -> None:
    """A few streams, at every run the same."""
    run(behind, SHORT)


def test_behind_an_obliging_guard(obliged: Chain) -> None:
    """With chunks, and bare newlines made good."""
    run(obliged, SHORT)


def test_sendmail_behind_the_guard(sendmail: Chain) -> None:
    """The same to the server that the other tests are about."""
    run(sendmail, SHORT)


def test_sendmail_behind_an_obliging_guard(sendmail_obliged: Chain) -> None:
    """It takes no chunks."""
    run(sendmail_obliged, SHORT)


@pytest.mark.long
@pytest.mark.parametrize("seeds", LONG, ids=[str(seeds.start) for seeds in LONG])
def test_many_behind_the_guard(behind: Chain, seeds: range) -> None:
    """Many streams."""
    run(behind, seeds)


@pytest.mark.long
@pytest.mark.parametrize("seeds", LONG, ids=[str(seeds.start) for seeds in LONG])
def test_many_behind_an_obliging_guard(obliged: Chain, seeds: range) -> None:
    """Many streams."""
    run(obliged, seeds)


@pytest.mark.long
@pytest.mark.parametrize("seeds", LONG, ids=[str(seeds.start) for seeds in LONG])
def test_many_to_sendmail_behind_the_guard(sendmail: Chain, seeds: range) -> None:
    """Many streams."""
    run(sendmail, seeds)


@pytest.mark.long
@pytest.mark.parametrize("seeds", LONG, ids=[str(seeds.start) for seeds in LONG])
def test_many_to_sendmail_behind_an_obliging_guard(sendmail_obliged: Chain, seeds: range) -> None:
    """Many streams."""
    run(sendmail_obliged, seeds)


def test_without_the_guard_it_would(server: UnpackedServer) -> None:
    """These seeds hold what a server must not read, and that it does is seen."""
    since = server.mark()
    with Recorder((server.address, server.port)) as wire, pytest.raises(AssertionError):
        run(Chain(wire.port, wire, server), SHORT)
    assert {"VRFY", "EXPN"} & {line.split(" ")[0] for line in server.commands(since)}


def test_replies_are_counted() -> None:
    """So that a valid stream is played as its client means it."""
    assert replies_due(b"") == 0
    assert replies_due(b"EHLO x\r\nMAIL\r\ndata\r\n") == 3
    assert replies_due(b"DATA\r\nx\r\n..\r\n") == 1
    assert replies_due(b"DATA\r\nx\r\n..\r\n.\r\nQUIT\r\nQU") == 3


def stream_for(server: Server, seed: int) -> ClientStream:
    """Return a stream, valid only if the server thinks so too."""
    one = stream(seed)
    foreign = NOT_TAKEN.get(server.name)
    return evolve(one, valid=False, messages=()) if foreign is not None and foreign in one.octets else one


def run(behind: Chain, seeds: Sequence[int]) -> None:
    """Play streams and hold on both sides of the guard what has to."""
    streams = [stream_for(behind.server, seed) for seed in seeds]
    server, count = behind.server, len(behind.wire.connections)
    since, mails = server.mark(), server.deliveries(0)
    with ThreadPoolExecutor(CLIENTS) as clients:
        heard = list(clients.map(lambda one: play(one, behind.port, OUTSIDE), streams))
    recordings = behind.wire.finished(count + len(streams))[count:]
    assert len(recordings) == len(streams)
    server.wait_sessions(len(streams), since)

    for one, octets in zip(streams, heard, strict=True):
        with told_of(one):
            assert not server.tells.search(octets), octets
            answers = replies(octets)
            assert answers
            if one.valid:
                assert len(answers) == 1 + replies_due(one.octets), octets
    hops = [_hop(recording) for recording in recordings]
    check_commands(behind, since, hops)

    accepted = [message for hop in hops for message in hop.accepted]
    valid = [content(message) for one in streams for message in one.messages]
    assert not Counter(valid) - Counter(accepted)
    check_mail(server, mails, valid)
    check_mail(server, mails, accepted, is_arrived)


@contextmanager
def told_of(one: ClientStream) -> Iterator[None]:
    """Have a failure in this block tell the stream."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"seed {one.seed}, valid: {one.valid}, {one.octets!r}")
        raise


def _hop(recording: Recording) -> Hop:
    try:
        return understand(recording)
    except AssertionError as error:
        error.add_note(f"client={recording.client_bytes!r} server={recording.server_bytes!r}")
        raise
