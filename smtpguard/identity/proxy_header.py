"""A header of the PROXY protocol, whichever its version, and what is none.

Contract: values only.  A fault never holds more of the octets than a log line bears, and its text
holds none of them.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from .origin import Origin

FAULT_OCTETS: Final = 80
"""How much of a faulty header is kept for the log."""


class HeaderFault(Exception):
    """The octets in front of a connection are no header; `octets` is the piece that shows it, for the log."""

    def __init__(self, what: str, octets: bytes) -> None:
        super().__init__(what)
        self.what = what
        self.octets = octets[:FAULT_OCTETS]


@frozen
class Header:
    """A header."""

    version: int
    local: bool
    """True if the sender made the connection for itself, as to see whether we are alive (version 2)."""
    origin: Origin | None
    """None where the header tells of none that has an address: LOCAL, UNKNOWN, UNSPEC, unix sockets."""
