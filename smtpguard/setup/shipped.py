"""The files that come with the program, and the program itself.

Contract: nothing is written.  Found beside the program: in a checkout, below the prefix of a virtual environment, or in
/usr/share, where a package of the system has them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from .refusals import Refused

_CHECKOUT: Final = Path(__file__).parents[2]
SYSTEMD: Final = "systemd"
INIT: Final = "init.d"


def text(folder: str, name: str) -> str:
    """Return a shipped file; raises Refused if the installation lacks it."""
    checkout = _CHECKOUT / "systemd" if folder == SYSTEMD else _CHECKOUT / "smtpguard/share" / folder
    places = [checkout, *(Path(prefix, "share/smtpguard", folder) for prefix in (sys.prefix, "/usr"))]
    for place in places:
        if (place / name).is_file():
            return (place / name).read_text("utf-8")
    raise Refused(f"{name} did not come with this smtpguard: looked in {', '.join(map(str, places))}.")


def program() -> str:
    """Return the path of the running program, for a unit; raises Refused if there is none but an interpreter."""
    for place in (Path(sys.argv[0]), Path(sys.executable).with_name("smtpguard"), Path("/usr/bin/smtpguard")):
        if place.name == "smtpguard" and place.is_absolute() and place.is_file():
            return str(place)
    raise Refused(
        f"There is no program `smtpguard` beside {sys.executable}, which a service could start.  Install it first: "
        "python3 -m venv /opt/smtpguard, then /opt/smtpguard/bin/pip install as README.md says, and run "
        "/opt/smtpguard/bin/smtpguard setup sendmail."
    )
