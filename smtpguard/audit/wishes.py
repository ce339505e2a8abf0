"""What the caller of an audit may choose.

Contract: values only; whoever makes one has checked that its texts can stand in a command.
"""

from __future__ import annotations

import secrets
from enum import Enum
from typing import Final

from attrs import field, frozen

TIMEOUT: Final = 10.0
"""Seconds for a reply, if nobody says otherwise."""


class Tls(Enum):
    """How a conversation is encrypted."""

    STARTTLS = "starttls"
    """It begins in clear, and the encryption is asked about."""
    IMPLICIT = "implicit"
    """TLS from the first octet, as on port 465 (RFC 8314 3)."""


@frozen
class Wishes:
    """What the caller may choose."""

    host: str
    """A name or an address."""
    port: int = 25
    timeout: float = TIMEOUT
    helo: str = ""
    """What EHLO says; empty for the address literal of the own side."""
    known: str = "postmaster"
    """A local part that exists there: RFC 5321 4.5.1 wants this one everywhere."""
    recipient: str = "smtpguard-audit@example.com"
    """A foreign address; it never gets mail from here."""
    source: str = ""
    """The own address to connect from; empty for the system's choice."""
    tls: Tls = Tls.STARTTLS
    unknown: str = field(factory=lambda: f"nobody-{secrets.token_hex(6)}")
    """A local part that does not exist there."""
