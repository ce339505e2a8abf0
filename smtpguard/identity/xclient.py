"""XCLIENT: telling a server behind us who its client is (Postfix, XCLIENT_README).

Contract: `command` gives the line that a server is sent right behind its EHLO reply; it must get a 220, and anything
else means that the server does not know its client.  A value that the server would refuse, or that we do not know, is
`[UNAVAILABLE]`.  No octet of a value can end the line or begin another attribute.

What a real Postfix (3.7) does, and hence is done here:

- Behind a line with ADDR the server takes us for the client that was told, so a further line is refused
  with 550.  So all stands in one.
- `PROTO=[UNAVAILABLE]` is refused with 501; `PROTO=ESMTP` is what Received says even if the client then
  comes with HELO; without PROTO, and with no HELO or `HELO=[UNAVAILABLE]`, Received and the log have
  what the client's own EHLO or HELO says.  So HELO and PROTO are left out.
- A NAME that is no host name is refused with 501, and so is one of more than 255 octets.
"""

from __future__ import annotations

import re
from typing import Final

from ..policy.networks import Peer
from .origin import Origin

HOST_NAME_OCTETS: Final = 255
"""The longest NAME that Postfix takes; with all else at its longest the line stays below 512 (RFC 5321 4.5.3.1.4)."""
UNAVAILABLE: Final = b"[UNAVAILABLE]"

_OFFER: Final = re.compile(rb"250[ -]XCLIENT((?: [A-Z0-9_-]+)+) *", re.IGNORECASE)
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")


def attributes_offered(ehlo_reply: bytes) -> frozenset[bytes]:
    """Return the attributes that an EHLO reply offers, in upper case; none if it does not offer XCLIENT."""
    matches = map(_OFFER.fullmatch, ehlo_reply.split(b"\r\n")[1:])
    return frozenset(word for match in matches if match is not None for word in match.group(1).upper().split())


def command(offered: frozenset[bytes], origin: Origin | None, name: str | None) -> bytes:
    """Return the line that tells of a client what the server wants to hear.

    ADDR must be among what is offered: who does not take that cannot be told who its client is, and what it was told
    would be said of the guard.  LOGIN is told wherever it can be, so that none is left over.
    """
    peer, to = (origin.peer, origin.to) if origin is not None else (None, None)
    values = {
        b"NAME": name.encode("ascii") if name is not None and _is_host_name(name) else UNAVAILABLE,
        b"PORT": _port(origin.port) if origin is not None else UNAVAILABLE,
        b"DESTADDR": _address(to),
        b"DESTPORT": _port(origin.to_port) if origin is not None and to is not None else UNAVAILABLE,
        b"ADDR": _address(peer),
        b"LOGIN": UNAVAILABLE,
    }
    told = b"".join(b" %s=%s" % (key, value) for key, value in values.items() if key in offered)
    return b"XCLIENT%s\r\n" % told


def _address(peer: Peer | None) -> bytes:
    if peer is None or not peer.family:
        return UNAVAILABLE
    return (f"IPV6:{peer.text}" if peer.family == 6 else peer.text).encode("ascii")


def _port(port: int) -> bytes:
    return b"%d" % port if port else UNAVAILABLE


def _is_host_name(name: str) -> bool:
    """True if Postfix would take it for one; a name that is all digits and dots is none."""
    if len(name) > HOST_NAME_OCTETS or not _HOST_NAME.fullmatch(name) or name.replace(".", "").isdigit():
        return False
    return not any(label.startswith("-") or label.endswith("-") for label in name.split("."))
