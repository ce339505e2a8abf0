"""YAML read strictly: one meaning per file, and a place for every value.

Contract: `read` gives plain Python values and a `Places` that knows the line and column of each; it
refuses what a security policy must not leave to a YAML library: duplicate keys (last one wins
silently), tags, anchors and aliases, several documents, keys that are no strings.  Plain scalars
follow the YAML 1.2 core schema, so that `no`, `off`, `0755` and `12:30` are the words they look like.
"""

from __future__ import annotations

import re
from errno import ENAMETOOLONG
from pathlib import Path
from typing import Any, Final

import yaml
from attrs import define, field

from .faults import Fault, Faulty

type_of_loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT: Final = re.compile(r"[-+]?[0-9]+\.[0-9]+([eE][-+]?[0-9]+)?")
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
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


@define
class Places:
    """Where the values of one file stand."""

    file: str
    root: yaml.Node | None
    _entries: dict[int, dict[str, tuple[yaml.Node, yaml.Node]]] = field(init=False, factory=dict)
    """Of each mapping that was walked through: (key, value) by key."""

    def of(self, path: Path_) -> tuple[int, int]:
        """Return line and column of the value at `path`, or of the nearest one around it."""
        return self._walk(path, key=False)

    def fault(self, path: Path_, text: str, *, key: bool = False, warning: bool = False) -> Fault:
        line, column = self._walk(path, key=key)
        return Fault(self.file, line, column, text, warning)

    def _walk(self, path: Path_, *, key: bool) -> tuple[int, int]:
        node = self.root
        mark = node.start_mark if node is not None else None
        for step in path:
            if isinstance(node, yaml.MappingNode):
                found = self._entries_of(node).get(str(step))
                if found is None:
                    break
                mark = found[0].start_mark if key else found[1].start_mark
                node = found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                mark = node.start_mark
            else:
                break
        return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)

    def _entries_of(self, node: yaml.MappingNode) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        entries = self._entries.get(id(node))
        if entries is None:
            entries = self._entries[id(node)] = {}
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    entries.setdefault(key.value, (key, value))  # the first is the one that is read
        return entries


@define
class Document:
    """One file's content."""

    data: Any
    places: Places
    faults: list[Fault]
    """What is wrong with it as YAML; the data leaves the faulty parts out."""

    @classmethod
    def empty(cls, name: str) -> Document:
        """Return a document for values that come from no file."""
        return cls(None, Places(name, None), [])

    def fault_at(self, mark: Any, text: str) -> None:
        self.faults.append(Fault(self.places.file, mark.line + 1, mark.column + 1, text))


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
    return read(octets, str(path))


def read(octets: bytes | str, file: str) -> Document:
    """Read YAML; raises Faulty where its structure cannot be told."""
    document = Document(None, Places(file, None), [])
    try:
        _scan(octets, document)
        root = _compose(octets)
    except yaml.MarkedYAMLError as error:
        if not document.faults:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            document.faults.append(Fault(file, line, column, _yaml_error(error, octets)))
        raise Faulty(document.faults) from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise Faulty([Fault(file, 1, 1, f"not readable as YAML: {str(error).splitlines()[0]}")]) from None
    document.places.root = root
    if root is not None:
        document.data = _Reader(document).value(root)
    return document


def _compose(octets: bytes | str) -> yaml.Node | None:
    loader = type_of_loader(octets)
    try:
        root: yaml.Node | None = loader.get_single_node()
        return root
    finally:
        loader.dispose()


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
    if "expected a single document" in (error.context or ""):
        return "one document per file: remove the second `---`"
    if "escape character" in problem:
        return "in double quotes a backslash is written twice: \\\\; in single quotes it stands as it is"
    if "did not find expected node content" in problem:
        return "something that cannot stand here without quotes; an address that begins with a colon needs them"
    begun = ""
    if error.context_mark is not None and error.context:
        begun = f" {error.context} begun at {error.context_mark.line + 1}:{error.context_mark.column + 1}"
    return f"not readable as YAML: {problem}{begun}"


def _scan(octets: bytes | str, document: Document) -> None:
    """Refuse anchors, aliases and tags, which leave no trace in the nodes, and deep nesting.

    Composing the nodes recurses on the C stack, and ends the process where that ends; so the depth is
    bounded here, on the events, which cost a quarter of it.
    """
    depth = 0
    for event in yaml.parse(octets, Loader=type_of_loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH:
                document.fault_at(event.start_mark, f"nested more than {DEPTH} levels deep")
                raise Faulty(document.faults)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent):
            document.fault_at(event.start_mark, f"alias *{anchor} is not allowed here: quote it if the * is meant")
        elif anchor is not None:
            text = f"anchor &{anchor} is not allowed here: write the value out where it is used"
            document.fault_at(event.start_mark, text)
        elif tag is not None:
            text = f"tag {tag} is not allowed here: leave it out, or quote the ! if it is meant"
            document.fault_at(event.start_mark, text)


class _Reader:
    """Turns nodes into values; each node once, so that an alias cannot multiply."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._seen: set[int] = set()

    def value(self, node: yaml.Node) -> Any:
        if id(node) in self._seen:
            return None  # an alias, which is refused already
        self._seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            return node.value if node.style else _plain(node.value)  # libyaml has "" for plain
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item) for item in node.value]
        return self._mapping(node)

    def _mapping(self, node: yaml.Node) -> dict[str, Any]:
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or key == "<<":
                self._document.fault_at(key_node.start_mark, "a key must be a word")
            elif key in lines:
                text = f"{key!r} is already set on line {lines[key]}: remove one of them"
                self._document.fault_at(key_node.start_mark, text)
            else:
                lines[key] = key_node.start_mark.line + 1
                values[key] = self.value(value_node)
        return values


def _plain(text: str) -> Any:
    """Read an unquoted scalar by the YAML 1.2 core schema, less octal, hexadecimal and infinity."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
