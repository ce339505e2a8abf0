"""sendmail's clients that may relay: those in the text of its access map, or in a file of class R.

Contract: as sendmail's own rules read it.  A client is looked up by its address and then by ever fewer of its leading
numbers (`192.168`, `IPv6:2001:db8`), under `Connect:` before no tag; RELAY puts it into the network, any other value
keeps it out.  Class R holds the same forms.  Names are not carried over: one warning tells how many.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ...policy.networks import Block, parse_block
from .first_match import Entry
from .reading import Reading, Word

_VALUE: Final = re.compile(
    r"(?:relay|ok|reject|discard|skip|accept|(?:spam)?(?:friend|hater))(?: .*)?"
    r"|(?:error|quarantine):.*|[245][0-9]{2} .*",
    re.IGNORECASE | re.DOTALL,
)
"""What only a map has behind a key."""
_TAG: Final = re.compile(r"(?!ipv6:)([a-z_]+):(.*)", re.IGNORECASE)
_OF_CLIENTS: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*\.?|[0-9.]+/[0-9]+|(?:ipv6:)[0-9a-f:./]*", re.IGNORECASE)
_IPV4: Final = re.compile(r"(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){0,3}")
_IPV6: Final = re.compile(r"ipv6:((?:0|[1-9a-f][0-9a-f]{0,3})(?::(?:0|[1-9a-f][0-9a-f]{0,3})){0,7})", re.IGNORECASE)
_RELAY: Final = "relay"


def entries(reading: Reading, path: str, _name: str) -> list[Entry]:
    """Return what the file lists; raises OSError."""
    lines = reading.lines(path)
    pairs = [_pair(line) for line in lines if line.text.strip() and not line.text.startswith("#")]
    # A map whose values are all of a kind that is not known must not be taken for a list of clients to relay for.
    if any(_VALUE.fullmatch(value) or value.startswith('"') or _TAG.fullmatch(key.text) for key, value in pairs):
        return _of_map(reading, pairs)
    return _of_class(reading, lines)


def _pair(line: Word) -> tuple[Word, str]:
    """Return a key and what a map has for it."""
    key, _, value = line.text.replace("\t", " ").partition(" ")
    return line.part(0, key), value.strip()


def _of_class(reading: Reading, lines: list[Word]) -> list[Entry]:
    blocks, names = [], list[Word]()
    for line in lines:
        for match in re.finditer(r"\S+", line.text.partition("#")[0]):
            word = line.part(match.start(), match[0])
            if not _OF_CLIENTS.fullmatch(word.text):
                names.append(word)
            elif block := _prefix(reading, word, word.text.removesuffix(".")):
                blocks.append(block)
    _tell_names(reading, names)
    return [Entry(True, blocks)]


def _of_map(reading: Reading, pairs: list[tuple[Word, str]]) -> list[Entry]:
    found: dict[str, dict[str, tuple[Word, str]]] = {"connect": {}, "": {}}
    names = []
    for key, value in pairs:
        match = _TAG.fullmatch(key.text)
        tag, client = (match[1].lower(), match[2].lower()) if match is not None else ("", key.text.lower())
        if tag not in found:
            continue
        if not key.text:
            reading.fault(key, "a key stands where its line begins")
        elif not _OF_CLIENTS.fullmatch(client):
            if value.lower() == _RELAY:
                names.append(key)
        elif (earlier := found[tag].setdefault(client, (key, value.lower()))[0]) is not key:
            reading.fault(key, f"{key.text} is already on line {earlier.line}: remove one of them")
    _tell_names(reading, names)
    return list(_longest_first(reading, {**found[""], **found["connect"]}))


def _longest_first(reading: Reading, found: dict[str, tuple[Word, str]]) -> Iterator[Entry]:
    """Yield the entries in the order in which sendmail asks for them."""
    placed = []
    for client, (key, value) in found.items():
        block = _prefix(reading, key, client)
        if block is None and value != _RELAY:
            block = _compressed(client)
        if block is not None:
            placed.append((block.last - block.first, value == _RELAY, block))
    placed.sort(key=lambda one: one[0])
    for _, relayed, block in placed:
        yield Entry(relayed, [block])


def _prefix(reading: Reading, word: Word, text: str) -> Block | None:
    """Return the network of leading numbers, or None with a warning if they are those of no client."""
    if _IPV4.fullmatch(text) and all(int(number) < 256 for number in text.split(".")):
        numbers = text.split(".")
        return reading.block(word, f"{'.'.join([*numbers, '0', '0', '0'][:4])}/{8 * len(numbers)}")
    if match := _IPV6.fullmatch(text):
        groups = match[1].split(":")
        first = int("".join(group.zfill(4) for group in groups).ljust(32, "0"), 16)
        return Block(6, first, first | (1 << 128 - 16 * len(groups)) - 1)
    reading.warn(word, f"{word.text} is no client to sendmail: it compares numbers, as in 192.168 or IPv6:2001:db8")
    return None


def _compressed(text: str) -> Block | None:
    """Return the address of a key with `::`, which sendmail finds under UseCompressedIPv6Addresses, and keeps out."""
    try:
        return parse_block(text.removeprefix("ipv6:")) if "::" in text else None
    except ValueError:
        return None


def _tell_names(reading: Reading, names: list[Word]) -> None:
    if names:
        many = f" and {len(names) - 1} more names are" if len(names) > 1 else " is a name and"
        reading.warn(names[0], f"{names[0].text}{many} not carried over: a network has addresses only")
