"""Runs inside a Debian of the rig: setup, killed (SIGKILL) before a step.

python -m tests.setup.killed at STEP            --apply on this host, killed before this step
python -m tests.setup.killed everywhere ROOT    --apply on an image, killed before each step in turn, and --undo then;
                                                or --apply again; and --undo killed before each of its steps.
                                                Prints how many steps, or what is wrong.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from smtpguard.setup.applying import Setup
from smtpguard.setup.machine import Machine
from smtpguard.setup.services import services_of
from smtpguard.setup.wishes import Wishes

WISHES = Wishes(identity="bind")
"""It changes the access map, too."""
Step = Callable[[str], None]


def doing(root: str, step: Step) -> Setup:
    machine = Machine(root)
    return Setup(machine, services_of(machine), lambda _: None, step)


def killer(number: int) -> Step:
    """Return a step that ends this process before the step of this number."""
    count = 0

    def step(_: str) -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return step


def in_child(act: Callable[[], None]) -> bool:
    """Do it in a process; True if that was killed, False if it came to its end."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
            os._exit(0)
        except BaseException:  # noqa: BLE001  # told, and then it is over
            traceback.print_exc()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, "it failed"
    return False


def state(root: str) -> dict[str, tuple[object, ...]]:
    """Return all there is of each file in the folders that setup writes to, but for when m4 made a file."""
    found: dict[str, tuple[object, ...]] = {}
    for folder in ("etc/mail", "etc/smtpguard", "etc/init.d", "usr/local", "var/lib/smtpguard-setup"):
        for place in sorted(Path(root, folder).rglob("*")):
            stat = place.lstat()
            content = hashlib.sha256(place.read_bytes()).hexdigest() if place.is_file() else ""
            time = stat.st_mtime_ns if place.is_file() else 0
            found[str(place)] = (content, stat.st_mode, stat.st_uid, stat.st_gid, time)
    return found


def everywhere(root: str) -> int:
    """Do all of it; return the number of steps at which it was killed."""

    def nothing(_: str) -> None: ...

    before = state(root)
    steps = 0
    while in_child(partial(doing(root, killer(steps + 1)).apply, WISHES)):
        steps += 1
        doing(root, nothing).undo(force=False)
        assert state(root) == before, f"undo behind step {steps}"
    doing(root, nothing).undo(force=False)
    assert state(root) == before, "undo"
    # Again on top of what was interrupted: before any file, in the middle, at the last.
    for number in (2, steps // 2, steps):
        assert in_child(partial(doing(root, killer(number)).apply, WISHES))
        doing(root, nothing).apply(WISHES)
        doing(root, nothing).undo(force=False)
        assert state(root) == before, f"apply behind step {number}"
    doing(root, nothing).apply(WISHES)
    undone = 0
    while in_child(partial(doing(root, killer(undone + 1)).undo, force=False)):
        undone += 1
        # Ended and begun anew now and then; else the next one goes on from wherever that was.
        if undone % 5 == 0:
            doing(root, nothing).undo(force=False)
            assert state(root) == before, f"undo behind step {undone} of undo"
            doing(root, nothing).apply(WISHES)
    assert state(root) == before, "the last undo"
    return steps + undone


if __name__ == "__main__":
    if sys.argv[1] == "at":
        wanted = sys.argv[2]

        def kill(step: str) -> None:
            if step == wanted:
                os.kill(os.getpid(), signal.SIGKILL)

        # As the program of a venv, which a service can start.
        sys.argv[0] = "/opt/smtpguard/bin/smtpguard"
        doing("/", kill).apply(Wishes())
    else:
        sys.argv[0] = "/opt/smtpguard/bin/smtpguard"
        print(everywhere(sys.argv[2]), "steps")  # noqa: T201
