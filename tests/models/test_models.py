"""The models do what their originals did, and serve who keeps to the standard.

How each reads is in test_readings.py, and what servers of no name may do in test_lax.py.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors import load

from . import SERVERS
from .live import DEVIATIONS, RAN
from .playing import BY_NAME, fed, in_transaction, play
from .server import Accepted, Server

STREAMS = load()
REFUSED = frozenset(
    b"ATRN DEBUG ETRN EXPN KILL ONEX PROXY SAML SEND SHELL SHOWQ SOML TURN VERB VRFY WIZ XCLIENT XEXCH50 XFORWARD "
    b"XUSR".split()
)
RUN = re.compile(rb"(?:2\d\d|501)[ -](?:\S+ )?(\S+) #")
MINDS_SEGMENTS = {
    "sendmail-8.17": "input behind EHLO or DATA",
    "postfix-3.9": "input behind EHLO or DATA",
    "exim-4.96": "input behind DATA",
    "opensmtpd-6.8": "input behind anything",
    "opensmtpd-7.8": "input behind anything",
}
"""Models that look whether more has come, and so do not do the same with the same octets."""


@pytest.mark.parametrize(
    "name", ["sendmail-8.12", "sendmail-8.15", "sendmail-8.17", "postfix-3.7", "exim-4.96", "notqmail-1.09"]
)
def test_a_model_runs_what_its_original_ran(name: str) -> None:
    """Streams whose server follows a script were not sent to live ones."""
    wrong = set()
    for stream in STREAMS:
        if stream.backend is not None or any(step.kind.startswith("backend") for step in stream.steps):
            continue
        server = BY_NAME[name]()
        answered = {found[1] for reply in play(stream, server) if (found := RUN.match(reply))}
        if stream.steps[-1].kind == "half_close":
            # What runs at the end of the connection has no reply.
            answered |= {command.verb for command in server.executed[-1:]}
        if bool(answered & REFUSED) != (name in RAN.get(stream.id, ())):
            wrong.add((name, stream.id))
    assert wrong == {deviation for deviation in DEVIATIONS if deviation[0] == name}


@pytest.mark.parametrize("make", [make for make in SERVERS if make.name not in MINDS_SEGMENTS])
def test_segments_do_not_matter(make: type[Server]) -> None:
    for stream in STREAMS:
        whole, octets = make(), make()
        assert play(stream, whole) == play(stream, octets, 1), stream.id
        assert (whole.executed, whole.messages, whole.closed) == (octets.executed, octets.messages, octets.closed)


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize("make", SERVERS)
def test_a_plain_session_is_served(make: type[Server], size: int | None) -> None:
    """Twice in one connection; the message is as sent."""
    server = make()
    content = b"Subject: t\r\n\r\n..\r\n" + b"A" * 998 + b"\r\n.B\r\n\r\n"
    in_transaction(server)
    for serial in range(2):
        if serial:
            assert fed(server, b"MAIL FROM:<a@b.test>\r\n", size)[0].startswith(b"250 2.1.0 MAIL #")
            assert fed(server, b"RCPT TO:<root@mx.test>\r\n", size)[0].startswith(b"250 2.1.5 RCPT #")
        assert fed(server, b"DATA\r\n", size) == [b"354 DATA #%d go\r\n" % (4 + 3 * serial)]
        replies = fed(server, content + b".\r\n", size)
        assert replies == [b"250 2.0.0 MESSAGE #%d accepted\r\n" % (serial + 1)]
    assert server.messages == [Accepted(content)] * 2
    assert server.feed(b"QUIT\r\n")[0].startswith(b"221 ")
    assert server.closed
    assert server.feed(b"NOOP\r\n") == []


@pytest.mark.parametrize("make", SERVERS)
def test_magic_words_are_refused(make: type[Server]) -> None:
    server = make()
    lines = [
        (b"HELO x.test", b"250"),
        (b"MAIL <a@b>", b"501" if make.name[:4] != "exim" else b"500"),
        (b"MAIL FROM:<refused@b>", b"553"),
        (b"MAIL FROM:<>", b"250"),
        (b"RCPT TO:<refused@b>", b"550"),
        (b"RCPT TO:<later@b>", b"451"),
        (b"DATA", b"503"),
        (b"RCPT TO:<nodata@b>", b"250"),
        (b"DATA", b"451"),
        (b"RSET", b"250"),
        (b"MAIL FROM:<a@b> SIZE=1", b"250"),
        (b"RCPT TO:<root@b>", b"250"),
        (b"DATA", b"354"),
        (b"X-Refuse: yes\r\n\r\n.", b"554"),
        (b"NOOP", b"250"),
    ]
    got = [(line, reply[:3]) for line, _ in lines for reply in server.feed(line + b"\r\n")]
    assert got == lines
    assert not server.messages


FRAGMENTS = st.sampled_from(
    [
        *(
            b"EHLO x\r\n",
            b"HELO x\r\n",
            b"RSET\r\n",
            b"DATA\r\n",
            b"DATA\n",
            b"VRFY root\r\n",
            b"VERB\r\n",
            b"SHOWQ\r\n",
        ),
        *(b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<a@b>\r\n", b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n"),
        *(b"BDAT 3\r\n", b"BDAT 4 LAST\r\n", b"BDAT x\r\n", b"XEXCH50 5 2\r\n"),
        *(b"AUTH PLAIN\r\n", b"AUTH LOGIN\r\n", b"AGEAYg==\r\n", b"*\r\n"),
        *(
            b".",
            b"\r",
            b"\n",
            b"\r\n",
            b"\0",
            b" ",
            b"\t",
            b"\r\r\n",
            b".\r\n",
            b"\n.\n",
            b"\r\n.\r\n",
            b"\x8a",
            b"\xae",
        ),
        *(b"x", b"a: b\n", b"X-Refuse: yes\r\n", b"A" * 300, b"A" * 1100, b"A" * 2046, b"A" * 2499, b"A" * 16384),
    ]
)


@settings(max_examples=40)
@given(st.lists(FRAGMENTS, min_size=1, max_size=25).map(b"".join), st.sampled_from([1, 2, 3, 7, 99]))
def test_segments_do_not_matter_in_any_stream(octets: bytes, size: int) -> None:
    for make in SERVERS:
        if make.name not in MINDS_SEGMENTS:
            whole, cut = make(), make()
            assert whole.feed(octets) == fed(cut, octets, size), make.name
            whole.finish()
            cut.finish()
            assert (whole.executed, whole.messages) == (cut.executed, cut.messages), make.name


def test_the_catalogue_has_each_model_once() -> None:
    assert len(BY_NAME) == len(SERVERS) == 19


def test_the_oldest_run_under_the_legacy_profile() -> None:
    legacy = {make.name for make in SERVERS if make.profile == "sendmail-legacy"}
    assert legacy == {"sendmail-4.x", "sendmail-5.6x", "sendmail-8.6", "lax-worst-legacy"}
