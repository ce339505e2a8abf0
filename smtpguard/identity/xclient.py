"""XCLIENT: telling a server behind us who its client is (Postfix, XCLIENT_README).

Contract: `command` gives lines that a server may be sent one after the other, each behind the reply to
the one before, right behind its EHLO reply; each must get a 220, and anything else means that the
server does not know its client.  A value that the server would refuse, or that we do not know, is
`[UNAVAILABLE]`.  No octet of a value can end a line or begin another attribute.

What a real Postfix (3.7) does, and hence is done here:

- Behind a line with ADDR the server takes us for the client that was told, so a further line is refused
  with 550; and a line without HELO, PROTO or LOGIN takes back what an earlier one said.  So all
  these stand in the last line, and only NAME, PORT, DESTADDR and DESTPORT can stand in an earlier one.
- `PROTO=[UNAVAILABLE]` is refused with 501; `PROTO=ESMTP` is what Received says even if the client then
  comes with HELO; without PROTO, and with no HELO or `HELO=[UNAVAILABLE]`, Received and the log have
  what the client's own EHLO or HELO says.  So HELO and PROTO are left out as long as they are unknown.
- A NAME that is no host name is refused with 501, and so is a value of more than 255 octets.
"""

from __future__ import annotations

import re
from typing import Final

from ..policy.networks import Peer
from .origin import Origin

LINE_OCTETS: Final = 512
"""RFC 5321 4.5.3.1.4: the longest command line, CRLF included."""
VALUE_OCTETS: Final = 200
"""The longest LOGIN or HELO that is told, encoded: Postfix takes 255, but one line must hold both."""
HOST_NAME_OCTETS: Final = 255
"""The longest NAME that Postfix takes."""
UNAVAILABLE: Final = b"[UNAVAILABLE]"

_OFFER: Final = re.compile(rb"250[ -]XCLIENT((?: [A-Z0-9_-]+)+) *", re.IGNORECASE)
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")
_PROTOCOLS: Final = ("SMTP", "ESMTP")
_MAY_BE_FIRST: Final = (b"NAME", b"PORT", b"DESTADDR", b"DESTPORT")
_TOGETHER: Final = (b"ADDR", b"LOGIN", b"HELO", b"PROTO")


def xtext(value: str) -> bytes:
    """Encode a value (RFC 3461 4): `+`, `=`, and all that is not printable ASCII as +XX."""
    return b"".join(
        b"%c" % octet if 0x21 <= octet <= 0x7E and octet not in b"+=" else b"+%02X" % octet
        for octet in value.encode("utf-8", "surrogatepass")
    )


def attributes_offered(ehlo_reply: bytes) -> frozenset[bytes]:
    """Return the attributes that an EHLO reply offers, in upper case; none if it does not offer XCLIENT."""
    matches = map(_OFFER.fullmatch, ehlo_reply.split(b"\r\n")[1:])
    return frozenset(word for match in matches if match is not None for word in match.group(1).upper().split())


def command(
    offered: frozenset[bytes],
    origin: Origin | None,
    name: str | None,
    helo: str | None = None,
    proto: str | None = None,
    login: str | None = None,
) -> list[bytes]:
    """Return the lines that tell of a client what the server wants to hear; mostly one.

    There are none if ADDR is not offered: such a server cannot be told who its client is, and what
    it may be told would be said of the guard.  LOGIN is always told where it can be, so that none is
    left over.
    """
    if b"ADDR" not in offered:
        return []
    peer, to = (origin.peer, origin.to) if origin is not None else (None, None)
    values = {
        b"NAME": xtext(name) if name is not None and _is_host_name(name) else UNAVAILABLE,
        b"PORT": _port(origin.port) if origin is not None else UNAVAILABLE,
        b"DESTADDR": _address(to),
        b"DESTPORT": _port(origin.to_port) if origin is not None and to is not None else UNAVAILABLE,
        b"ADDR": _address(peer),
        b"LOGIN": _text(login) if login else UNAVAILABLE,
    }
    if helo:
        values[b"HELO"] = _text(helo)
    if proto in _PROTOCOLS:
        values[b"PROTO"] = xtext(proto)
    first, last = (
        b"".join(b" %s=%s" % (key, values[key]) for key in keys if key in values and key in offered)
        for keys in (_MAY_BE_FIRST, _TOGETHER)
    )
    whole = _line(first + last)
    return [whole] if len(whole) <= LINE_OCTETS else [_line(first), _line(last)]


def _line(attributes: bytes) -> bytes:
    return b"XCLIENT%s\r\n" % attributes


def _address(peer: Peer | None) -> bytes:
    if peer is None or not peer.family:
        return UNAVAILABLE
    return (f"IPV6:{peer.text}" if peer.family == 6 else peer.text).encode("ascii")


def _port(port: int) -> bytes:
    return b"%d" % port if port else UNAVAILABLE


def _text(value: str) -> bytes:
    octets = xtext(value)
    return octets if len(octets) <= VALUE_OCTETS else UNAVAILABLE


def _is_host_name(name: str) -> bool:
    """True if Postfix would take it for one; a name that is all digits and dots is none."""
    if len(name) > HOST_NAME_OCTETS or not _HOST_NAME.fullmatch(name) or name.replace(".", "").isdigit():
        return False
    return not any(label.startswith("-") or label.endswith("-") for label in name.split("."))
