"""What the admin endpoint asks of the service.

Contract: every method returns at once, without I/O: it is called in the event loop, which serves clients.  What is
returned can be written as JSON; client octets in it are printable already (smtpguard.journal.lines).
"""

from __future__ import annotations

from typing import Any, Protocol


class View(Protocol):
    """The service, as whoever runs it may see it."""

    def status(self) -> dict[str, Any]:
        """Return the status document (docs/monitoring.md)."""

    def ready(self) -> tuple[bool, str]:
        """Tell whether clients are served, and why, in a few words."""

    def exposition(self, openmetrics: bool) -> bytes:
        """Return the metrics in Prometheus's text format, or in OpenMetrics."""

    def incidents(self) -> list[dict[str, Any]]:
        """Return the incidents that are kept, the newest first."""

    def bans(self) -> list[dict[str, Any]]:
        """Return the bans that stand."""

    def shadow(self) -> list[list[Any]]:
        """Return what would have been decided if nothing were in shadow (smtpguard.ledger.shadowed)."""

    def lift(self, address: str) -> list[str]:
        """Let off an address, or all in a prefix; return whom something stood against."""
