"""Messages in chunks (RFC 3030) through a guard that forwards them: octets of a chunk are never commands."""

from __future__ import annotations

import contextlib

import pytest

from tests.rig.client import NotSmtp, Talk
from tests.sendmail.support import OUTSIDE

from .hop import Hop, understand
from .support import CHUNKED, Chain, check_commands, check_mail

TRANSACTION = (b"EHLO x.test\r\n", b"MAIL FROM:<a@b.test>\r\n", b"RCPT TO:<root@mx.test>\r\n")
COMMANDS = b"RSET\r\nVRFY root\r\nEXPN list\r\n"
BETWEEN = (
    "MAIL FROM:<c@b.test>",
    "RCPT TO:<x@mx.test>",
    "RCPT TO:<x@elsewhere.test>",
    "DATA",
    "NOOP",
    "RSET",
    "EHLO x.test",
    "HELO x.test",
    "AUTH PLAIN AGEAYg==",
    "VRFY root",
    "HELP",
    "BDAT",
    "BDAT 0",
    "BDAT 0 LAST",
)


def say(chain: Chain, *parts: bytes) -> Hop:
    """Send from outside, waiting for a reply to each part; hold that no octet of a chunk was a command."""
    since, count = chain.server.mark(), len(chain.wire.connections)
    # The guard may close at any of them; and what follows a granted DATA is not answered.
    with Talk("127.0.0.1", chain.port, OUTSIDE, seconds=2) as client, contextlib.suppress(NotSmtp, OSError):
        for part in parts:
            client.send(part)
            client.reply()
        client.half_close()
        assert not chain.server.tells.search(client.rest())
    recording = chain.wire.finished(count + 1)[count]
    chain.server.wait_sessions(1, since)
    hop = understand(recording)
    check_commands(chain, since, [hop])
    return hop


def test_a_message_in_chunks_arrives(obliged: Chain) -> None:
    """Where the server takes chunks at all."""
    mails = obliged.server.deliveries(0)
    hop = say(
        obliged, *TRANSACTION, b"BDAT 14\r\nSubject: t\r\n\r\n", b"BDAT 14 LAST\r\n.\r\nVRFY root\r\n", b"QUIT\r\n"
    )
    if obliged.server.name in CHUNKED:
        assert hop.accepted == [b"Subject: t\r\n\r\n.\r\nVRFY root\r\n"]
    else:
        assert not hop.accepted
    check_mail(obliged.server, mails, hop.accepted)


@pytest.mark.parametrize("line", BETWEEN)
def test_a_command_between_two_chunks(obliged: Chain, line: str) -> None:
    """Whatever the server thinks of it, the next chunk is a chunk or is not sent."""
    chunk = b"BDAT %d LAST\r\n" % len(COMMANDS) + COMMANDS
    say(obliged, *TRANSACTION, b"BDAT 3\r\nx\r\n", line.encode() + b"\r\n", chunk, b"NOOP\r\n")


@pytest.mark.parametrize("line", BETWEEN)
def test_a_command_before_the_first_chunk(obliged: Chain, line: str) -> None:
    """Likewise."""
    chunk = b"BDAT %d LAST\r\n" % len(COMMANDS) + COMMANDS
    say(obliged, *TRANSACTION, line.encode() + b"\r\n", chunk, b"NOOP\r\n", chunk)
