"""The EHLO reply as the client may see it (RFC 5321 4.1.1.1).

Contract: `visible` drops the lines of keywords that the guard would refuse anyway, and changes
nothing else; if the last line goes, the one before it becomes the last.  `offering` adds one that the
guard itself has.  `keywords` lists what the backend offers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_KEYWORD: Final = re.compile(rb"250[ -]([A-Za-z0-9][A-Za-z0-9-]*)")

VERB_OF_KEYWORD: Final = {b"CHUNKING": b"BDAT", b"BINARYMIME": b"BDAT"}
"""Keywords whose verb has another name (RFC 3030); all others are named as their verb."""


def keywords(reply: bytes) -> frozenset[bytes]:
    """Return the keywords of an EHLO reply in upper case; its first line holds a domain, not one."""
    lines = reply.split(b"\r\n")[1:]
    return frozenset(m.group(1).upper() for m in map(_KEYWORD.match, lines) if m)


def visible(reply: bytes, offered: Callable[[bytes], bool]) -> bytes:
    """Return `reply` without the keywords that `offered` says no to; it is asked for their verb."""
    lines = reply.split(b"\r\n")[:-1]
    kept = lines[:1]
    for line in lines[1:]:
        match = _KEYWORD.match(line)
        keyword = match.group(1).upper() if match else b""
        if offered(VERB_OF_KEYWORD.get(keyword, keyword)):
            kept.append(line)
    if len(kept) == len(lines):
        return reply
    kept = [line[:3] + b"-" + line[4:] for line in kept[:-1]] + [kept[-1][:3] + b" " + kept[-1][4:]]
    return b"\r\n".join(kept) + b"\r\n"


def offering(reply: bytes, keyword: bytes) -> bytes:
    """Return `reply` with one keyword more, as its last line."""
    start = reply.rfind(b"\n", 0, -1) + 1
    last = reply[start:]
    return b"".join((reply[:start], last[:3], b"-", last[3:].removeprefix(b" "), b"250 ", keyword, b"\r\n"))
