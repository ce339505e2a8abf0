"""What the text of an access map says of clients by their address.

Contract: `read_clients` returns for each outcome the blocks that have it: sendmail looks for the longest key, and for
one of a length with `Connect:` before it looks without.  So what a longer key says is cut out of the shorter one's.
Keys that are names, and outcomes that no policy has, are told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from attrs import frozen
from netaddr import IPAddress, IPRange, IPSet

from ..config.plain_files import octets_of
from ..policy.networks import Block
from ..smtp.replies import Reply
from .cf_file import FILE_OCTETS
from .patterns import networks_of
from .prefixes import block_of, is_sure
from .shapes import reply_of
from .told import Remarks

KEYS: Final = 20_000
"""For addresses, at most: what is longer than this is a list of blocked senders, which is the mail server's to keep."""
RELAY: Final = "RELAY"
PASSED: Final = ""
"""The outcome of those who are neither refused nor relayed."""
DENIED: Final = "550 5.7.1 Access denied"
_TAGS: Final = ("connect", "")
_OF_CLIENTS: Final = {
    "clientrate": "see `limits` with `count: connections`",
    "clientconn": "see `limits` with `count: parallel`",
    "greetpause": "see `early_input`",
    "srv_features": "what is offered to whom: keep it in sendmail behind a transparent guard",
    "tls_clt": "who must use TLS: a rule for MAIL with `from` and `tls: false`",
    "spam": "who is refused at RCPT: sendmail goes on doing it",
}
"""Tags of other keys for clients, with what there is in place of them; To: and From: are about mail."""
_ERROR: Final = re.compile(r'(?:ERROR:)?"?(?:[245]\.\d{1,3}\.\d{1,3}:)?([45]\d\d) (.*?)"?', re.IGNORECASE)
_STATUS: Final = re.compile(r'ERROR:"?([245]\.\d{1,3}\.\d{1,3}):', re.IGNORECASE)


@frozen
class Entry:
    """A key for addresses."""

    block: Block
    tagged: bool
    outcome: str
    """RELAY, PASSED or a reply."""
    line: int
    by_name: bool = False
    """A key in brackets: it is looked for before all addresses, and only for clients that DNS has no name for."""


def read_clients(path: str | Path, remarks: Remarks, denied: str = DENIED, *, compressed: bool = False) -> list[Entry]:
    """Read the keys that decide about clients, REJECT being `denied`; raises OSError.

    `compressed` says that UseCompressedIPv6Addresses is on.
    """
    octets = octets_of(path, FILE_OCTETS)
    if len(octets) > FILE_OCTETS:
        remarks.tell(str(path), 0, f"not read behind {FILE_OCTETS} octets", "let sendmail keep what is refused there")
    found: list[Entry] = []
    told: set[str] = set()
    names: list[int] = []
    for number, line in enumerate(octets.decode("latin-1").split("\n"), 1):
        line = line.rstrip("\r")
        if not line.strip() or line.startswith("#"):
            continue
        key, *value = re.split(r"[ \t]+", line, maxsplit=1)
        tag, colon, rest = key.partition(":")
        if not colon or tag.lower().removeprefix("[") == "ipv6":
            tag, rest = "", key
        if tag.lower() not in _TAGS or not value:
            if (what := _OF_CLIENTS.get(tag.lower())) and tag.lower() not in told:
                told.add(tag.lower())
                remarks.tell(str(path), number, f"{tag}: keys of this kind are not carried over", what)
            continue
        try:
            block = block_of(rest, compressed=compressed)
        except ValueError as error:
            remarks.tell(str(path), number, str(error), "left out")
            continue
        if block is None:
            if tag:
                remarks.tell(
                    str(path), number, f"{key}: a client's name, which DNS can be made to say", "use its address"
                )
            elif "@" not in rest and value[0].strip().upper() not in ("RELAY", "OK"):
                names.append(number)
            continue
        outcome = _outcome(value[0].strip(), denied, remarks, str(path), number)
        if outcome in (RELAY, PASSED) and not is_sure(rest, compressed=compressed):
            remarks.tell(
                str(path), number, f"{key} fits only some of these clients", f"left out; is {block_text(block)} meant?"
            )
            continue
        found.append(Entry(block, bool(tag), outcome, number, rest.startswith("[")))
        if len(found) >= KEYS:
            remarks.tell(str(path), number, f"not read from here on, after {KEYS} addresses", "let sendmail keep them")
            break
    if names:
        remarks.tell(
            str(path),
            names[0],
            f"keys that are names refuse clients of such names, too ({len(names)} from here on)",
            "sendmail goes on doing it behind a transparent guard",
        )
    return found


def block_text(block: Block) -> str:
    """Return a block as a CIDR."""
    return " ".join(map(str, networks_of([block])))


def _outcome(value: str, denied: str, remarks: Remarks, file: str, line: int) -> str:
    word = value.upper()
    if word == "RELAY":
        return RELAY
    if word == "OK":  # SKIP is a word for mail, and for a client a text to refuse it with
        return PASSED
    if word == "REJECT":
        return denied
    if match := _ERROR.fullmatch(value):
        status = _STATUS.match(value)
        enhanced = re.match(r"[245]\.\d{1,3}\.\d{1,3} ", match[2])
        text = match[2] if enhanced else f"{status[1] if status else match[1][0] + '.0.0'} {match[2]}"
        try:
            return str(Reply.parse(f"{match[1]} {text}"))
        except ValueError as error:
            remarks.tell(file, line, f"{value!r}: {error}", "sendmail's REJECT is taken in its place")
            return denied
    if word.startswith(("DISCARD", "QUARANTINE")):
        remarks.tell(file, line, f"{value!r} has no equal in a policy", "sendmail goes on doing it")
        return PASSED
    try:  # anything else is a text, to which sendmail puts its own code
        return reply_of(re.sub(r"(?i)^ERROR:", "", value).replace('"', ""), "")
    except ValueError as error:
        remarks.tell(file, line, f"{value!r}: {error}", "sendmail's REJECT is taken in its place")
        return denied


def by_outcome(entries: list[Entry]) -> dict[str, list[Block]]:
    """Return the addresses of each outcome, longer keys cut out of shorter ones, but not out of those by name."""
    best: dict[Block, Entry] = {}
    found: dict[str, list[Block]] = {}
    for entry in entries:
        if entry.by_name:
            found.setdefault(entry.outcome, []).append(entry.block)
            continue
        other = best.get(entry.block)
        if other is None or (entry.tagged and not other.tagged):
            best[entry.block] = entry
    holes: dict[Block, list[Block]] = {}
    for block, entry in best.items():
        for around in _around(block):
            if around in best and best[around].outcome != entry.outcome:
                holes.setdefault(around, []).append(block)
    for block, entry in best.items():
        cut = holes.get(block)
        found.setdefault(entry.outcome, []).extend(_without(block, cut) if cut else [block])
    return found


def _around(block: Block) -> Iterator[Block]:
    """Yield the blocks of all shorter keys that fit what this one's fits."""
    bits, step = (32, 8) if block.family == 4 else (128, 16)
    for free in range(step, bits + step, step):  # up to the key `IPv6`
        hosts = (1 << free) - 1
        if hosts > block.last - block.first:
            yield Block(block.family, block.first & ~hosts, block.first | hosts)


def _without(block: Block, holes: list[Block]) -> Iterator[Block]:
    """Yield what is left of a block."""
    left = IPSet([_range(block)])
    for hole in holes:
        left.remove(_range(hole))
    for cidr in left.iter_cidrs():
        yield Block(block.family, int(cidr.first), int(cidr.last))


def _range(block: Block) -> IPRange:
    family: Literal[4, 6] = 4 if block.family == 4 else 6
    return IPRange(IPAddress(block.first, family), IPAddress(block.last, family))
