"""Bounds of one dialogue.

Contract: data; each has the reason for its default beside it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """In octets, line ends included.  Those of the client's lines are in the backend's profile."""

    queue: int = 65536
    """Input that waits for its turn.  A burst of 1,000 RCPT is about 40,000; the client is not read
    from while more than this waits."""
    reply_line: int = 16384
    """A line of a backend's reply; sendmail was seen to send 12,325."""
    reply: int = 1048576
    """A whole reply: the EXPN of a list with 20,000 members."""
