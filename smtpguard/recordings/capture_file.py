"""Capture files: pcap and pcapng, read frame by frame.

Contract: a generator over a file that is read once, forwards, in pieces that are bounded whatever its headers say.
`captured` raises `Unreadable` where the file is no capture; behind its headers nothing is raised: a file that
breaks off, or whose lengths make no sense, ends there, and that is told.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

from attrs import frozen

from .recorded import Unreadable

FRAME_OCTETS: Final = 262_144
"""Of one frame; tcpdump's own greatest snap length (MAXIMUM_SNAPLEN)."""
BLOCK_OCTETS: Final = 16 * 1024 * 1024
"""Of one block of a pcapng file; longer ones are no blocks of packets, and a file that has one is broken."""
INTERFACES: Final = 1024
"""In one section of a pcapng file."""
_PIECE: Final = 65536

_PCAP: Final = {
    b"\xa1\xb2\xc3\xd4": (">", 1e6),
    b"\xd4\xc3\xb2\xa1": ("<", 1e6),
    b"\xa1\xb2\x3c\x4d": (">", 1e9),
    b"\x4d\x3c\xb2\xa1": ("<", 1e9),
}
"""Byte order, and parts of a second, by how the file begins."""
SECTION: Final = b"\x0a\x0d\x0d\x0a"
_INTERFACE, _OLD_PACKET, _SIMPLE, _ENHANCED = 1, 2, 3, 6
_TIME_RESOLUTION: Final = 9
"""Option if_tsresol of an interface."""
NO_CAPTURE: Final = "no capture: it begins neither as pcap nor as pcapng"


@frozen
class Frame:
    """What was captured at once."""

    time: float
    link: int
    """LINKTYPE_, as tcpdump numbers them."""
    octets: bytes
    """As much as was kept of it."""


def is_capture(beginning: bytes) -> bool:
    """Say whether a file that begins so is a capture."""
    return beginning[:4] in _PCAP or beginning[:4] == SECTION


def captured(file: BinaryIO, tell: Callable[[str], None]) -> Iterator[Frame]:
    """Yield the frames of a file that is at its beginning; `tell` gets what is wrong with it."""
    magic = file.read(4)
    if magic == SECTION:
        yield from _blocks(file, tell)
    elif magic in _PCAP:
        yield from _pcap(file, *_PCAP[magic], tell)
    else:
        raise Unreadable(NO_CAPTURE)


def _pcap(file: BinaryIO, order: str, parts: float, tell: Callable[[str], None]) -> Iterator[Frame]:
    header = file.read(20)
    if len(header) < 20:
        raise Unreadable("a pcap file that ends within its header")
    link = struct.unpack(order + "HHIIII", header)[5] & 0xFFFF  # above are the length of an FCS, and flags
    record = struct.Struct(order + "IIII")
    while head := file.read(16):
        if len(head) < 16:
            tell("the file breaks off within a frame")
            return
        seconds, fraction, kept, _ = record.unpack(head)
        if kept > FRAME_OCTETS:
            tell(f"the file is broken: a frame of {kept} octets; what follows was not read")
            return
        octets = file.read(kept)
        if len(octets) < kept:
            tell("the file breaks off within a frame")
            return
        yield Frame(seconds + fraction / parts, link, octets)


def _blocks(file: BinaryIO, tell: Callable[[str], None]) -> Iterator[Frame]:
    """Yield the frames of a pcapng file, behind the four octets that say so."""
    order = "<"
    interfaces: list[tuple[int, float]] = []
    first = True
    kind = SECTION
    while True:
        head = file.read(4)
        if kind == SECTION:
            magic = file.read(4)
            order = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}.get(magic, "")
            if not order:
                if first:
                    raise Unreadable("a pcapng file without a byte order in its header")
                tell("the file is broken: a section without a byte order; what follows was not read")
                return
            interfaces = []
        length = int.from_bytes(head, "little" if order == "<" else "big") if len(head) == 4 else 0
        read = 12 if kind == SECTION else 8
        if length % 4 or not read + 4 <= length <= BLOCK_OCTETS:
            if first:
                raise Unreadable("a pcapng file that ends within its header")
            broken = f"the file is broken: a block of {length} octets; what follows was not read"
            tell(broken if len(head) == 4 else "the file breaks off within a block")
            return
        number = 0 if kind == SECTION else int.from_bytes(kind, "little" if order == "<" else "big")
        frame = None
        if number in (_INTERFACE, _OLD_PACKET, _SIMPLE, _ENHANCED):
            body = file.read(length - read)
            whole = len(body) == length - read
            if whole and number == _INTERFACE and len(interfaces) < INTERFACES and len(body) >= 12:
                interfaces.append(_interface(body[:-4], order))
            elif whole:
                frame = _packet(body[:-4], number, order, interfaces)
        else:
            whole = _passed_over(file, length - read)
        if not whole:
            tell("the file breaks off within a block")
            return
        first = False
        if frame is not None:
            yield frame
        kind = file.read(4)
        if len(kind) < 4:
            if kind:
                tell("the file breaks off within a block")
            return


def _interface(body: bytes, order: str) -> tuple[int, float]:
    """Return the link type of an interface, and the parts of a second in which its time is told."""
    link = struct.unpack_from(order + "H", body)[0]
    parts, at = 1e6, 8
    while at + 4 <= len(body):
        option, length = struct.unpack_from(order + "HH", body, at)
        if option == _TIME_RESOLUTION and length == 1 and at + 5 <= len(body):
            said = body[at + 4]
            parts = float(2 ** (said & 0x7F)) if said & 0x80 else 10.0 ** (said & 0x7F)
        if not option:
            break
        at += 4 + length + -length % 4
    return link, parts


def _packet(body: bytes, kind: int, order: str, interfaces: list[tuple[int, float]]) -> Frame | None:
    if kind == _SIMPLE:
        at, interface, time = 4, 0, 0
        kept = len(body) - 4
        if len(body) >= 4:
            kept = min(kept, struct.unpack_from(order + "I", body)[0])
    elif len(body) < 20:
        return None
    elif kind == _ENHANCED:
        at = 20
        interface, high, low, kept, _ = struct.unpack_from(order + "IIIII", body)
        time = high << 32 | low
    else:
        at = 20
        interface, _, high, low, kept, _ = struct.unpack_from(order + "HHIIII", body)
        time = high << 32 | low
    if interface >= len(interfaces) or not 0 <= kept <= min(len(body) - at, FRAME_OCTETS):
        return None
    link, parts = interfaces[interface]
    return Frame(time / parts, link, body[at : at + kept])


def _passed_over(file: BinaryIO, octets: int) -> bool:
    while octets:
        piece = len(file.read(min(octets, _PIECE)))
        if not piece:
            return False
        octets -= piece
    return True
