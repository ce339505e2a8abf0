"""Whose turn it is in a session, and how long it may take.

Contract: names and tables only; dialogue.py has the theory.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Phase(Enum):
    """What the next octets of the client are; the table in dialogue.py says more."""

    __hash__ = object.__hash__  # by identity: an Enum's own is made from the name, each time anew

    BANNER = "banner"
    COMMAND = "command"
    DELAYED = "delayed"
    REPLY = "reply"
    CONTENT = "content"
    SASL = "sasl"
    CHUNK = "chunk"
    REFUSED = "refused"
    TLS = "tls"
    TUNNEL = "tunnel"
    OVER = "over"


class Awaited(Enum):
    """What is waited for; the shell has a time-out for each (RFC 5321 4.5.3.2)."""

    __hash__ = object.__hash__

    BANNER = "banner"
    COMMAND = "command"
    REPLY = "reply"
    DATA_REPLY = "data_reply"
    DATA_BLOCK = "data_block"
    DATA_END = "data_end"
    CHUNK = "chunk"
    TLS = "tls"
    TUNNEL = "tunnel"
    NOTHING = "nothing"


AWAITED: Final = {
    Phase.COMMAND: Awaited.COMMAND,
    Phase.SASL: Awaited.COMMAND,
    Phase.REFUSED: Awaited.COMMAND,
    Phase.REPLY: Awaited.REPLY,
    Phase.DELAYED: Awaited.NOTHING,
    Phase.TLS: Awaited.TLS,
    Phase.TUNNEL: Awaited.TUNNEL,
}
"""What a phase waits for where the dialogue does not say."""

CLIENT_OWES: Final = frozenset({Awaited.COMMAND, Awaited.DATA_BLOCK, Awaited.CHUNK, Awaited.TLS, Awaited.TUNNEL})
"""The client is to blame for these time-outs, the backend for the others."""

BACKEND_SPEAKS: Final = frozenset({Phase.BANNER, Phase.REPLY, Phase.CONTENT})
"""Phases in which a reply, or the beginning of one, may come; a CHUNK that is forwarded is another."""

MUTE: Final = frozenset({Phase.TLS, Phase.TUNNEL})
"""Phases in which the guard has no voice: what it said would be taken for a part of the encryption."""
