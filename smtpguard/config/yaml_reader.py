"""YAML read strictly: one meaning per file, and a place for every value.

Contract: `read` gives plain Python values and a `Places` that knows the line and column of each; it
refuses what a security policy must not leave to a YAML library: duplicate keys (last one wins
silently), tags, anchors and aliases, several documents, keys that are no strings.  Plain scalars
follow the YAML 1.2 core schema, so that `no`, `off`, `0755` and `12:30` are the words they look like.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from errno import ENAMETOOLONG
from pathlib import Path
from typing import Any, Final

import yaml
from attrs import define, field

from .faults import Fault, Faulty

type_of_loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NUMBER: Final = re.compile(r"[-+]?(?:(0|[1-9][0-9]{0,17})|[0-9]+\.[0-9]+(?:[eE][-+]?[0-9]+)?)")
"""A whole number, which is its group, or one with a point."""
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_YAML_11_BOOL: Final = {
    **dict.fromkeys(("yes", "Yes", "YES", "on", "On", "ON", "y", "Y"), "true"),
    **dict.fromkeys(("no", "No", "NO", "off", "Off", "OFF", "n", "N"), "false"),
}

Path_ = tuple[str | int, ...]

FILE_OCTETS: Final = 32 * 1024 * 1024
"""Largest file read: a policy with 100,000 networks has 2 MB."""
DEPTH: Final = 32
"""Deepest nesting read: a settings file has 4 levels."""


def yaml_11_bool(word: object) -> str | None:
    """Return `true` or `false` for a word that YAML 1.1 reads as one and YAML 1.2 does not."""
    return _YAML_11_BOOL.get(word) if isinstance(word, str) else None


_COLUMN_BITS: Final = 32
"""More than any column has: a place is kept as one number, since a large policy has 100,000 of them."""


@define(eq=False)
class _Spot:
    """Where a mapping or a sequence stands, and what is in it; any other value has only its place."""

    place: int
    entries: dict[str, tuple[int, int | _Spot]] = field(factory=dict)
    """Of a mapping: the place of each key, and where the value is."""
    items: list[int | _Spot] = field(factory=list)
    """Of a sequence."""


@define
class Places:
    """Where the values of one file stand."""

    file: str
    root: int | _Spot = 0

    def of(self, path: Path_) -> tuple[int, int]:
        """Return line and column of the value at `path`, or of the nearest one around it."""
        return self._walk(path, key=False)

    def written(self, path: Path_) -> Path_:
        """Return `path` without the keys that a list stands for (`domains` of `relay_domains: [example.org]`)."""
        spot, steps = self.root, list[str | int]()
        for step in path:
            if isinstance(spot, _Spot):
                if isinstance(step, str) and spot.items:
                    continue
                entry = spot.entries.get(str(step))
                if entry is not None:
                    spot = entry[1]
                elif isinstance(step, int) and 0 <= step < len(spot.items):
                    spot = spot.items[step]
            steps.append(step)
        return tuple(steps)

    def has(self, key: str) -> bool:
        """True if the file has this key at its top."""
        return isinstance(self.root, _Spot) and key in self.root.entries

    def fault(self, path: Path_, text: str, *, key: bool = False, warning: bool = False) -> Fault:
        line, column = self._walk(path, key=key)
        return Fault(self.file, line, column, text, warning)

    def _walk(self, path: Path_, *, key: bool) -> tuple[int, int]:
        spot = self.root
        place = _place_of(spot)
        for step in path:
            if isinstance(spot, int):
                break
            if (entry := spot.entries.get(str(step))) is not None:
                key_place, spot = entry
                place = key_place if key else _place_of(spot)
            elif isinstance(step, int) and 0 <= step < len(spot.items):
                spot = spot.items[step]
                place = _place_of(spot)
            elif isinstance(step, str) and spot.items:
                continue  # a list that stands for a mapping with that key
            elif step == 0 and spot.entries:
                continue  # a mapping that stands for a list of it
            else:
                break
        return _line_and_column(place)


def _place(mark: Any) -> int:
    line: int = mark.line
    column: int = mark.column
    return line << _COLUMN_BITS | column


def _place_of(spot: int | _Spot) -> int:
    return spot if isinstance(spot, int) else spot.place


def _line_and_column(place: int) -> tuple[int, int]:
    return (place >> _COLUMN_BITS) + 1, (place & (1 << _COLUMN_BITS) - 1) + 1


@define
class Document:
    """One file's content."""

    data: Any
    places: Places
    faults: list[Fault]
    """What is wrong with it as YAML; the data leaves the faulty parts out."""
    digest: str = ""
    """SHA-256 of the file's octets, in hexadecimal digits; empty for what is no file."""

    @classmethod
    def empty(cls, name: str) -> Document:
        """Return a document for values that come from no file."""
        return cls(None, Places(name), [])


def is_file(path: Path) -> bool:
    """True if there is such a file; a name that is too long for one is no error."""
    try:
        return path.is_file()
    except OSError as error:
        if error.errno == ENAMETOOLONG:
            return False
        raise


def read_file(path: str | Path) -> Document:
    """Read a file; raises FileNotFoundError and other OSErrors, and Faulty if it is no YAML at all."""
    with open(path, "rb") as file:
        octets = file.read(FILE_OCTETS + 1)
    if len(octets) > FILE_OCTETS:
        raise Faulty([Fault(str(path), 1, 1, f"file larger than {FILE_OCTETS} octets")])
    document = read(octets, str(path))
    document.digest = hashlib.sha256(octets).hexdigest()
    return document


def read(octets: bytes | str, file: str) -> Document:
    """Read YAML; raises Faulty where its structure cannot be told."""
    reader = _Reader(file)
    try:
        data, root = reader.document(octets)
    except yaml.MarkedYAMLError as error:
        if not reader.faults:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            reader.faults.append(Fault(file, line, column, _yaml_error(error, octets)))
        raise Faulty(reader.faults) from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise Faulty([Fault(file, 1, 1, f"not readable as YAML: {str(error).splitlines()[0]}")]) from None
    return Document(data, Places(file, root), [*reader.faults, *reader.key_faults])


def _yaml_error(error: yaml.MarkedYAMLError, octets: bytes | str) -> str:
    problem = error.problem or "not YAML"
    if "cannot start any token" in problem and error.problem_mark is not None:
        text = octets if isinstance(octets, str) else octets.decode("utf-8", "replace")
        # To YAML more than an LF ends a line (5.4): CR, and the three of Unicode in YAML 1.1.
        lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", text)
        line = lines[error.problem_mark.line] if error.problem_mark.line < len(lines) else ""
        if line[error.problem_mark.column :].startswith("\t"):
            return "a TAB cannot indent YAML: use spaces"
    if "maximum nesting depth" in problem:  # libyaml's own bound, which newer ones have
        return f"nested more than {DEPTH} levels deep"
    if "escape character" in problem:
        return "in double quotes a backslash is written twice: \\\\; in single quotes it stands as it is"
    if "did not find expected node content" in problem:
        return "something that cannot stand here without quotes; an address that begins with a colon needs them"
    begun = ""
    if error.context_mark is not None and error.context:
        begun = f" {error.context} begun at {error.context_mark.line + 1}:{error.context_mark.column + 1}"
    return f"not readable as YAML: {problem}{begun}"


class _Reader:
    """Makes values of the parser's events, in one pass, and keeps where each of them stands.

    The events, since anchors and tags leave no trace in libyaml's nodes; since a node and its marks cost
    more than all else that is done with a value; and since libyaml makes nodes by recursion on the C stack,
    and ends the process where that ends.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._next: Callable[[], Any]
        self._depth = 0
        self._anchors: set[str] = set()
        self._ambiguous = False
        """An alias of nothing, or an anchor that is set twice: nobody knows what is meant."""
        self.faults: list[Fault] = []
        """Anchors, aliases, tags, nesting: all of them, also in what is left out."""
        self.key_faults: list[Fault] = []

    def document(self, octets: bytes | str) -> tuple[Any, int | _Spot]:
        """Return the one document's value, and where it is; raises Faulty and yaml.YAMLError."""
        parser = type_of_loader(octets)
        self._next = parser.get_event
        found: list[tuple[Any, int | _Spot]] = []
        second: Any = None
        try:
            while not isinstance(event := self._next(), yaml.StreamEndEvent):
                if isinstance(event, yaml.NodeEvent):
                    found.append(self._node(event))
                elif found and second is None and isinstance(event, yaml.DocumentStartEvent):
                    second = event.start_mark
        finally:
            parser.dispose()
        if second is not None and not self.faults:
            self._refuse(second, "one document per file: remove the second `---`")
        if second is not None or self._ambiguous:
            raise Faulty(self.faults)
        return found[0] if found else (None, 0)

    def _refuse(self, mark: Any, text: str) -> None:
        self.faults.append(Fault(self._file, mark.line + 1, mark.column + 1, text))

    def _refuse_key(self, mark: Any, text: str) -> None:
        self.key_faults.append(Fault(self._file, mark.line + 1, mark.column + 1, text))

    def _node(self, event: Any) -> tuple[Any, int | _Spot]:
        """Return the value that begins with `event`, and where it is."""
        kind = type(event)
        if kind is yaml.ScalarEvent:
            if event.anchor is not None or event.tag is not None:
                self._refuse_properties(event)
            # libyaml has "" as the style of a plain one.
            return event.value if event.style else _plain(event.value), _place(event.start_mark)
        if kind is yaml.AliasEvent:
            text = f"alias *{event.anchor} is not allowed here: quote it if the * is meant"
            self._refuse(event.start_mark, text)
            self._ambiguous |= event.anchor not in self._anchors
            return None, _place(event.start_mark)
        if self._depth == DEPTH:
            self._refuse(event.start_mark, f"nested more than {DEPTH} levels deep")
            raise Faulty(self.faults)
        self._refuse_properties(event)
        self._depth += 1
        value = self._sequence(event) if kind is yaml.SequenceStartEvent else self._mapping(event)
        self._depth -= 1
        return value

    def _refuse_properties(self, event: Any) -> None:
        if event.anchor is not None:
            text = f"anchor &{event.anchor} is not allowed here: write the value out where it is used"
            self._refuse(event.start_mark, text)
            self._ambiguous |= event.anchor in self._anchors
            self._anchors.add(event.anchor)
        elif event.tag is not None:
            text = f"tag {event.tag} is not allowed here: leave it out, or quote the ! if it is meant"
            self._refuse(event.start_mark, text)

    def _sequence(self, start: Any) -> tuple[list[Any], _Spot]:
        values: list[Any] = []
        spot = _Spot(_place(start.start_mark))
        while type(event := self._next()) is not yaml.SequenceEndEvent:
            value, item = self._node(event)
            values.append(value)
            spot.items.append(item)
        return values, spot

    def _mapping(self, start: Any) -> tuple[dict[str, Any], _Spot]:
        values: dict[str, Any] = {}
        spot = _Spot(_place(start.start_mark))
        while type(event := self._next()) is not yaml.MappingEndEvent:
            before = len(self.key_faults)
            mark = event.start_mark
            self._node(event)
            key = event.value if type(event) is yaml.ScalarEvent and event.value != "<<" else None
            if key is not None and key not in values:
                values[key], inner = self._node(self._next())
                spot.entries[key] = _place(mark), inner
                continue
            self._node(self._next())
            del self.key_faults[before:]  # what is left out is read for its anchors and tags only
            if key is not None:
                line, _ = _line_and_column(spot.entries[key][0])
                self._refuse_key(mark, f"{key!r} is already set on line {line}: remove one of them")
            elif type(event) is not yaml.AliasEvent:  # that is refused already
                self._refuse_key(mark, "a key must be a word")
        return values, spot


def _plain(text: str) -> Any:
    """Read an unquoted scalar by the YAML 1.2 core schema, less octal, hexadecimal and infinity."""
    if text in _WORDS:
        return _WORDS[text]
    number = _NUMBER.fullmatch(text)
    if number is None:
        return text
    return float(text) if number[1] is None else int(text)
