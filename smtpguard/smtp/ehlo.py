"""The EHLO reply as the client may see it (RFC 5321 4.1.1.1).

Contract: `visible` drops the lines of keywords that the guard would refuse anyway, and changes
nothing else; if the last line goes, the one before it becomes the last.  `offering` adds one that the
guard itself has.  `keywords` lists what the backend offers.

A line such as `CHUNKING<0xFF>` offers nothing, as it is none of the grammar (ehlo-keyword, then a space or the end);
it is not shown where CHUNKING is not, as a client may read it otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

_KEYWORD: Final = re.compile(rb"250[ -]([A-Za-z0-9][A-Za-z0-9-]*)")
_OFFERED: Final = re.compile(_KEYWORD.pattern + rb"(?= |\Z)")

VERB_OF_KEYWORD: Final = {b"CHUNKING": b"BDAT", b"BINARYMIME": b"BDAT"}
"""Keywords whose verb has another name (RFC 3030); all others are named as their verb."""


REMEMBERED: Final = 64
"""EHLO replies, less their first lines: a backend has one or two, with TLS and without."""
REMEMBERED_OCTETS: Final = 4096
"""Of one that is remembered; so of all, in two tables, 512 KiB."""


def keywords(reply: bytes) -> frozenset[bytes]:
    """Return the keywords of an EHLO reply in upper case; its first line holds a domain, not one."""
    behind = _behind_first_line(reply)
    read = _remembered_offers if len(behind) <= REMEMBERED_OCTETS else _read_offers
    return read(behind)


def _behind_first_line(reply: bytes) -> bytes:
    return reply[reply.find(b"\n") + 1 :]  # the first line may name the client, the others are the same for all


def _words(lines: bytes, form: re.Pattern[bytes]) -> Iterator[bytes]:
    """Yield for each line the word of this form in upper case, empty where it has none."""
    for line in lines.split(b"\r\n")[:-1]:
        match = form.match(line)
        yield b"" if match is None else match.group(1).upper()


def _read_offers(lines: bytes) -> frozenset[bytes]:
    return frozenset(filter(None, _words(lines, _OFFERED)))


def _read_shown(lines: bytes) -> tuple[bytes, ...]:
    return tuple(_words(lines, _KEYWORD))


_remembered_offers: Final = lru_cache(REMEMBERED)(_read_offers)
_remembered_shown: Final = lru_cache(REMEMBERED)(_read_shown)


def visible(reply: bytes, offered: Callable[[bytes], bool]) -> bytes:
    """Return `reply` without the keywords that `offered` says no to; it is asked for their verb."""
    behind = _behind_first_line(reply)
    named = _remembered_shown(behind) if len(behind) <= REMEMBERED_OCTETS else _read_shown(behind)
    shown = [offered(VERB_OF_KEYWORD.get(keyword, keyword)) for keyword in named]
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
