"""Exim's host lists: one of a configuration file by its name, a file of hosts, or Debian's answers.

Contract: as Exim reads it.  Colons part the items, doubled ones stand for themselves, `<;` in front makes it another
separator; `!` takes out, the first item that fits decides, and behind a last item with `!` everybody else is in.
`+name` is another list of the file; a macro counts if it is the whole value.  Names, lookups and what is expanded
(`$`) are errors.  In update-exim4.conf.conf it is `dc_relay_nets`, to which Debian adds the loopback addresses.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from attrs import define, field
from netaddr import AddrFormatError, IPNetwork

from ...policy.networks import Block, parse_block
from .first_match import EVERYBODY, Entry, decided
from .reading import MOST_NETWORKS, Reading, Word

RELAY_FROM: Final = "relay_from_hosts"
"""The list of Exim's own default configuration."""
DEPTH: Final = 16
"""Lists in lists, or macros in macros: more is a circle."""

_LIST: Final = re.compile(r"[ \t]*(?:hide[ \t]+)?hostlist(?:_cache)?[ \t]+(\w+)[ \t]*=[ \t]*")
_MACRO: Final = re.compile(r"[ \t]*([A-Z]\w*)[ \t]*==?[ \t]*")
_BEGIN: Final = re.compile(r"[ \t]*begin[ \t]")
_OTHER_SETTING: Final = re.compile(r"[ \t]*(?:(?:hide[ \t]+)?(?:host|domain|address|localpart)list|begin|\.include)\b")
_DEBIAN: Final = re.compile(r"[ \t]*dc_[a-z_]+=")
_DEBIAN_NETS: Final = re.compile(
    r"""[ \t]*dc_relay_nets=(?:'(?P<a>[^']*)'|"(?P<b>[^"$`\\]*)"|(?P<c>[^\s'"$`\\;]*))[ \t]*(?:#.*)?"""
)
_ADDRESS: Final = re.compile(r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|(?=[^:]*:[^:]*:)[0-9A-Fa-f:.]+)(?:/[0-9]+)?")
_NO_MATTER: Final = frozenset({"+include_unknown", "+ignore_unknown", "+include_defer", "+ignore_defer"})
"""They are about names that cannot be looked up."""
_WHERE: Final = "`exim -be '${listnamed:NAME}'` prints what Exim makes of it"


@define
class _Value:
    """What stands on several lines, and where each part of it does."""

    text: str = ""
    starts: list[int] = field(factory=list)
    parts: list[Word] = field(factory=list)

    def add(self, word: Word) -> None:
        self.starts.append(len(self.text))
        self.parts.append(word)
        self.text += word.text

    def at(self, offset: int, text: str) -> Word:
        number = bisect_right(self.starts, offset) - 1
        return self.parts[number].part(offset - self.starts[number], text)


def entries(reading: Reading, path: str, name: str) -> list[Entry]:
    """Return what the list of this name has, or the whole file where it has no lists; raises OSError."""
    lines = reading.lines(path)
    if any(_DEBIAN.match(line.text) for line in lines):
        return _debian(reading, lines)
    if not any(_OTHER_SETTING.match(line.text) for line in lines):
        return list(_Lists(reading, {}, {}).of_file(lines, included=True))
    lists, macros = _configuration(lines)
    wanted = name or RELAY_FROM
    if wanted not in lists:
        known = f" (there are {', '.join(sorted(lists))})" if lists else ""
        text = f"no `hostlist {wanted}` here{known}: say which with `name`; files that it includes are not read"
        reading.fault(Word(path, 1, 1, ""), text)
        return []
    return _Lists(reading, lists, macros).of_name(lists[wanted][0].parts[0], wanted, 0)


def _configuration(lines: list[Word]) -> tuple[dict[str, list[_Value]], dict[str, list[_Value]]]:
    """Return the host lists and the macros of a configuration's first part, each with all that is set for it."""
    lists: dict[str, list[_Value]] = {}
    macros: dict[str, list[_Value]] = {}
    for value in _logical_lines(lines):
        if _BEGIN.match(value.text):
            break
        for known, pattern in ((lists, _LIST), (macros, _MACRO)):
            if match := pattern.match(value.text):
                rest = _Value()
                rest.add(value.at(0, ""))
                for start, part in zip(value.starts, value.parts, strict=True):
                    cut = max(0, match.end() - start)
                    rest.add(part.part(cut, part.text[cut:]))
                known.setdefault(match[1], []).append(rest)
                break
    return lists, macros


def _logical_lines(lines: list[Word]) -> Iterator[_Value]:
    """Yield the lines; a backslash at the end goes on with the next one, but for its blanks and comment lines."""
    value: _Value | None = None
    for line in lines:
        text = line.text.rstrip()
        if not text or text.lstrip().startswith("#"):
            continue
        goes_on = text.endswith("\\")
        body = text.removesuffix("\\") if goes_on else text
        if value is None:
            value = _Value()
            value.add(line.part(0, body))
        else:
            value.add(line.part(len(body) - len(body.lstrip()), body.lstrip()))
        if not goes_on:
            yield value
            value = None
    if value is not None:
        yield value


def _debian(reading: Reading, lines: list[Word]) -> list[Entry]:
    """Return what Debian's update-exim4.conf makes of its answers."""
    found = [(line, match) for line in lines if (match := _DEBIAN_NETS.fullmatch(line.text.rstrip()))]
    if not found:
        reading.fault(lines[0], "no dc_relay_nets='...' here that could be read")
        return []
    line, match = found[-1]
    group = match.lastgroup or "c"
    value, given = _Value(), match[group].strip()
    start = match.start(group) + len(match[group]) - len(match[group].lstrip())
    if given.startswith("<") and not given.startswith("<;"):
        reading.fault(line.part(start, given), "Debian knows no separators here but : and ;")
        return []
    if ";" in given and not given.startswith("<"):
        value.add(line.part(start, "<; "))
    value.add(line.part(start, given))
    value.add(line.part(start, " ; 127.0.0.1 ; ::1" if value.text.startswith("<") else " : 127.0.0.1 : ::::1"))
    return _Lists(reading, {}, {}).of_value(value, 0)


class _Lists:
    """What the lists of one file mean."""

    def __init__(self, reading: Reading, lists: dict[str, list[_Value]], macros: dict[str, list[_Value]]) -> None:
        self._reading = reading
        self._lists = lists
        self._macros = macros

    def of_name(self, asked: Word, name: str, depth: int) -> list[Entry]:
        """Return the entries of a list of the file."""
        self._reading.enter(asked)
        value = self._the_one(asked, name, self._lists.get(name, []), f"no `hostlist {name}` in this file")
        return self.of_value(value, depth) if value is not None else []

    def of_value(self, value: _Value, depth: int) -> list[Entry]:
        """Return the entries of a list."""
        whole = value.at(0, value.text)
        bare = value.text.strip()
        if depth > DEPTH:
            self._reading.fault(whole, f"more than {DEPTH} deep: a list or a macro that names itself")
        elif bare in self._macros:
            inner = self._the_one(whole, bare, self._macros[bare], "")
            return self.of_value(inner, depth + 1) if inner is not None else []
        elif macro := next((one for one in self._macros if one in bare), None):
            self._reading.fault(whole, f"the macro {macro} stands within the list: write out what it means")
        elif "$" in bare or "\\" in bare or '"' in bare:
            self._reading.fault(whole, f"what is expanded or quoted cannot be told from the file: {_WHERE}")
        else:
            return list(self._of_items(value, depth))
        return []

    def of_file(self, lines: list[Word], included: bool) -> Iterator[Entry]:
        """Yield the entries of a file of items, one a line; `included` is what one without `!` means."""
        for line in lines:
            text = re.split(r"(?:^|(?<=\s))#", line.text, maxsplit=1)[0]
            if item := text.strip():
                word = line.part(len(text) - len(text.lstrip()), item)
                meant, bare = (not included, item[1:].lstrip()) if item.startswith("!") else (included, item)
                if bare.startswith(("+", "/")):
                    self._reading.fault(word, "a file of hosts can name neither a list nor another file")
                else:
                    yield from self._item(word, bare, meant, 0)

    def _the_one(self, asked: Word, name: str, values: list[_Value], without: str) -> _Value | None:
        if len(values) == 1:
            return values[0]
        twice = f"{name} is set {len(values)} times, and which one counts cannot be told: {_WHERE}"
        self._reading.fault(asked, twice if values else without)
        return None

    def _of_items(self, value: _Value, depth: int) -> Iterator[Entry]:
        included = True
        for offset, item in _items(value.text):
            word = value.at(offset, item)
            included = not item.startswith("!")
            bare = item if included else item[1:].lstrip()
            if item and bare not in _NO_MATTER:
                yield from self._item(word, bare, included, depth)
        if not included:
            self._reading.warn(word, "everybody else is in, as behind every last item with ! in Exim: is it meant?")
            yield Entry(True, EVERYBODY)

    def _item(self, word: Word, text: str, included: bool, depth: int) -> Iterator[Entry]:
        if text == "*":
            yield Entry(included, EVERYBODY)
        elif text.startswith("+"):
            try:
                yield Entry(included, decided(self.of_name(word, text[1:], depth + 1), MOST_NETWORKS))
            except ValueError as error:
                self._reading.fault(word, str(error))
        elif text.startswith("/"):
            yield from self.of_file(self._reading.lines(text, word), included)
        elif not _ADDRESS.fullmatch(text):
            self._reading.fault(word, _what_it_is(text))
        elif block := self._block(word, text):
            if ":" in text and block.family == 4:
                self._reading.fault(word, f"{text} has nobody in Exim: write it as one of IPv4 if it is meant")
            else:
                yield Entry(included, [block])

    def _block(self, word: Word, text: str) -> Block | None:
        try:
            parse_block(text)
        except ValueError:
            try:
                cidr = str(IPNetwork(text).cidr)
            except (AddrFormatError, ValueError):
                cidr = text
            if cidr != text and "/" in text:
                self._reading.warn(word, f"Exim takes {text} for {cidr}")
                text = cidr
        return self._reading.block(word, text)


def _items(text: str) -> Iterator[tuple[int, str]]:
    """Yield the items of a list, and where each begins."""
    at = len(text) - len(text.lstrip())
    separator = ":"
    if match := re.match(r"<([!-/:-@\[-`{-~])", text[at:]):
        separator, at = match[1], at + 2
    one = re.escape(separator)
    item = re.compile(rf"\s*((?:[^{one}]|{one}{one})*)(?:{one}|\Z)")
    end = len(text.rstrip())
    while at < end and (found := item.match(text, at)):
        yield found.start(1), found[1].rstrip().replace(separator * 2, separator)
        at = found.end()


def _what_it_is(text: str) -> str:
    if not text:
        return "nothing stands behind the !"
    if text.startswith("@"):
        return f"{text} means what Exim finds on the running host: write the addresses"
    if ";" in text:
        return f"{text!r} is a lookup, or a list whose separator is not announced by `<;`: write the addresses"
    return f"{text!r} is no address; a name cannot be carried over: write the addresses that it has"
