"""The EHLO reply as the client may see it (RFC 5321 4.1.1.1).

Contract: `visible` drops the lines of keywords that the guard would refuse anyway, and changes
nothing else; if the last line goes, the one before it becomes the last.  `offering` adds one that the
guard itself has.  `keywords` lists what the backend offers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

_KEYWORD: Final = re.compile(rb"250[ -]([A-Za-z0-9][A-Za-z0-9-]*)")

VERB_OF_KEYWORD: Final = {b"CHUNKING": b"BDAT", b"BINARYMIME": b"BDAT"}
"""Keywords whose verb has another name (RFC 3030); all others are named as their verb."""


REMEMBERED: Final = 64
"""EHLO replies, less their first lines: a backend has one or two, with TLS and without."""
REMEMBERED_OCTETS: Final = 4096
"""Of one that is remembered; so of all, 256 KiB."""


def keywords(reply: bytes) -> frozenset[bytes]:
    """Return the keywords of an EHLO reply in upper case; its first line holds a domain, not one."""
    return frozenset(filter(None, _keywords(reply)))


def _keywords(reply: bytes) -> tuple[bytes, ...]:
    """Return the keyword of each line but the first, empty where a line has none."""
    behind = reply[reply.find(b"\n") + 1 :]  # the first line may name the client, the others are the same for all
    return _remembered(behind) if len(behind) <= REMEMBERED_OCTETS else _read(behind)


def _read(lines: bytes) -> tuple[bytes, ...]:
    matches = map(_KEYWORD.match, lines.split(b"\r\n")[:-1])
    return tuple([b"" if match is None else match.group(1).upper() for match in matches])


_remembered: Final = lru_cache(REMEMBERED)(_read)


def visible(reply: bytes, offered: Callable[[bytes], bool]) -> bytes:
    """Return `reply` without the keywords that `offered` says no to; it is asked for their verb."""
    shown = [offered(VERB_OF_KEYWORD.get(keyword, keyword)) for keyword in _keywords(reply)]
    if all(shown):
        return reply
    lines = reply.split(b"\r\n")[:-1]
    kept = lines[:1] + [line for line, is_shown in zip(lines[1:], shown, strict=True) if is_shown]
    kept = [line[:3] + b"-" + line[4:] for line in kept[:-1]] + [kept[-1][:3] + b" " + kept[-1][4:]]
    return b"\r\n".join(kept) + b"\r\n"


def offering(reply: bytes, keyword: bytes) -> bytes:
    """Return `reply` with one keyword more, as its last line."""
    start = reply.rfind(b"\n", 0, -1) + 1
    last = reply[start:]
    return b"".join((reply[:start], last[:3], b"-", last[3:].removeprefix(b" "), b"250 ", keyword, b"\r\n"))
