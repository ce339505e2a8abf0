"""Plain lists: a network or an address a line; `#` begins a comment."""

from __future__ import annotations

from .first_match import Entry
from .reading import Reading


def entries(reading: Reading, path: str, _name: str) -> list[Entry]:
    """Return what the file lists; raises OSError."""
    blocks = []
    for line in reading.lines(path):
        text = line.text.partition("#")[0]
        if word := text.strip():
            at = line.part(len(text) - len(text.lstrip()), word)
            if len(word.split()) > 1:
                reading.fault(at, "one network a line; a comment begins with #")
            elif (block := reading.block(at, word)) is not None:
                blocks.append(block)
    return [Entry(True, blocks)]
