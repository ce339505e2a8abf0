"""The files in which a sendmail keeps the domains that it takes mail for.

Contract: each reader gives the entries for `relay_domains` that mean the same, and what is wrong, each
fault with its place.  What cannot be carried over, but would let more or less mail through, is told in
a warning; what cannot be read is an error, and never an entry.  A file that cannot be opened raises
OSError, as in `yaml_reader`.

The meanings are those of sendmail 8's own rules: for class R with FEATURE(`relay_entire_domain') or
without, but not with `relay_hosts_only`; for the access map, those of `To:` and of no tag.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from ..policy.relaying import parse_domain
from .faults import Fault
from .plain_files import octets_of

FILE_OCTETS: Final = 8 * 1024 * 1024
"""Largest file read: 100,000 domains have 2 MB."""
LINE_OCTETS: Final = 2046
"""Longest line: sendmail takes the rest of a longer one for a line of its own (MAXLINE)."""
ERRORS: Final = 100
"""Errors before a file is given up: of one that is no such file, nobody wants to see every line."""

_WORD: Final = re.compile(r"[^ \t\v\f\r]+")
_CLASS_CONTROL: Final = re.compile(r"[\0-\x08\x0e-\x1f\x7f]")
_MAP_CONTROL: Final = re.compile(r"[\0-\x08\x0a-\x1f\x7f]")
_OF_CLIENTS: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){0,3}\.?|(?:ipv6:)[0-9a-f:.]*", re.IGNORECASE)
"""An address, or the beginning of some: sendmail looks a client's up by its leading numbers."""
_TAG: Final = re.compile(r"(?!ipv6:)([a-z_]+):(.*)", re.IGNORECASE)
_RELAY: Final = "relay"


def read_relay_domains(path: str | Path) -> tuple[list[str], list[Fault]]:
    """Read a file of class R, as /etc/mail/relay-domains: domains, each with all its subdomains."""
    file = _File(str(path))
    for word in file.words():
        if _OF_CLIENTS.fullmatch(word.text):
            file.warn(word, f"{word.text} is about clients: make it a network, as in `internal`")
        else:
            file.take(word, subdomains=True)
    return file.result()


def read_local_host_names(path: str | Path) -> tuple[list[str], list[Fault]]:
    """Read a file of class w, as /etc/mail/local-host-names: domains and address literals, exactly these."""
    file = _File(str(path))
    for word in file.words():
        file.take(word)
    return file.result()


def read_access(path: str | Path, *, below: bool = True, dotted: bool = True) -> tuple[list[str], list[Fault]]:
    """Read the text that an access map is made from, as /etc/mail/access: recipients' domains with RELAY.

    A key is not good for what is `below` it under FEATURE(`relay_hosts_only'), and a `dotted` one for anything without
    FEATURE(`lookupdotdomain').  What another key says below a domain is an exception, unless that is RELAY.
    """
    file = _File(str(path))
    by_tag: dict[str, dict[str, tuple[_Word, str]]] = {"": {}, "to": {}}
    for key, value in file.pairs():
        match = _TAG.fullmatch(key.text)
        tag = match[1].lower() if match is not None else ""
        if tag not in by_tag:
            continue
        domain = match[2].lower() if match is not None else key.text.lower()
        if value.lower() != _RELAY and value.lower().split(" ")[0] == _RELAY:
            file.warn(key, "RELAY counts only alone: makemap takes all that is behind the key")
        earlier = by_tag[tag].setdefault(domain, (key, value.lower()))[0]
        if earlier is not key:
            file.fault(key, f"{key.text} is already on line {earlier.line}: remove one of them")
    # A key with To: is looked up before the same one without.
    found = {**by_tag[""], **by_tag["to"]}
    in_order = sorted(found.items(), key=lambda one: one[1][0].line)
    for domain, (key, value) in in_order:
        if value == _RELAY and (dotted or domain[:1] != "."):
            _take_key(file, key, domain, below)
        elif value == _RELAY:
            file.warn(key, f"{domain} is looked up only with FEATURE(`lookupdotdomain'): left out")
    refused = [domain for domain, (_, value) in in_order if value != _RELAY and (dotted or domain[:1] != ".")]
    for domain in refused:
        if domain.startswith("."):
            file.entries.pop(domain, None)  # which was there for what is below the domain of another key
    for domain in refused:
        if _is_below(domain, file.entries):
            file.entries[f"!{domain}"] = None
    return file.result()


def _is_below(domain: str, entries: Container[str]) -> bool:
    """True for a domain around which there is one that is relayed, with all below it."""
    labels = domain.removeprefix(".").split(".")
    try:
        parse_domain(domain)
    except ValueError:
        return False  # a recipient, an address, or what no RCPT that is let through may have
    return any(f".{'.'.join(labels[place:])}" in entries for place in range(1, len(labels)))


def _take_key(file: _File, key: _Word, domain: str, below: bool) -> None:
    if "@" in domain:
        file.warn(key, f"a single recipient cannot be carried over: {domain}")
    elif _OF_CLIENTS.fullmatch(domain.strip("[]")):
        if key.text.lower().startswith("to:"):
            file.warn(key, f"an address cannot be carried over: write a literal, as [192.0.2.25], for {domain}")
    elif domain.startswith("."):
        file.warn(key, f"{domain} is looked up only with FEATURE(`lookupdotdomain')")
        file.take(key, domain)
    else:
        file.take(key, domain, subdomains=below)


@frozen(eq=False)
class _Word:
    line: int
    column: int
    text: str


@define
class _File:
    """One file being read, and what was found."""

    name: str
    entries: dict[str, None] = field(factory=dict)
    faults: list[Fault] = field(factory=list)
    errors: int = 0

    def result(self) -> tuple[list[str], list[Fault]]:
        return list(self.entries), sorted(self.faults)

    def fault(self, word: _Word, text: str) -> None:
        self.errors += 1
        self.faults.append(Fault(self.name, word.line, word.column, text))

    def warn(self, word: _Word, text: str) -> None:
        self.faults.append(Fault(self.name, word.line, word.column, text, warning=True))

    def take(self, word: _Word, text: str | None = None, *, subdomains: bool = False) -> None:
        """Make an entry of a domain, and one of its subdomains."""
        said = word.text if text is None else text
        try:
            if said.startswith("!"):
                raise ValueError(f"{said!r} is no domain: this file has no exceptions")
            entry = parse_domain(said)
        except ValueError as error:
            self.fault(word, str(error))
            return
        self.entries[entry] = None
        if subdomains and entry[0] not in ".[":
            self.entries[f".{entry}"] = None

    def words(self) -> Iterator[_Word]:
        """Yield the words of a class; `#` begins a comment (Debian's `%[^\\#]`)."""
        for line in self._lines(_CLASS_CONTROL):
            for match in _WORD.finditer(line.text.partition("#")[0]):
                yield _Word(line.line, match.start() + 1, match[0])

    def pairs(self) -> Iterator[tuple[_Word, str]]:
        """Yield the keys of a map and their values; `#` begins a comment only where a line begins (makemap)."""
        for line in self._lines(_MAP_CONTROL):
            if not line.text or line.text.startswith("#"):
                continue
            key, value = re.split(r"[ \t]+|\Z", line.text, maxsplit=1)
            value = value.rstrip(" \t")
            if not key:
                self.fault(line, "a key stands where its line begins")
            elif not value:
                self.fault(line, f"{key} has no value: makemap would not take it")
            else:
                yield _Word(line.line, 1, key), value

    def _lines(self, control: re.Pattern[str]) -> Iterator[_Word]:
        """Yield the lines that can be read."""
        octets = octets_of(self.name, FILE_OCTETS)
        if len(octets) > FILE_OCTETS:
            self.fault(_Word(1, 1, ""), f"file larger than {FILE_OCTETS} octets")
            return
        for number, line in enumerate(octets.split(b"\n"), 1):
            if self.errors >= ERRORS:
                self.fault(_Word(number, 1, ""), f"not read from here on, after {ERRORS} errors")
                return
            if len(line) > LINE_OCTETS:
                self.fault(_Word(number, LINE_OCTETS + 1, ""), f"line of more than {LINE_OCTETS} octets")
                continue
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                self.fault(_Word(number, error.start + 1, ""), f"octet 0x{line[error.start]:02X} is not UTF-8")
                continue
            if found := control.search(text):
                self.fault(_Word(number, found.start() + 1, ""), f"octet 0x{ord(found[0]):02X} is no text")
                continue
            yield _Word(number, 1, text)
