"""Postfix's `mynetworks`: its value, a main.cf that has it, or a file that it names.

Contract: as Postfix reads it.  Commas and blanks part the patterns; `!` takes out what it stands before, and the first
pattern that fits decides; `/file/name` is the patterns in that file, in which `#` begins a comment only where the line
begins.  A `$name` that stands alone is looked up in the same main.cf.  Tables (`hash:`, `cidr:`, ...), host names and
whatever makes Postfix itself refuse a client for now are errors.  Mapped addresses (`[::ffff:127.0.0.0]/104`, which
Debian writes) have nobody: Postfix knows an IPv4 client by its IPv4 address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from .first_match import Entry
from .reading import Reading, Word

MYNETWORKS: Final = "mynetworks"
DEPTH: Final = 16
"""Files in files, or variables in variables: more is a circle."""

_SETTING: Final = re.compile(r"([A-Za-z0-9_]+)[ \t]*=")
_PATTERN: Final = re.compile(r"[^ \t\r\v\f,]+")
_VARIABLE: Final = re.compile(r"\$(?:(\w+)|\{(\w+)\}|\((\w+)\))")
_ADDRESS: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(/[0-9]+)?")
_BARE_IPV6: Final = re.compile(r"(?=.*:.*:)([0-9A-Fa-f:.]+)(/[0-9]+)?")
_INNER_LENGTH: Final = re.compile(r"\[([0-9A-Fa-f:.]+)(/[0-9]+)\]")


def entries(reading: Reading, path: str, _name: str) -> list[Entry]:
    """Return what the file lists; raises OSError."""
    lines = reading.lines(path)
    if not any(_SETTING.match(line.text) for line in lines):
        return list(_Patterns(reading, {}).of_lines(lines, included=True, depth=0))
    settings = _settings(lines)
    if MYNETWORKS not in settings:
        text = "no `mynetworks` here, so Postfix makes one up: `postconf -h mynetworks` prints it, name a file of that"
        reading.fault(Word(path, 1, 1, ""), text)
        return []
    return list(_Patterns(reading, settings).of(settings[MYNETWORKS], included=True, depth=0))


def _settings(lines: list[Word]) -> dict[str, list[Word]]:
    """Return the settings of a main.cf: the words of each, of the last one where there are several."""
    found: dict[str, list[Word]] = {}
    current: list[Word] = []
    for line in lines:
        if not line.text.strip() or line.text.lstrip().startswith("#"):
            continue
        if line.text[0] in " \t":
            current += _words(line, 0)
        elif match := _SETTING.match(line.text):
            current = found[match[1]] = _words(line, match.end())
        else:
            current = []  # Postfix says what is wrong with that
    return found


def _words(line: Word, start: int) -> list[Word]:
    return [line.part(match.start(), match[0]) for match in _PATTERN.finditer(line.text, start)]


class _Patterns:
    """What the patterns of one file mean."""

    def __init__(self, reading: Reading, settings: dict[str, list[Word]]) -> None:
        self._reading = reading
        self._settings = settings

    def of_lines(self, lines: list[Word], included: bool, depth: int) -> Iterator[Entry]:
        """Yield the entries of a file of patterns."""
        for line in lines:
            if not line.text.startswith("#"):
                yield from self.of(_words(line, 0), included, depth)

    def of(self, words: list[Word], included: bool, depth: int) -> Iterator[Entry]:
        """Yield the entries of patterns; `included` is what a pattern without `!` means."""
        if depth > DEPTH and words:
            self._reading.fault(words[0], f"more than {DEPTH} deep: a file or a variable that names itself")
            return
        for word in words:
            text = word.text.lstrip("!")
            meant = included ^ bool((len(word.text) - len(text)) % 2)
            if text.startswith("#"):
                self._reading.fault(word, "Postfix knows comments only where a line begins with #")
                return
            if "$" in text:
                yield from self._variable(word, included, depth)
            elif text.startswith("/"):
                lines = self._reading.lines(text, word)
                yield from self.of_lines(lines, meant, depth + 1)
            elif (address := self._address(word, text)) and (block := self._reading.block(word, address)):
                # To Postfix an IPv4 client is never in a network of mapped addresses, which Debian's own value has.
                yield Entry(meant, [block] if ":" not in address or block.family == 6 else [])

    def _variable(self, word: Word, included: bool, depth: int) -> Iterator[Entry]:
        match = _VARIABLE.fullmatch(word.text)
        name = match[1] or match[2] or match[3] if match is not None else ""
        if name in self._settings:
            self._reading.enter(word)
            yield from self.of(self._settings[name], included, depth + 1)
            return
        instead = "`postconf -xh mynetworks` prints the value, name a file of that"
        self._reading.fault(word, f"{word.text} cannot be told from this file: {instead}")

    def _address(self, word: Word, text: str) -> str | None:
        """Return an address or a network, without brackets; None with the fault if it is something else."""
        if match := _ADDRESS.fullmatch(text):
            return (match[1] or match[2]) + (match[3] or "")
        self._reading.fault(word, _what_it_is(text))
        return None


def _what_it_is(text: str) -> str:
    if not text:
        return "nothing stands behind the !"
    if match := _INNER_LENGTH.fullmatch(text):
        return f"the length stands behind the bracket: [{match[1]}]{match[2]}"
    kind, colon, name = text.partition(":")
    if text.startswith("[") or not colon:
        return f"{text!r} is no address; a name cannot be carried over: write the addresses that it has"
    if match := _BARE_IPV6.fullmatch(text):
        return f"Postfix takes {kind or 'that'} for a kind of table: write [{match[1]}]{match[2] or ''}"
    if kind == "cidr":
        return f"a table is not read: write its networks into a list for `format: plain`, in place of {text}"
    return f"a table is not read: `postmap -s {kind}:{name}` prints its keys, list those that are addresses instead"
