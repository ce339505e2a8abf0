"""Where certificates lie: single files, pairs of files, and directories as people and ACME clients lay them out.

Contract: `find` names the files of each certificate and does not read them.  It follows symbolic links
and goes down one level, so that no cycle of links can lead it astray; what is no certificate (a README,
a hidden file) is passed over.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from ..config.faults import Fault

Source = Path | tuple[Path, Path]
"""A directory, a file with chain and key, or a chain and a key."""

ENTRIES: Final = 10_000
"""Of a directory; more is not a directory of certificates."""
EXTENSIONS: Final = (".crt", ".cer", ".pem")
"""Of a chain: where a name has several, the first of these is read."""
CHAIN, KEY = "fullchain.pem", "privkey.pem"
"""As certbot and its likes call them."""


@frozen
class Place:
    """The files of one certificate."""

    name: str
    """What the files have in common; `default` is the certificate for whoever asks for no name that is known."""
    chain: Path
    key: Path | None
    """None: in the same file."""
    hint: str
    """What to do if there is no key."""


def trouble(path: Path, error: OSError) -> Fault:
    """Return the fault of a file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        text = "the file that this link leads to is missing" if path.is_symlink() else "no such file"
    elif isinstance(error, PermissionError):
        text = "permission denied: whom the guard runs as must be able to read it"
    else:
        text = f"not readable: {error.strerror or type(error).__name__}"
    return Fault(str(path), 1, 1, text)


def find(sources: Sequence[Source]) -> tuple[list[Place], list[Fault]]:
    """Return the places in the order of the sources, those of a directory sorted by name."""
    places: list[Place] = []
    faults: list[Fault] = []
    for source in sources:
        if isinstance(source, tuple):
            places.append(Place(source[0].stem, *source, "name the file that has it"))
            continue
        try:
            if not stat.S_ISDIR(os.stat(source).st_mode):
                hint = "put it into the same file, or name a pair of files"
                places.append(Place(source.stem, source, None, hint))
                continue
            _Directory(source, faults).find(places)
        except OSError as error:
            faults.append(trouble(source, error))
    return places, faults


class _Directory:
    def __init__(self, path: Path, faults: list[Fault]) -> None:
        self._path = path
        self._faults = faults

    def find(self, places: list[Place]) -> None:
        """Add what lies in this directory; raises OSError if it cannot be read."""
        before = len(places), len(self._faults)
        entries = sorted(self._entries())
        if not entries:
            self._fault(self._path, "the directory is empty: put a chain and its key there, as NAME.crt and NAME.key")
        elif len(entries) > ENTRIES:
            self._fault(self._path, f"more than {ENTRIES} files: this is no directory of certificates")
        elif CHAIN in entries and KEY in entries:
            places.append(self._pair(self._path))
        else:
            self._add(entries, places)
            if before == (len(places), len(self._faults)):
                self._fault(
                    self._path,
                    "no certificate in it: a chain and its key are NAME.crt and NAME.key, NAME.pem with both, "
                    f"or NAME/{CHAIN} and NAME/{KEY}",
                )

    def _entries(self) -> Iterator[str]:
        with os.scandir(self._path) as entries:
            for number, entry in enumerate(entries):
                if number > ENTRIES:
                    return
                if not entry.name.startswith("."):
                    yield entry.name

    def _add(self, entries: Sequence[str], places: list[Place]) -> None:
        there = set(entries)
        taken: dict[str, Place] = {}
        for extension in EXTENSIONS:
            for entry in entries:
                name = entry.removesuffix(extension)
                if name == entry or self._is_directory(entry):
                    continue
                if name in taken:
                    text = f"not read: {taken[name].chain.name} is; remove one of them"
                    self._fault(self._path / entry, text, warning=True)
                    continue
                key = f"{name}.key" if f"{name}.key" in there else None
                hint = f"put {name}.key beside it, or the key into the same file"
                taken[name] = Place(name, self._path / entry, self._path / key if key else None, hint)
        for entry in entries:
            name = entry.removesuffix(".key")
            if self._is_directory(entry):
                if not self._is_pair(self._path / entry):
                    continue
                if entry in taken:
                    text = f"not read: {taken[entry].chain.name} beside it is; remove one of them"
                    self._fault(self._path / entry, text, warning=True)
                else:
                    taken[entry] = self._pair(self._path / entry)
            elif name not in (entry, *taken):
                text = f"a key without its certificate: put {name}.crt beside it"
                self._fault(self._path / entry, text, warning=True)
        places.extend(taken[name] for name in sorted(taken))

    def _is_directory(self, entry: str) -> bool:
        try:
            return stat.S_ISDIR(os.stat(self._path / entry).st_mode)
        except OSError:
            return False  # a link to nothing, or to itself; if it was meant, reading it says so

    def _is_pair(self, folder: Path) -> bool:
        found = []
        for name in (CHAIN, KEY):
            try:
                os.lstat(folder / name)
                found.append(name)
            except FileNotFoundError:
                pass
            except OSError as error:
                self._faults.append(trouble(folder / name, error))
                return False
        if len(found) == 1:
            (missing,) = {CHAIN, KEY} - {*found}
            self._fault(folder, f"{found[0]} is there, but {missing} is not: put it beside it")
        return len(found) == 2

    def _pair(self, folder: Path) -> Place:
        return Place(folder.name, folder / CHAIN, folder / KEY, f"{KEY} must have it")

    def _fault(self, path: Path, text: str, *, warning: bool = False) -> None:
        self._faults.append(Fault(str(path), 1, 1, text, warning))
