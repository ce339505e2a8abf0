"""The targets by name.

Contract: `load` imports the target's module, and with it the parser, at the moment it is called, so
that atheris can instrument both.  A target's module has `one`, `MAX_LEN`, `WORDS` and `seeds`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

NAMES: Final = ("line", "reply", "content", "bdat", "dialogue", "policy", "settings", "header", "recipient")
HERE: Final = Path(__file__).parent
FOUND: Final = HERE / "found"
"""Data that once made a target fail: TARGET-KIND-HASH.bin, each replayed by the tests."""


@frozen
class Target:
    """One parser under fire."""

    name: str
    one: Callable[[bytes], None]
    """Raises if the parser breaks its contract on these octets."""
    max_len: int
    words: tuple[bytes, ...]
    """What libFuzzer may insert as a whole."""
    seeds: Callable[[], Iterator[bytes]]
    """Data made of transcripts, vectors and policies."""

    @property
    def kept(self) -> Path:
        """The folder of small files in git that reach what the seeds do not."""
        return HERE / "corpus" / self.name

    def inputs(self) -> Iterator[tuple[str, bytes]]:
        """Yield everything known, by name: seeds, files of the corpus, files found."""
        for number, data in enumerate(self.seeds()):
            yield f"seed {number}", data[: self.max_len]
        for path in [*sorted(self.kept.glob("*")), *sorted(FOUND.glob(f"{self.name}-*.bin"))]:
            yield str(path.relative_to(HERE)), path.read_bytes()


def load(name: str) -> Target:
    """Import a target; raises ImportError."""
    module = importlib.import_module(f"{__package__}.{name}")
    return Target(name, module.one, module.MAX_LEN, tuple(module.WORDS), module.seeds)
