"""A sendmail.cf, taken apart: options, classes, maps and rule sets, each with its line.

Contract: reads any octets and never raises but OSError.  What is not understood is kept as it is; a line that begins
with a blank continues the one before, and `#` begins a comment, unless a backslash or a `$` is in front of it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from ..config.faults import printable

FILE_OCTETS: Final = 4 << 20
"""A sendmail.cf has some 60 KiB."""
WORDS: Final = 100_000
"""Of one class."""


@frozen
class Said:
    """A value, and the line that it is from."""

    text: str
    line: int
    file: str


@frozen
class RuleLine:
    """An R line."""

    left: str
    right: str
    line: int
    text: str


@define
class Cf:
    """What is in a file."""

    file: str
    options: dict[str, list[Said]] = field(factory=dict)
    """By name in lower case; DaemonPortOptions may be there often."""
    classes: dict[str, list[Said]] = field(factory=dict)
    """The words of C lines."""
    class_files: dict[str, list[Said]] = field(factory=dict)
    """What F lines name, options included."""
    macros: dict[str, Said] = field(factory=dict)
    maps: dict[str, Said] = field(factory=dict)
    """By name: class and arguments."""
    above: dict[int, str] = field(factory=dict)
    """Comments, by the line that they stand above."""
    rule_sets: dict[str, list[RuleLine]] = field(factory=dict)
    first_line: dict[str, int] = field(factory=dict)
    """Of a rule set."""

    def option(self, name: str) -> Said | None:
        """Return an option's last value."""
        found = self.all_of(name)
        return found[-1] if found else None

    def all_of(self, name: str) -> list[Said]:
        """Return all values of an option, in order; sendmail takes the beginning of its name for it."""
        whole = name.lower()
        given = [said for key, values in self.options.items() if whole.startswith(key) for said in values]
        return sorted(given, key=lambda said: said.line)


_OPTION: Final = re.compile(r"O\s+([A-Za-z0-9_.]+)\s*=\s*(.*)", re.DOTALL)
_BY_LETTER: Final = re.compile(r"O([pLO])(.*)", re.DOTALL)
_LETTERS: Final = {"p": "privacyoptions", "L": "loglevel", "O": "daemonportoptions"}
"""Options as files from before sendmail 8.7 have them, which every later one reads, too."""
_NAMED: Final = re.compile(r"\{([^}]*)\}\s*(.*)", re.DOTALL)
_SET: Final = re.compile(r"S\s*([A-Za-z0-9_]+)(?:\s*=\s*(\d+))?")
_COMMENT: Final = re.compile(r"(?<![$\\])#.*", re.DOTALL)


def read(path: str | Path) -> Cf:
    """Read a file; raises OSError."""
    with open(path, "rb") as file:
        return parse(file.read(FILE_OCTETS), str(path))


def parse(octets: bytes, name: str) -> Cf:
    """Take the content of a file apart."""
    cf = Cf(name)
    current, comment = "", ""
    numbered: dict[str, str] = {}
    for number, text in _logical(octets.decode("latin-1")):
        if text.startswith("#"):
            comment = text
            continue
        line = _COMMENT.sub("", text).replace("\\#", "#").rstrip()
        if comment and line:
            cf.above[number] = comment
        comment = ""
        if not line:
            continue
        rest = line[1:].strip()
        match line[0]:
            case "O" if found := _OPTION.fullmatch(line):
                cf.options.setdefault(found[1].lower(), []).append(Said(found[2].strip(), number, name))
            case "O" if found := _BY_LETTER.fullmatch(line):
                cf.options.setdefault(_LETTERS[found[1]], []).append(Said(found[2].strip(), number, name))
            case "C" | "F" | "D" if rest:
                _take_named(cf, line[0], rest, number)
            case "K" if rest:
                of, _, what = rest.partition(" ")
                cf.maps[of] = Said(what.strip(), number, name)
            case "S" if found := _SET.match(line):
                current = numbered.get(found[1], found[1])
                if found[2]:
                    numbered[found[2]] = current
                cf.first_line.setdefault(current, number)
                cf.rule_sets.setdefault(current, [])
            case "R" if current:
                left, _, right = line[1:].partition("\t")
                right = right.strip("\t").partition("\t")[0]
                cf.rule_sets[current].append(
                    RuleLine(left.strip(), right.strip(), number, printable(text.replace("\t", " ")))
                )
            case _:
                pass
    return cf


def _logical(text: str) -> list[tuple[int, str]]:
    """Return lines with those that continue them."""
    found: list[tuple[int, list[str]]] = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r")
        if found and line[:1] in (" ", "\t") and line.strip() and found[-1][1][0][:1] not in ("", "#"):
            found[-1][1].append(line.strip())
        else:
            found.append((number, [line]))
    return [(number, " ".join(parts)) for number, parts in found]


def _take_named(cf: Cf, kind: str, rest: str, number: int) -> None:
    named = _NAMED.fullmatch(rest)
    name, value = (named[1], named[2]) if named else (rest[0], rest[1:].strip())
    said = Said(value.strip(), number, cf.file)
    if kind == "D":
        cf.macros[name] = said
    elif kind == "F":
        cf.class_files.setdefault(name, []).append(said)
    else:
        words = cf.classes.setdefault(name, [])
        words += [Said(word, number, cf.file) for word in value.split()[: WORDS - len(words)]]
