"""Bounds of one dialogue, each with the reason for its default."""

from __future__ import annotations

from attrs import frozen


@frozen
class Bounds:
    """In octets, line ends included, but for the last."""

    line: int = 2000
    """A command or SASL line.  RFC 5321 asks for 512, ESMTP parameters add some hundred; a server
    that splits a longer line runs its tail as a command, and no buffer in use today is smaller."""
    queue: int = 65536
    """Input that waits for its turn.  A burst of 1,000 RCPT is about 40,000; the client is not read
    from while more than this waits."""
    reply_line: int = 16384
    """A line of a backend's reply; sendmail was seen to send 12,325."""
    reply: int = 1048576
    """A whole reply: the EXPN of a list with 20,000 members."""
    refused: int = 1000
    """Commands answered here before the session is closed; 0 for no bound.  It is no budget: an MUA
    that verifies every recipient of a large letter from outside still gets its answers."""
