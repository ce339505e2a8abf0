"""What the settings need of the file system: the hook's program, the folders of the admin socket and of the state file.

Contract: nothing is opened or made.  What the service does without, or what systemd makes when it starts, is a warning;
what ends the start is a fault.  What this process may not see is not told.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .admin import parse_admin
from .faults import Fault
from .yaml_reader import Path_

if TYPE_CHECKING:
    from .settings import Loaded

MADE_AT_START: Final = {
    Path("/run"): "RuntimeDirectory",
    Path("/var/run"): "RuntimeDirectory",
    Path("/var/lib"): "StateDirectory",
}
"""Where systemd makes folders for a unit, and by which setting."""


def faults_of(loaded: Loaded) -> list[Fault]:
    """Return faults and warnings."""
    return [*_admin(loaded), *_state(loaded), *_hook(loaded)]


def _admin(loaded: Loaded) -> list[Fault]:
    found = []
    for number, text in enumerate(loaded.settings.admin):
        path = parse_admin(text).path
        if path:
            found += _folder(loaded, ("admin", number), "admin", Path(path), "")
    return found


def _state(loaded: Loaded) -> list[Fault]:
    path = loaded.settings.state.path({})  # where systemd says where it is, systemd has made it
    if path is None:
        return []
    without = "bans and incidents are in memory only until there is one"
    return _folder(loaded, ("state", "file"), "state", Path(path), without)


def _folder(loaded: Loaded, place: Path_, key: str, path: Path, without: str) -> list[Fault]:
    """`without` is what the service does without it; empty if it does nothing."""
    folder = path.parent
    try:
        if folder.is_dir():
            return []
        text = f"there is no directory {folder}"
        if folder.exists():
            text = f"{folder} is no directory"
    except OSError:
        return []  # not for us to see
    made = next((base for base in MADE_AT_START if base in folder.parents), None)
    if made is not None:
        text += f"; systemd makes it when a unit with {MADE_AT_START[made]}={folder.relative_to(made)} starts"
    if without:
        text += f"; {without}"
    return [loaded.places.fault(place, f"{key}: {text}", warning=made is not None or bool(without))]


def _hook(loaded: Loaded) -> list[Fault]:
    hook = loaded.settings.incidents.hook
    if hook is None or hook.command is None:
        return []
    program = hook.command[0]
    try:
        mode = os.stat(program).st_mode
    except PermissionError:
        return []
    except OSError as error:
        wrong = f"{program}: {error.strerror}"
    else:
        if stat.S_ISREG(mode) and mode & 0o111:
            return []
        wrong = f"{program} is not executable" if stat.S_ISREG(mode) else f"{program} is no program"
    text = f"command: {wrong}; no incident is told to it until that is mended"
    return [loaded.places.fault(("incidents", "hook", "command", 0), text, warning=True)]
