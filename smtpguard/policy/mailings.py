"""The mail of a rehearsed session: from whom, to whom, and what became of it.

Contract: pure; `mailings` reads turns (rehearsed.py) in order.  A mail that is accepted is so by the server that was
supposed, or recorded.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from ..smtp.grammar import Command, is_last_chunk, recipient_of, well_formed
from .rehearsed import Turn, What


@define
class Mailing:
    """One transaction."""

    sender: bytes
    recipients: list[bytes] = field(factory=list)
    """Those that were accepted."""
    refused: list[tuple[bytes, bytes]] = field(factory=list)
    """Recipients that were not, each with the reply."""
    fate: str = "not sent"
    """`accepted`, `not sent`, or `refused: REPLY`."""


def mailings(turns: Iterable[Turn]) -> list[Mailing]:
    """Return the transactions that were begun."""
    found: list[Mailing] = []
    open_: Mailing | None = None
    for turn in turns:
        good = turn.replies.startswith(b"2")
        command = well_formed(turn.line + b"\r\n") if turn.what in (What.COMMAND, What.CHUNK) else None
        if turn.secured:
            open_ = None
        if command is not None and good:
            if command.verb == b"MAIL":
                open_ = Mailing(_sender_of(command))
                found.append(open_)
            elif command.verb in (b"RSET", b"EHLO", b"HELO"):
                open_ = None
        if open_ is None:
            continue
        if command is not None and command.verb == b"RCPT":
            if good:
                open_.recipients.append(recipient_of(command))
            elif turn.replies:
                open_.refused.append((recipient_of(command), _first_line(turn.replies)))
        last = command is not None and turn.what is What.CHUNK and is_last_chunk(command.argument)
        if (turn.what is What.CONTENT or last) and turn.replies:
            open_.fate = "accepted" if good else f"refused: {_first_line(turn.replies).decode('ascii', 'replace')}"
            open_ = None
    return found


def _sender_of(command: Command) -> bytes:
    # The same form but for its first word (RFC 5321 4.1.1.2, 4.1.1.3).
    argument = (command.argument or b"").partition(b":")[2]
    return recipient_of(Command(command.line, b"RCPT", b"TO:" + argument))


def _first_line(reply: bytes) -> bytes:
    return reply.partition(b"\r\n")[0]
