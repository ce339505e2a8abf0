"""Regression files: cases that failed once, in text that can be read and typed.

Contract: `save` writes a case, `load` reads the same case; a file says what was wrong, and holds the
octets as escaped lines, with long runs counted.  All files in found/ are replayed by the tests, and
must hold.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml

from tests.smtp.table import INSIDE, OUTSIDE

from .arena import Cut, Manner, Timing
from .generator import ClientStream
from .runs import Case

FOLDER: Final = Path(__file__).with_name("found")
_RUN: Final = re.compile(rb"(.)\1{39,}", re.DOTALL)
_ESCAPES: Final = {0x0D: r"\r", 0x0A: r"\n", 0x09: r"\t", 0x22: r"\"", 0x5C: r"\\"}


def save(case: Case, about: str, name: str, folder: Path = FOLDER) -> Path:
    """Write a case and return its file; the cut must be one that needs no seed."""
    assert case.cut not in (Cut.RAGGED, Cut.RANDOM)
    stream = case.stream
    lines = [
        f"about: {_quoted(about.encode())}",
        f"seed: {stream.seed}",
        f"server: {case.server}",
        f"source: {'inside' if case.source == INSIDE else 'outside'}",
        f"cut: {case.cut.value}",
        f"timing: {case.timing.value}",
        f"manner: {case.manner.value}",
        "turns:",
        *_nested(stream.turns),
    ]
    if stream.valid:
        lines += ["messages:", *_nested(list(stream.messages))] if stream.messages else ["messages: []"]
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text("\n".join(lines) + "\n", "ascii")
    return path


def load(path: Path) -> Case:
    """Read what `save` wrote."""
    fields = yaml.safe_load(path.read_text("ascii"))
    turns = [_octets(turn) for turn in fields["turns"]]
    waits, at = [], 0
    for turn in turns:
        at += len(turn)
        waits.append(at)
    stream = ClientStream(
        int(fields["seed"]),
        b"".join(turns),
        "messages" in fields,
        tuple(_octets(message) for message in fields.get("messages", [])),
        tuple(waits),
    )
    manner = Manner(fields["manner"])
    source = INSIDE if fields["source"] == "inside" else OUTSIDE
    return Case(stream, fields["server"], source, Cut(fields["cut"]), Timing(fields["timing"]), manner)


def paths() -> list[Path]:
    """Return every file there is."""
    return sorted(FOLDER.glob("*.yaml"))


def _nested(pieces: list[bytes]) -> list[str]:
    lines = []
    for piece in pieces:
        parts = _parts(piece) or ['""']
        lines += [f"  {'- ' if i == 0 else '  '}- {part}" for i, part in enumerate(parts)]
    return lines


def _parts(octets: bytes) -> list[str]:
    """Return lines of text, and runs of one octet as a count."""
    parts: list[str] = []
    at = 0
    for match in [*_RUN.finditer(octets), None]:
        end = match.start() if match else len(octets)
        parts += [_quoted(line) for line in octets[at:end].splitlines(keepends=True)]
        if match:
            parts.append(f"{{repeat: {_quoted(match.group(1))}, times: {len(match.group())}}}")
            at = match.end()
    return parts


def _quoted(octets: bytes) -> str:
    """Return a YAML string in double quotes; its characters stand for octets."""
    text = "".join(
        _ESCAPES.get(octet) or (chr(octet) if 0x20 <= octet < 0x7F else f"\\x{octet:02x}") for octet in octets
    )
    return f'"{text}"'


def _octets(parts: list[Any]) -> bytes:
    return b"".join(
        part.encode("latin-1") if isinstance(part, str) else part["repeat"].encode("latin-1") * part["times"]
        for part in parts
    )
