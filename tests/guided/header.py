"""Target: the PROXY header of a balancer (smtpguard.identity.proxy_protocol).

The first octet chooses how the rest is cut.  What must hold: how the octets are cut changes nothing;
a header is waited for no longer than the longest can be; a fault keeps few octets, and those were
sent; an origin is what a reader of another making finds in the same octets, and the header that the
guard would write for it says the same again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Final

from smtpguard.identity.origin import Origin
from smtpguard.identity.proxy_protocol import Header, HeaderFault, HeaderReader, write_v1, write_v2
from smtpguard.policy.networks import Peer
from tests.identity.proxy_headers import FAULTS, HEADERS, SIGNATURE, V4, V6

from .cutting import ways

MAX_LEN: Final = 600
LONGEST: Final = 16 + 2048
WORDS: Final = (
    SIGNATURE, b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"198.51.100.9 ", b"2001:db8::9 ", b"::ffff:1.2.3.4 ", b"25",
    b"65535", b"\r\n", b"\r", b"\n", b"\0", b" ", b"\x21\x11\0\x0c", b"\x20\0\0\0", b"\x21\x21\0\x24",
    b"\x21\x31\0\xd8", b"\x03\0\x04", b"\x04\0\0", b"\x20\0\x05\0\0\0\0\0", V4, V6, b"::", b"0",
)  # fmt: skip


def one(data: bytes) -> None:
    octets = data[1:]
    seen = [_read(segments) for segments in ways(octets, sum(data[:1]))]
    assert seen[1:] == seen[:-1], f"cut otherwise, read otherwise: {seen}"
    header, length, _ = seen[0]
    if header is None:
        return
    assert header.local or header.origin == _origin(octets[:length]), "not what the octets say"
    if header.origin is not None:
        for written in (write_v1(header.origin), write_v2(header.origin)):
            again, end, _ = _read([written])
            assert again is not None
            assert again.origin is not None
            assert (again.origin.peer, again.origin.port, end) == (header.origin.peer, header.origin.port, len(written))
            # A destination of the other family (::ffff:192.0.2.25 is one of IPv4) has no place in such a header.
            one_family = header.origin.to is not None and header.origin.to.family == header.origin.peer.family
            assert again.origin == header.origin or not one_family


def _read(segments: Iterable[bytes]) -> tuple[Header | None, int, str]:
    """Return (header, its length, or what is wrong)."""
    reader, fed = HeaderReader(), b""
    for segment in segments:
        fed += segment
        try:
            header = reader.feed(segment)
        except HeaderFault as fault:
            assert fault.what
            assert fault.octets in fed
            return None, 0, f"{fault.what} {fault.octets!r}"
        if header is not None:
            assert fed.endswith(reader.rest)
            return header, len(fed) - len(reader.rest), ""
        assert len(fed) < LONGEST, "waits for more than the longest header"
    return None, 0, "more"


def _origin(octets: bytes) -> Origin | None:
    """Read a header that is known to be one."""
    if octets.startswith(b"PROXY "):
        words = octets[:-2].decode("ascii", "replace").split(" ")
        if words[1] == "UNKNOWN":
            return None
        source, destination, port, to_port = words[2:]
    else:
        family, length = octets[13], struct.unpack(">H", octets[14:16])[0]
        size = {0x11: 4, 0x21: 16}.get(family, 0)
        if not size:
            return None
        assert length >= 2 * size + 4
        source, destination = (str(ip_address(octets[16 + i * size : 16 + (i + 1) * size])) for i in (0, 1))
        port, to_port = struct.unpack(">HH", octets[16 + 2 * size : 20 + 2 * size])
    return Origin(Peer.parse(source), int(port), Peer.parse(destination), int(to_port))


def seeds() -> Iterator[bytes]:
    for number, octets in enumerate([*HEADERS, *(octets for octets, _, _ in FAULTS)]):
        yield bytes([number & 0xFF]) + octets
        yield bytes([number & 0xFF]) + octets + b"EHLO x\r\n"
