"""What all that connects to backends and watches them goes by.

Contract: a value, of one configuration; a reload makes a new one.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from ..config.settings import Settings
from ..journal.journal import Journal
from ..policy.rules import Policy


@frozen
class Circumstances:
    """One configuration, and in what it is used."""

    reactor: Any
    settings: Settings
    policy: Policy
    journal: Journal
    host: str
    """The guard's own name, as it says it in HELO."""
