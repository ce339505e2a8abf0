"""Every client stream of tests/vectors, from outside, through the guard, to real servers."""

from __future__ import annotations

import pytest

from tests.sendmail.test_streams import STREAMS, Player
from tests.vectors import Stream

from .hop import replies, understand
from .support import Chain, check_commands, check_mail

FRAMED = [stream for stream in STREAMS if stream.id.startswith(("bdat-", "eod-", "ok-"))]
"""Those for which it matters where messages end."""


class OctetPlayer(Player):
    """Sends each octet by itself."""

    def _send(self, octets: bytes | None) -> None:
        for octet in octets or ():
            super()._send(bytes([octet]))
        if octets is None:
            super()._send(None)


@pytest.mark.parametrize("stream", STREAMS, ids=[stream.id for stream in STREAMS])
def test_nothing_gets_through(behind: Chain, stream: Stream) -> None:
    """Neither does a server run what an outsider may not have, nor is a name told; mail arrives whole."""
    play(behind, stream, Player)


@pytest.mark.parametrize("stream", FRAMED, ids=[stream.id for stream in FRAMED])
def test_nothing_gets_through_an_obliging_guard(obliged: Chain, stream: Stream) -> None:
    """Chunks and bare newlines are no way in where they are allowed."""
    play(obliged, stream, Player)


@pytest.mark.long
@pytest.mark.parametrize("stream", STREAMS, ids=[stream.id for stream in STREAMS])
def test_nothing_gets_through_octet_by_octet(behind: Chain, stream: Stream) -> None:
    """How the octets come does not matter."""
    play(behind, stream, OctetPlayer)


@pytest.mark.long
@pytest.mark.parametrize("stream", STREAMS, ids=[stream.id for stream in STREAMS])
def test_nothing_gets_through_an_obliging_guard_octet_by_octet(obliged: Chain, stream: Stream) -> None:
    """How the octets come does not matter there either."""
    play(obliged, stream, OctetPlayer)


def play(chain: Chain, stream: Stream, kind: type[Player]) -> None:
    """Play a stream and hold on both sides of the guard what has to."""
    server, count = chain.server, len(chain.wire.connections)
    since, mails = server.mark(), server.deliveries(0)
    player = kind(chain.port)
    player.play(stream)
    recording = chain.wire.finished(count + 1)[count]
    server.wait_sessions(1, since)
    hop = understand(recording)
    assert len(chain.wire.connections) == count + 1
    assert replies(bytes(player.heard)), "no banner"
    assert not server.tells.search(player.heard)
    check_commands(chain, since, [hop])
    demands = {stream.must, *stream.also}
    if "accepted_unchanged" in demands:
        assert recording.client_bytes == b"".join(step.octets for step in stream.steps)
    if "message_not_accepted" in demands:
        assert not hop.accepted
    check_mail(server, mails, hop.accepted)
