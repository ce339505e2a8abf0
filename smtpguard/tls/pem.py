"""PEM files: read within bounds, and cut into their blocks.

Contract: `read` reads regular files only, waits for nothing, and raises OSError; what it returns is no
longer than FILE_OCTETS.  `blocks` finds what is armoured (RFC 7468) and on which line,
and passes over the text between.
"""

from __future__ import annotations

import os
import re
import stat
from errno import EFBIG, EISDIR, ENXIO
from pathlib import Path
from typing import Final

from attrs import field, frozen

FILE_OCTETS: Final = 1024 * 1024
"""A chain has some 10 KiB; the list of all authorities that Debian trusts has 220 KiB."""


@frozen
class Block:
    """One armoured block."""

    label: str
    """CERTIFICATE, PRIVATE KEY, EC PRIVATE KEY, ..."""
    line: int
    """1-based."""
    octets: bytes = field(repr=False)

    @property
    def is_certificate(self) -> bool:
        return self.label in ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")

    @property
    def is_key(self) -> bool:
        return self.label.endswith("PRIVATE KEY")

    @property
    def is_enciphered(self) -> bool:
        """True if the key needs a passphrase (RFC 5958, RFC 1421 4.6.1.1)."""
        return self.label.startswith("ENCRYPTED ") or b"Proc-Type: 4,ENCRYPTED" in self.octets


_ARMOUR: Final = re.compile(rb"^-----(BEGIN|END) ([A-Z0-9 ]{1,40})-----[ \t]*\r?$", re.MULTILINE)


def blocks(octets: bytes) -> list[Block]:
    """Return the blocks of a file, in their order; one without its end is none."""
    found: list[Block] = []
    line, counted = 1, 0
    begun: re.Match[bytes] | None = None
    for armour in _ARMOUR.finditer(octets):
        kind, label = armour.groups()
        if kind == b"BEGIN":
            begun = armour
        elif begun is not None and begun.group(2) == label:
            line += octets.count(b"\n", counted, begun.start())
            counted = begun.start()
            found.append(Block(label.decode("ascii"), line, octets[begun.start() : armour.end()] + b"\n"))
            begun = None
    return found


def read(path: Path) -> bytes:
    """Return what is in a file; raises OSError, also for what is no regular file, or too long."""
    octets, _ = read_with_mode(path)
    return octets


def read_with_mode(path: Path) -> tuple[bytes, int]:
    """Return what is in a file, and its permission bits."""
    # Not to wait for the other end of a FIFO.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            code, text = (EISDIR, "is a directory") if stat.S_ISDIR(mode) else (ENXIO, "is no regular file")
            raise OSError(code, text, str(path))
        with open(descriptor, "rb", closefd=False) as file:
            octets = file.read(FILE_OCTETS + 1)
    finally:
        os.close(descriptor)
    if len(octets) > FILE_OCTETS:
        raise OSError(EFBIG, f"has more than {FILE_OCTETS} octets", str(path))
    return octets, stat.S_IMODE(mode)
