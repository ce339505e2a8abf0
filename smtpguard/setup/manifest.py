"""What setup has changed, kept so that it can be taken back: octet for octet, with modes, owners and times.

Contract: everything is in a folder of root's own, /var/lib/smtpguard-setup.  `Manifest.save` is complete on disk when
it returns, and the backups are before it, so whenever the machine stops there is either no manifest and nothing
changed, or one with all that is needed.  It is not in the guard's own folder, which systemd gives to the guard's user.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final

from attrs import define, field, frozen

from .machine import Known, Machine, sync_folder
from .plan import Plan
from .refusals import Refused

FOLDER: Final = "/var/lib/smtpguard-setup"
_FILE: Final = f"{FOLDER}/manifest.json"
_LOCK: Final = f"{FOLDER}/lock"
_VERSION: Final = 1


class Phase(Enum):
    """How far it has come."""

    CHANGING = "changing"
    """Files are being changed; the mail server runs as before."""
    SWITCHING = "switching"
    """The mail server and the guard are being started by them."""
    APPLIED = "applied"
    UNDOING = "undoing"


@frozen
class Kept:
    """One file: what it was, what setup made of it, and where the backup is."""

    path: str
    before: Known | None
    after: str
    """SHA-256 of what setup has written."""
    backup: str
    """Path of the backup; empty if there was no file."""


@define
class Manifest:
    """All of it."""

    phase: Phase
    wishes: dict[str, Any]
    listen: list[str]
    were: list[str]
    """Where the mail server listened at port 25."""
    behind: list[str]
    enabled: bool
    """The guard was started at boot before."""
    active: bool
    """The guard ran before."""
    files: list[Kept] = field(factory=list)
    folders: list[str] = field(factory=list)
    """Made by setup, the outermost first."""

    def save(self, machine: Machine) -> None:
        """Write it."""
        document = {
            "version": _VERSION,
            "phase": self.phase.value,
            "wishes": self.wishes,
            "listen": self.listen,
            "were": self.were,
            "behind": self.behind,
            "enabled": self.enabled,
            "active": self.active,
            "folders": self.folders,
            "files": [
                {
                    "path": one.path,
                    "before": one.before.as_dict() if one.before is not None else None,
                    "after": one.after,
                    "backup": one.backup,
                }
                for one in self.files
            ],
        }
        machine.write(_FILE, json.dumps(document, indent=2).encode(), Known("", 0o600, 0, 0, 0))

    def to(self, phase: Phase, machine: Machine) -> None:
        """Say how far it has come."""
        self.phase = phase
        self.save(machine)


def load(machine: Machine) -> Manifest | None:
    """Return what there is; None if nothing was set up.  Raises Refused for what cannot be read."""
    content = machine.read(_FILE)
    if content is None:
        return None
    try:
        read = json.loads(content)
        if read["version"] != _VERSION:
            raise ValueError(f"version {read['version']}")
        files = [
            Kept(one["path"], Known(**one["before"]) if one["before"] else None, one["after"], one["backup"])
            for one in read["files"]
        ]
        words = {key: read[key] for key in ("wishes", "listen", "were", "behind", "enabled", "active", "folders")}
        return Manifest(phase=Phase(read["phase"]), files=files, **words)
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{_FILE} is not what this smtpguard writes ({error}); the backups are beside it.") from None


def begin(machine: Machine, plan: Plan, enabled: bool, active: bool) -> Manifest:
    """Keep what the plan will change, and return the manifest, saved."""
    made = Manifest(
        Phase.CHANGING,
        {"port": plan.wishes.port, "identity": plan.wishes.identity, "mail_dir": plan.wishes.mail_dir},
        list(plan.listen),
        list(plan.were),
        list(plan.behind),
        enabled,
        active,
    )
    for number, change in enumerate(plan.changes):
        backup = ""
        if change.before is not None and change.known is not None:
            backup = f"{FOLDER}/{number:02}-{change.path.rpartition('/')[2]}"
            machine.write(backup, change.before, Known("", 0o600, 0, 0, 0))
        made.files.append(Kept(change.path, change.known, change.digest, backup))
        for folder in reversed(list(_missing(machine, change.path))):
            if folder not in made.folders:
                made.folders.append(folder)
    made.save(machine)
    return made


def forget(machine: Machine) -> None:
    """Take manifest and backups away: everything is as it was."""
    machine.at(_FILE).unlink(missing_ok=True)  # first, so that there is never one without its backups
    for place in machine.at(FOLDER).iterdir():
        if place != machine.at(_LOCK):  # which `alone` holds
            place.unlink()


@contextmanager
def alone(machine: Machine) -> Iterator[None]:
    """Let one setup run at a time; raises Refused if another does."""
    folder = machine.at(FOLDER)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise Refused(f"{FOLDER} is not root's own: who can write there could have files of root's replaced.")
    sync_folder(folder.parent)
    descriptor = os.open(machine.at(_LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("Another `smtpguard setup` runs.") from None
        yield
    finally:
        os.close(descriptor)
        if not machine.at(_FILE).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _missing(machine: Machine, path: str) -> Iterator[str]:
    """Yield the folders that a file needs and that are not there, the innermost first."""
    folder = path.rpartition("/")[0]
    while folder and not machine.at(folder).is_dir():
        yield folder
        folder = folder.rpartition("/")[0]
