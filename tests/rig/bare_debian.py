"""A Debian with systemd and Python and little else: what the Debian package is tried on.

Its file system is what tools/bare-debian made, in memory.  There is no mail server, no file of this machine and no way
out of it, so that what the package needs is there or in its dependencies.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from .debian import NAME, Debian
from .hosts import Host
from .sendmail import RigError

ARCHIVE: Final = Path(__file__).parents[2] / ".mtas/bookworm.tar"
"""Made by `make mtas`."""

_SCRIPT: Final = Path(__file__).with_name("bare_debian.sh")


class BareDebian(Debian):
    """A host, for the time of a `with` block."""

    def __init__(self, host: Host) -> None:
        super().__init__(host, systemd=True)

    def _furnishing(self, place: Path) -> list[str]:
        if not ARCHIVE.exists():
            raise RigError(f"{ARCHIVE} is not there: make mtas")
        return ["sh", str(_SCRIPT), str(ARCHIVE), str(place), NAME]

    def says(self, name: str, unit: str = "smtpguard.service") -> str:
        """Return what systemd says of a unit, as in `says("ActiveState")`."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def journal(self, unit: str = "smtpguard.service") -> list[dict[str, str]]:
        """Return the fields of all that a unit's processes have logged."""
        said = self.run("journalctl", "--no-pager", "--output=json", f"_SYSTEMD_UNIT={unit}", status=None)
        return [json.loads(line) for line in said.splitlines() if line.startswith("{")]
