"""PROXY headers to play: what is one and what it says, and what is none and from which octet on."""

from __future__ import annotations

from smtpguard.identity.crc32c import crc32c
from smtpguard.identity.origin import Origin
from smtpguard.identity.proxy_protocol import Header
from smtpguard.policy.networks import Peer

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
V4 = bytes((198, 51, 100, 9, 192, 0, 2, 25)) + (4711).to_bytes(2, "big") + (25).to_bytes(2, "big")
V6 = bytes.fromhex("20010db800000000000000000000000920010db8000000000000000000000025") + b"\x12\x67\0\x19"
MAPPED = bytes.fromhex("00000000000000000000ffffc633640900000000000000000000ffffc0000219") + b"\x12\x67\0\x19"
LONGEST_V6 = ":".join(["ffff"] * 8)
CUT = "TLV cut off"
CONTAINER = "TLV longer than what holds it"
LENGTH = "TLV of a length that its type cannot have"


def origin(peer: str, port: int, to: str, to_port: int) -> Origin:
    return Origin(Peer.parse(peer), port, Peer.parse(to), to_port)


OF_V4 = origin("198.51.100.9", 4711, "192.0.2.25", 25)
OF_V6 = origin("2001:db8::9", 4711, "2001:db8::25", 25)


def v2(family: int, block: bytes, command: int = 0x21, length: int | None = None) -> bytes:
    """Return a header of version 2."""
    return SIGNATURE + bytes((command, family)) + (len(block) if length is None else length).to_bytes(2, "big") + block


def tlv(kind: int, value: bytes) -> bytes:
    return bytes((kind,)) + len(value).to_bytes(2, "big") + value


def summed(block: bytes, behind: bytes = b"") -> bytes:
    """Return a header for V4 with `block`, its checksum, and what is behind that."""
    header = v2(0x11, V4 + block + tlv(3, bytes(4)) + behind)
    at = 16 + len(V4) + len(block) + 3
    return header[:at] + crc32c(header).to_bytes(4, "big") + header[at + 4 :]


TLS = b"\x01\0\0\0\0" + tlv(0x21, b"TLSv1.3") + tlv(0x22, b"mx.client.example")

HEADERS: dict[bytes, Header] = {
    b"PROXY TCP4 198.51.100.9 192.0.2.25 4711 25\r\n": Header(1, False, OF_V4),
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": Header(
        1, False, origin("255.255.255.255", 65535, "255.255.255.255", 65535)
    ),
    b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n": Header(1, False, origin("0.0.0.0", 0, "0.0.0.0", 0)),
    b"PROXY TCP6 2001:db8::9 2001:DB8:0:0:0:0:0:25 4711 25\r\n": Header(1, False, OF_V6),
    f"PROXY TCP6 {LONGEST_V6} {LONGEST_V6} 65535 65535\r\n".encode(): Header(
        1, False, origin(LONGEST_V6, 65535, LONGEST_V6, 65535)
    ),
    b"PROXY TCP6 ::ffff:198.51.100.9 ::ffff:c000:219 4711 25\r\n": Header(1, False, OF_V4),
    b"PROXY TCP6 1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8 0 25\r\n": Header(
        1, False, origin("1:2:3:4:5:6:7:0", 0, "0:2:3:4:5:6:7:8", 25)
    ),
    b"PROXY UNKNOWN\r\n": Header(1, False, None),
    f"PROXY UNKNOWN {LONGEST_V6} {LONGEST_V6} 65535 65535\r\n".encode(): Header(1, False, None),
    b"PROXY UNKNOWN  whatever, ~\r\n": Header(1, False, None),
    v2(0x11, V4): Header(2, False, OF_V4),
    v2(0x21, V6): Header(2, False, OF_V6),
    v2(0x21, MAPPED): Header(2, False, OF_V4),
    v2(0x31, b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0")): Header(2, False, None),
    v2(0, b""): Header(2, False, None),
    v2(0, tlv(2, b"mx.example")): Header(2, False, None),
    v2(0, b"", 0x20): Header(2, True, None),
    v2(0x11, V4, 0x20): Header(2, True, None),
    v2(0xEE, b"\xff" * 7, 0x20): Header(2, True, None),
    v2(0x11, V4 + tlv(4, b"") + tlv(0xE0, b"\0") + tlv(4, b"xyz") + tlv(1, b"")): Header(2, False, OF_V4),
    v2(0x11, V4 + tlv(0x20, b"\0" * 5)): Header(2, False, OF_V4),
    v2(0x11, V4 + tlv(0x20, TLS) + tlv(5, b"id")): Header(2, False, OF_V4),
    v2(0x11, V4 + tlv(0xE1, b"x" * (2048 - 12 - 3))): Header(2, False, OF_V4),
}
for front, behind in ((b"", b""), (tlv(0xE0, b"a"), tlv(0x20, TLS)), (tlv(4, b"padding"), tlv(1, b"h2"))):
    HEADERS[summed(front, behind)] = Header(2, False, OF_V4)

# What is none, the octet at which that is known, and how it is called.
FAULTS: list[tuple[bytes, int, str]] = [
    (b"EHLO me.test\r\n", 1, "another beginning"),
    (b"PRIXY TCP4", 3, "another beginning"),
    (b"proxy TCP4", 1, "another beginning"),
    (b"\0", 1, "unprintable octet"),
    (b" PROXY UNKNOWN\r\n", 1, "another beginning"),
    (b"PROXY\r\n", 6, "unknown protocol"),
    (b"PROXY TCP5 ", 10, "unknown protocol"),
    (b"PROXY tcp4 ", 7, "unknown protocol"),
    (b"PROXY  TCP4", 7, "unknown protocol"),
    (b"PROXY TCP ", 10, "unknown protocol"),
    (b"PROXY UNKNOWNX\r\n", 14, "unknown protocol"),
    (b"PROXY UNKNOWN\n", 14, "bare CR or LF"),
    (b"PROXY UNKNOWN\r\r\n", 15, "bare CR or LF"),
    (b"PROXY UNKNOWN a\0\r\n", 16, "unprintable octet"),
    (b"PROXY UNKNOWN \xc3\xa9\r\n", 15, "unprintable octet"),
    (b"PROXY UNKNOWN ".ljust(105, b"x") + b"x\r\n", 106, "line of more than 107 octets"),
    (b"PROXY TCP4\r\n", 11, "line that is cut off"),
    (b"PROXY TCP4 198.51.100.9\r\n", 24, "line that is cut off"),
    (b"PROXY TCP4 198.51.100.9 192.0.2.25 4711\r\n", 40, "line that is cut off"),
    (b"PROXY TCP4 198.51.100.9 192.0.2.25 4711 25 \r\n", 43, "line of too many words"),
    (b"PROXY TCP4 198.51.100.9\t192.0.2.25 4711 25\r\n", 24, "unprintable octet"),
    (b"PROXY TCP4  198.51.100.9 192.0.2.25 4711 25\r\n", 12, "no address of the family that is said"),
    (b"PROXY TCP4 not-an-ip 192.0.2.25 4711 25\r\n", 12, "no address of the family that is said"),
    (b"PROXY TCP4 \xff\xfe 192.0.2.25 4711 25\r\n", 12, "unprintable octet"),
    (b"PROXY TCP4 ::1 ::1 4711 25\r\n", 12, "no address of the family that is said"),
    (b"PROXY TCP4 ::ffff:198.51.100.9 192.0.2.25 4711 25\r\n", 12, "no address of the family that is said"),
    (b"PROXY TCP4 256.1.1.1 192.0.2.25 4711 25\r\n", 14, "no address of the family that is said"),
    (b"PROXY TCP4 198.051.100.9 192.0.2.25 4711 25\r\n", 17, "no address of the family that is said"),
    (b"PROXY TCP4 198.51..9 192.0.2.25 4711 25\r\n", 19, "no address of the family that is said"),
    (b"PROXY TCP4 198.51.9 192.0.2.25 4711 25\r\n", 20, "no address of the family that is said"),
    (b"PROXY TCP4 198.51.100.9.1 192.0.2.25 4711 25\r\n", 24, "no address of the family that is said"),
    (b"PROXY TCP4 3325256713 192.0.2.25 4711 25\r\n", 14, "no address of the family that is said"),
    (b"PROXY TCP4 198.51.100.9 2001:db8::25 4711 25\r\n", 28, "no address of the family that is said"),
    (b"PROXY TCP6 198.51.100.9 192.0.2.25 4711 25\r\n", 15, "no address of the family that is said"),
    (b"PROXY TCP6 2001:db8::9%lo 2001:db8::25 4711 25\r\n", 23, "no address of the family that is said"),
    (b"PROXY TCP6 1::2::3 ::1 4711 25\r\n", 17, "no address of the family that is said"),
    (b"PROXY TCP6 1:2:3:4:5:6:7:8: ::1 4711 25\r\n", 27, "no address of the family that is said"),
    (b"PROXY TCP6 1:2:3:4:5:6:7::8 ::1 4711 25\r\n", 27, "no address of the family that is said"),
    (b"PROXY TCP6 12345::1 ::1 4711 25\r\n", 16, "no address of the family that is said"),
    (b"PROXY TCP6 [::1] ::1 4711 25\r\n", 12, "no address of the family that is said"),
    (b"PROXY TCP4 198.51.100.9 192.0.2.25 port 25\r\n", 36, "no port"),
    (b"PROXY TCP4 198.51.100.9 192.0.2.25 65536 25\r\n", 40, "no port"),
    (b"PROXY TCP4 198.51.100.9 192.0.2.25 047 25\r\n", 37, "no port"),
    (b"PROXY TCP4 198.51.100.9 192.0.2.25 +47 25\r\n", 36, "no port"),
    (b"PROXY TCP4 198.51.100.9 192.0.2.25 4711 -1\r\n", 41, "no port"),
    (b"PROXY TCP4 198.51.100.9 192.0.2.25 4711 2_5\r\n", 42, "no port"),
    (b"PROXY TCP4 198.51.100.9 192.0.2.25  25\r\n", 36, "no port"),
    (
        b"PROXY TCP6 " + b" ".join([b"0000:0000:0000:0000:0000:ffff:198.51.100.129"] * 2) + b" 4711 25\r\n",
        # Such an address is of 44 octets; behind the second there must be five more.
        101,
        "line of more than 107 octets",
    ),
    (SIGNATURE[:4] + b"\r", 5, "another beginning"),
    (SIGNATURE[:11] + b"\r\n", 12, "another beginning"),
    (v2(0x11, V4, 0x11), 13, "neither LOCAL nor PROXY of version 2"),
    (v2(0x11, V4, 0x22), 13, "neither LOCAL nor PROXY of version 2"),
    (v2(0x11, V4, 0x01), 13, "neither LOCAL nor PROXY of version 2"),
    (v2(0x12, V4), 14, "datagrams, of which SMTP has none"),
    (v2(0x22, V6), 14, "datagrams, of which SMTP has none"),
    (v2(0x32, bytes(216)), 14, "datagrams, of which SMTP has none"),
    (v2(0x10, V4), 14, "unknown family or transport"),
    (v2(0x01, b""), 14, "unknown family or transport"),
    (v2(0x13, V4), 14, "unknown family or transport"),
    (v2(0x41, V4), 14, "unknown family or transport"),
    (v2(0x11, V4[:4]), 16, "length that does not hold the addresses"),
    (v2(0x11, b""), 16, "length that does not hold the addresses"),
    (v2(0x21, V4), 16, "length that does not hold the addresses"),
    (v2(0x31, bytes(215)), 16, "length that does not hold the addresses"),
    (v2(0x11, V4, length=65535), 15, "length of more than 2048 octets"),
    (v2(0x11, V4, length=2049), 16, "length of more than 2048 octets"),
    (v2(0x11, V4, 0x20, length=65535), 15, "length of more than 2048 octets"),
    (v2(0x11, V4 + b"\x01"), 16, CUT),
    (v2(0, b"\x01\0"), 16, CUT),
    (v2(0x11, V4 + b"\x01\x01\0"), 30, CONTAINER),
    (v2(0x11, V4 + b"\x01\0\x02x"), 31, CONTAINER),
    (v2(0x11, V4 + tlv(1, b"h2") + b"\0"), 31, CUT),
    (v2(0x11, V4 + tlv(3, b"")), 29, CONTAINER),
    (v2(0x11, V4 + tlv(3, bytes(3))), 29, CONTAINER),
    (v2(0x11, V4 + tlv(3, bytes(5))), 29, CUT),
    (v2(0x11, V4 + tlv(3, bytes(3)) + tlv(1, b"h2")), 31, LENGTH),
    (v2(0x11, V4 + tlv(3, bytes(256))), 30, LENGTH),
    (v2(0x11, V4 + tlv(3, bytes(4)) + tlv(3, bytes(4))), 36, "second checksum"),
    (v2(0x11, V4 + tlv(3, bytes(4))), 35, "checksum that does not hold"),
    (summed(b"")[:-1] + b"\1", 35, "checksum that does not hold"),
    (v2(0x11, V4 + tlv(0x20, bytes(4))), 29, CONTAINER),
    (v2(0x11, V4 + tlv(0x20, bytes(4)) + tlv(1, b"h2")), 31, LENGTH),
    (v2(0x11, V4 + tlv(0x20, bytes(7))), 29, CUT),
    (v2(0x11, V4 + tlv(0x20, bytes(5) + b"\x21\0\x08TLSv1.3")), 39, CONTAINER),
    (v2(0x11, V4 + tlv(0x20, bytes(5) + tlv(0x21, b"x") + b"\0") + tlv(4, b"")), 39, CUT),
]
