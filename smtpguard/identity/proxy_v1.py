"""Version 1 of the PROXY protocol: one line of text.

Contract: `read` gives the header, None if the octets may still become one, or raises HeaderFault;
`write` gives a line that `read` takes.  proxy-protocol.txt 2.1 is the grammar: words in upper case,
single blanks, addresses in the family that the second word says, decimal numbers without leading
zeros, CRLF.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ..policy.networks import Peer
from .origin import GREATEST_PORT, Origin
from .proxy_header import Header, HeaderFault

LINE_OCTETS: Final = 107
"""Section 2.1: the longest line, CRLF included."""

_PROTOCOLS: Final = (b"TCP4", b"TCP6", b"UNKNOWN")
_ADDRESS: Final = {b"TCP4": re.compile(rb"[0-9.]+"), b"TCP6": re.compile(rb"[0-9A-Fa-f]*:[0-9A-Fa-f:.]+")}
_PORT: Final = re.compile(rb"0|[1-9][0-9]{0,4}")
_PRINTABLE: Final = re.compile(rb"[\x20-\x7e]*")
_SHORTEST: Final = {b"TCP4": [b"0.0.0.0", b"0.0.0.0", b"0", b"0"], b"TCP6": [b"::", b"::", b"0", b"0"]}
"""The shortest words that may stand behind the protocol."""
_REMAINDERS: Final = (b"", b"0", b":", b"::", b".0", b"0.0", b".0.0", b"0.0.0", b".0.0.0", b"0.0.0.0")
"""One of these makes a word of whatever can become one; the shortest first."""


def read(octets: bytes) -> Header | None:
    """Read a line; `octets` are the first LINE_OCTETS, or what has come of them."""
    line, cr, behind = octets.partition(b"\r")
    if b"\n" in line or not b"\n".startswith(behind[:1]):
        raise HeaderFault("bare CR or LF", octets)
    if not _PRINTABLE.fullmatch(line):
        raise HeaderFault("unprintable octet", octets)
    words = line.split(b" ")
    if not cr:
        # If the shortest line that can come of it is none, then none can.
        words = _completed(words)
    if words[0] != b"PROXY":
        raise HeaderFault("another beginning", octets)
    protocol = words[1] if len(words) > 1 else b""
    if protocol not in _PROTOCOLS:
        raise HeaderFault("unknown protocol", octets)
    origin = None if protocol == b"UNKNOWN" else _origin(protocol, words[2:], octets)
    if len(b" ".join(words)) + 2 > LINE_OCTETS:
        raise HeaderFault(f"line of more than {LINE_OCTETS} octets", octets)
    return Header(1, False, origin) if behind else None


def _completed(words: list[bytes]) -> list[bytes]:
    """Return the shortest line that begins with `words`, the last of which may go on; or one that is none."""
    *before, last = words
    if not before:
        return [_begun(last, (b"PROXY",)), b"UNKNOWN"]
    if len(before) == 1:
        before, last = [*before, _begun(last, _PROTOCOLS)], b""
    protocol, place = before[1], len(before) - 2
    if protocol not in _SHORTEST or place >= 4:
        return words if len(words) > 2 else before
    found = (last + more for more in _REMAINDERS if _value(protocol, place, last + more) is not None)
    return [*before, next(found, last), *_SHORTEST[protocol][place + 1 :]]


def _begun(word: bytes, known: Sequence[bytes]) -> bytes:
    return next((one for one in known if one.startswith(word)), word)


def _value(protocol: bytes, place: int, word: bytes) -> Peer | int | None:
    """Read the address or port at a place behind the protocol; None if it is none."""
    if place >= 2:
        port = int(word) if _PORT.fullmatch(word) else GREATEST_PORT + 1
        return port if port <= GREATEST_PORT else None
    if not _ADDRESS[protocol].fullmatch(word):
        return None
    try:
        return Peer.parse(word.decode("ascii"))
    except ValueError:
        return None


def _origin(protocol: bytes, words: Sequence[bytes], octets: bytes) -> Origin:
    if len(words) != 4:
        raise HeaderFault("line of too many words" if len(words) > 4 else "line that is cut off", octets)
    source, to, port, to_port = (_value(protocol, place, word) for place, word in enumerate(words))
    if not isinstance(source, Peer) or not isinstance(to, Peer):
        raise HeaderFault("no address of the family that is said", octets)
    if not isinstance(port, int) or not isinstance(to_port, int):
        raise HeaderFault("no port", octets)
    return Origin(source, port, to, to_port)


def write(origin: Origin | None) -> bytes:
    """Return the line for `origin`; UNKNOWN without one, and for a client that has no address."""
    if origin is None or not origin.peer.family:
        return b"PROXY UNKNOWN\r\n"
    peer, to, to_port = origin.peer, origin.to, origin.to_port
    if to is None or to.family != peer.family:
        to, to_port = Peer.parse("0.0.0.0" if peer.family == 4 else "::"), 0
    return f"PROXY TCP{peer.family} {peer.text} {to.text} {origin.port} {to_port}\r\n".encode("ascii")
