"""Files read for one network: their lines with their places, and what is wrong with them.

Contract: every bound is named here; what is beyond one is an error, and nothing is read from there on.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import define, field, frozen

from ...policy.networks import Block, parse_block
from ..faults import Fault
from ..plain_files import octets_of

FILE_OCTETS: Final = 8 * 1024 * 1024
"""Largest file read: 250,000 networks have 5 MB."""
MOST_NETWORKS: Final = 250_000
"""Of one file, those that exclusions cut it into included; more take seconds at every reload."""
MOST_FILES: Final = 64
"""Files read for one, itself included: those that it names."""
MOST_LISTS: Final = 1000
"""Lists, variables and macros that are looked up for one: one that is named ten times by each of ten others is many."""
ERRORS: Final = 100
"""Errors before a file is given up: of one that is no such file, nobody wants to see every line."""

_CONTROL: Final = re.compile(r"[\0-\x08\x0e-\x1f\x7f]")


class GivenUp(Exception):
    """Nothing more is read; why is among the faults."""


@frozen(eq=False)
class Word:
    """A piece of a file."""

    file: str
    line: int
    column: int
    text: str

    def part(self, start: int, text: str) -> Word:
        """Return what stands so far behind the beginning."""
        return Word(self.file, self.line, self.column + start, text)


@define
class Reading:
    """What was found so far."""

    faults: list[Fault] = field(factory=list)
    errors: int = 0
    _files: int = 0
    _networks: int = 0
    _lists: int = 0

    def fault(self, word: Word, text: str) -> None:
        """Take down an error; raises GivenUp if they are too many."""
        self.faults.append(Fault(word.file, word.line, word.column, text))
        self.errors += 1
        if self.errors == ERRORS:
            self._give_up(word, f"not read from here on, after {ERRORS} errors")

    def warn(self, word: Word, text: str) -> None:
        self.faults.append(Fault(word.file, word.line, word.column, text, warning=True))

    def enter(self, word: Word) -> None:
        """Count a list that `word` names; raises GivenUp if they are too many."""
        self._lists += 1
        if self._lists > MOST_LISTS:
            self._give_up(word, f"not read from here on, after {MOST_LISTS} lists that are named")

    def block(self, word: Word, text: str) -> Block | None:
        """Return the network that is written so, or None with the fault; raises GivenUp if they are too many."""
        self._networks += 1
        if self._networks > MOST_NETWORKS:
            self._give_up(word, f"not read from here on, after {MOST_NETWORKS} networks")
        try:
            return parse_block(text)
        except ValueError as error:
            self.fault(word, str(error))
            return None

    def lines(self, name: str, asked: Word | None = None) -> list[Word]:
        """Return the lines that can be read; raises OSError, or notes it at `asked`, the word that names the file."""
        self._files += 1
        if self._files > MOST_FILES:
            self._give_up(asked or Word(name, 1, 1, ""), f"not read: this is more than {MOST_FILES} files")
        try:
            octets = octets_of(name, FILE_OCTETS)
        except OSError as error:
            if asked is None:
                raise
            self.fault(asked, f"{name}: {error.strerror or error}")
            return []
        if len(octets) > FILE_OCTETS:
            self._give_up(Word(name, 1, 1, ""), f"file larger than {FILE_OCTETS} octets")
        if not octets.strip():
            # What is left of a file that was cut off must not pass for one in which nobody stands.
            self.fault(Word(name, 1, 1, ""), "the file is empty: if nobody is meant, write a comment into it")
        lines = []
        for number, line in enumerate(octets.split(b"\n"), 1):
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                at = Word(name, number, error.start + 1, "")
                self.fault(at, f"octet 0x{line[error.start]:02X} is not UTF-8")
                continue
            if found := _CONTROL.search(text):
                at = Word(name, number, found.start() + 1, "")
                self.fault(at, f"octet 0x{ord(found[0]):02X} is no text")
                continue
            lines.append(Word(name, number, 1, text))
        return lines

    def _give_up(self, word: Word, text: str) -> None:
        self.errors += 1
        self.faults.append(Fault(word.file, word.line, word.column, text))
        raise GivenUp
