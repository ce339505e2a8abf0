"""What holds for every client and that no policy can change.

Contract: pure questions about one command.  Each answer keeps guard and backend reading the same
bytes alike; the reasons stand beside the verbs in verbs.py.
"""

from __future__ import annotations

from typing import Final

from . import answers
from .grammar import Command, Fault, Malformed
from .verbs import NEVER_FORWARDED, NEVER_FORWARDED_PREFIX, OTHER_PROTOCOLS, WITHOUT_ARGUMENT
from .verdict import Action, Verdict

_NEVER: Final = Verdict(Action.REPLY, answers.UNKNOWN)
_NOT_HERE: Final = Verdict(Action.REPLY, answers.NOT_IMPLEMENTED)
_ARGUMENT: Final = Verdict(Action.REPLY, answers.NO_ARGUMENT)


def never_forwarded(verb: bytes) -> bool:
    """True if `verb` (upper case) never reaches the backend, whatever its argument."""
    return verb in NEVER_FORWARDED or verb.startswith(NEVER_FORWARDED_PREFIX) or verb in (b"STARTTLS", b"BDAT")


def kept_back(command: Command) -> Verdict | None:
    """Return the answer to a command that is not forwarded even if the policy would."""
    if command.verb in WITHOUT_ARGUMENT and command.argument is not None:
        return _ARGUMENT
    if not never_forwarded(command.verb):
        return None
    return _NOT_HERE if command.verb in (b"STARTTLS", b"BDAT") else _NEVER


def must_be_last(command: Command) -> bool:
    """True if the reply decides what the octets behind this command are (RFC 2920 3.1)."""
    if command.verb == b"AUTH":
        # Without an initial response the next line is a response or a command, as the reply says.
        return b" " not in (command.argument or b"").strip(b" ")
    return command.verb in (b"DATA", b"STARTTLS") and command.argument is None


def is_other_protocol(line: Command | Malformed) -> bool:
    """True if the first line of a session is one of HTTP, or a header field as HTTP and mail have."""
    if isinstance(line, Command):
        return line.verb in OTHER_PROTOCOLS
    name, colon, _ = line.line.partition(b":")
    return bool(colon) and line.fault is Fault.SHAPE and b" " not in name
