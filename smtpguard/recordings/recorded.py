"""A session that was recorded: who talked with whom, and what was said in which order.

Contract: values only.  What is said is octets as they were on the wire, in the order in which they were seen there;
runs of one side stand in one piece.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ..policy.networks import Peer

SESSION_OCTETS: Final = 64 * 1024 * 1024
"""Of one session: more than a message that mail servers take (10 to 50 MB) with its base64; what comes behind is left
out, and that is told."""
OPEN_OCTETS: Final = 512 * 1024 * 1024
"""Of all that have not ended; the memory that this takes."""
RUN_OCTETS: Final = 256
"""What a run takes beside its octets, and is counted with: a byte that each side says in turn fills memory, too."""


class Unreadable(Exception):
    """A file is no recording that can be read; the text says why, and what can be read."""


@dataclass
class Run:
    """What one side said until the other one spoke."""

    from_client: bool
    octets: bytearray


@dataclass
class Recorded:
    """One session."""

    number: int
    """By the order in which sessions began, from 1 on."""
    client: Peer | None
    """None where the recording does not say, as in a transcript."""
    client_port: int = 0
    server: str = ""
    server_port: int = 0
    began: float | None = None
    """Seconds since 1970; None where the recording does not say."""
    runs: list[Run] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """What is missing of it, and why."""
    readable_in_tls: bool = False
    """What was said behind STARTTLS is here in clear, as a transcript has it."""
    octets: int = 0
    """What it takes in memory."""

    def said(self, from_client: bool, octets: bytes | memoryview) -> bool:
        """Add what one side said; False if it was too much, and was left out."""
        if not octets:
            return True
        if self.octets + len(octets) > SESSION_OCTETS:
            return False
        self.octets += len(octets)
        if self.runs and self.runs[-1].from_client is from_client:
            self.runs[-1].octets += octets
        else:
            self.octets += RUN_OCTETS
            self.runs.append(Run(from_client, bytearray(octets)))
        return True

    def tell(self, what: str) -> None:
        """Note once what is missing."""
        if what not in self.told:
            self.told.append(what)

    @property
    def mark(self) -> tuple[int, int]:
        """Where the recording is now, for `cut`."""
        return len(self.runs), len(self.runs[-1].octets) if self.runs else 0

    def cut(self, mark: tuple[int, int]) -> None:
        """Leave out all that was said behind `mark`."""
        runs, octets = mark
        del self.runs[runs:]
        if self.runs:
            del self.runs[-1].octets[octets:]
        self.octets = sum(len(run.octets) + RUN_OCTETS for run in self.runs)
