"""Target: the backend's replies (smtpguard.smtp.replies.ReplyReader, smtpguard.smtp.ehlo).

The first octet chooses the bounds and what the EHLO filter drops, the second how the rest is cut.
What must hold: replies come out whole, unchanged and only if each of their lines has the strict form;
what is held is never more than the bounds; how the octets are cut changes nothing; the EHLO reply
that a client sees is a reply, with the lines of the backend's less those that were to go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from smtpguard.smtp import ehlo
from smtpguard.smtp.replies import BackendReply, ReplyFault, ReplyReader

from . import oracle, sources
from .cutting import ways

MAX_LEN: Final = 512
BOUNDS: Final = ((16384, 1048576), (40, 100), (8, 24), (100, 40))
KEYWORDS: Final = (b"VRFY", b"EXPN", b"SIZE", b"BDAT")
WORDS: Final = (
    b"250 ", b"250-", b"220 mx\r\n", b"354 go\r\n", b"334 eA==\r\n", b"421 x\r\n", b"250-VRFY\r\n", b"250 EXPN\r\n",
    b"250-CHUNKING\r\n", b"250-SIZE 1\r\n", b"250\r\n", b"2500", b"150 x\r\n", b"\r\n", b"\r", b"\n", b"\0", b"-",
    b" ",
)  # fmt: skip


def one(data: bytes) -> None:
    choice = data[0] if data else 0
    bounds = BOUNDS[choice % len(BOUNDS)]
    octets = data[2:]
    found, faulty, _ = oracle.replies(octets, *bounds)
    for segments in ways(octets, sum(data[1:2])):
        assert _read(segments, *bounds) == (found, faulty), f"{found}, faulty: {faulty}"
    for reply in found:
        _filter(reply, frozenset(word for place, word in enumerate(KEYWORDS) if choice >> (place + 2) & 1))


def _read(segments: Iterable[bytes], line_bound: int, bound: int) -> tuple[list[bytes], bool]:
    reader, found, held = ReplyReader(line_bound, bound), list[bytes](), b""
    for segment in segments:
        reader.append(segment)
        held += segment
        try:
            while (reply := reader.take()) is not None:
                _check(reply)
                assert held.startswith(reply.octets)
                held = held[len(reply.octets) :]
                found.append(reply.octets)
        except ReplyFault as fault:
            assert fault.what
            assert len(fault.octets) <= 80
            assert fault.octets in held
            return found, True
        assert len(held) <= bound
        assert len(held) - held.rfind(b"\n") - 1 <= line_bound
        assert reader.pending is bool(held)
        assert reader.may_be_421 is (held[:3] in (b"", b"4", b"42", b"421"))
        assert held.startswith(reader.sample)
    return found, False


def _check(reply: BackendReply) -> None:
    assert 200 <= reply.code <= 599
    assert reply.octets.startswith(b"%d" % reply.code)
    assert oracle.replies(reply.octets) == ([reply.octets], False, b"")


def _filter(reply: bytes, dropped: frozenset[bytes]) -> None:
    def keeps(verb: bytes) -> bool:
        return verb not in dropped

    seen = ehlo.visible(reply, keeps)
    assert oracle.replies(seen) == ([seen], False, b"")
    assert ehlo.visible(seen, keeps) == seen
    texts = [line[4:] for line in reply.split(b"\r\n")[:-1]]
    kept = [line[4:] for line in seen.split(b"\r\n")[:-1]]
    assert kept[0] == texts[0]
    at = iter(texts)
    assert all(line in at for line in kept), "not the lines of the backend in their order"
    if reply.startswith(b"250"):
        names = ehlo.keywords(seen)
        assert names <= ehlo.keywords(reply)
        assert not names & dropped
        if b"BDAT" in dropped:
            assert not names & {b"CHUNKING", b"BINARYMIME"}


def seeds() -> Iterator[bytes]:
    for number, octets in enumerate(sources.said("B<")):
        yield bytes([number * 5 & 0xFF, number & 0xFF]) + octets
    ehlo_reply = b"250-mx\r\n250-SIZE 1\r\n250-VRFY\r\n250-EXPN\r\n250-CHUNKING\r\n250 BINARYMIME\r\n"
    yield from (bytes([choice, 7]) + ehlo_reply for choice in range(0, 64, 4))
