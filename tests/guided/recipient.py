"""Target: the recipients that outsiders may send to (smtpguard.policy.relaying.RelayDomains).

What must hold: an argument that is accepted names the same mailbox in one of the domains to every
reader below, each of whom believes in something that some server did: routes, `%`, `!`, quotes,
comments, lists, the first or the last at sign.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from smtpguard.policy.relaying import RelayDomains
from tests.policy.test_relaying import HOSTILE

from . import sources

MAX_LEN: Final = 300
DOMAINS: Final = RelayDomains(["example.org", ".example.net", "[192.0.2.25]"])
WORDS: Final = (
    b"TO:", b"TO:<", b"<", b">", b"@", b"george", b"example.org", b"x.example.net", b"elsewhere.example", b"%", b"!",
    b"\"", b"\\", b":", b",", b";", b"(", b")", b" ", b"\t", b"\r", b"\n", b"\0", b"[192.0.2.25]", b"[192.0.2.26]",
    b".", b"postmaster", b" NOTIFY=SUCCESS,FAILURE", b" ORCPT=rfc822;a@b", b"\xef\xbc\xa0", b"\xef\xbc\x85",
    b"\xc3\xa9",
)  # fmt: skip

READERS: Final[tuple[Callable[[bytes], bytes], ...]] = (
    lambda path: path.rpartition(b"@")[2],
    lambda path: path.partition(b"@")[2],
    lambda path: path.rpartition(b":")[2].rpartition(b"@")[2],
    lambda path: path.replace(b"%", b"@").partition(b"@")[2],
    lambda path: path.partition(b"!")[0] if b"!" in path else path.rpartition(b"@")[2],
    lambda path: path.replace(b'"', b"").replace(b"\\", b"").partition(b"@")[2],
    lambda path: re.sub(rb"\([^)]*\)", b"", path).rpartition(b"@")[2],
    lambda path: path.split(b",")[0].rpartition(b"@")[2],
    lambda path: path.split(b",")[-1].rpartition(b"@")[2],
    lambda path: path.split(b";")[0].split(b" ")[0].split(b"\0")[0].rpartition(b"@")[2],
)


def one(data: bytes) -> None:
    if not DOMAINS.accepts(data):
        return
    for cut in (data.partition(b"<")[2].partition(b">")[0], data.rpartition(b"<")[2].rpartition(b">")[0]):
        path = cut.lower()
        if path == b"postmaster":
            continue
        found = {read(path) for read in READERS}
        assert len(found) == 1, f"read in two ways: {found}"
        (domain,) = found
        assert domain in (b"example.org", b"[192.0.2.25]") or domain.endswith(b".example.net"), domain
        assert path.count(b"@") == 1
    assert not set(data) & {*range(0x20), 0x7F}
    assert DOMAINS.accepts(data.swapcase()) or not data.isascii() or b"[IPv6:" in data


def seeds() -> Iterator[bytes]:
    yield from (octets for octets in HOSTILE if octets is not None)
    for path in (b"george@example.org", b"a.b+c@mx.example.net", b"george@[192.0.2.25]", b"PostMaster"):
        yield b"TO:<" + path + b">"
        yield b"to:  <" + path + b"> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;" + path + b" "
    for stream in sources.streams():
        yield from re.findall(rb"(?i)RCPT ([^\r\n]*)", stream)
