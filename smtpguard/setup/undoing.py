"""Taking back what setup has done, all of it or from wherever it was interrupted.

Contract: afterwards every file that was there is as it was, octet for octet, and what setup made is gone; but a file of
the guard's own that somebody has changed since is left.  What of the mail server's was changed since is not
overwritten, unless forced: Refused then, before anything is done; or it is left, if asked for (`spare`).  May be
interrupted and called again at any point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from . import manifest as manifests
from .machine import Known, Machine
from .manifest import Kept, Manifest, Phase
from .plan import difference
from .refusals import Refused
from .services import Services
from .waiting import wait_for_ports

Step = Callable[[str], None]
"""Called before each step with what it is."""


Tell = Callable[[str], None]


def undo(
    machine: Machine, services: Services, made: Manifest, tell: Tell, step: Step, force: bool, spare: bool = False
) -> bool:
    """Do it; return True if nothing was left as it is."""
    changed = list(_changed(machine, made.files))
    if not force and (lost := [one for one in changed if not _of_the_guard(one)]):
        told = "\n".join(line for one in lost for line in _told(machine, one))
        raise Refused(
            "Changed since `smtpguard setup`, so nothing was put back.  This is what putting back would change:\n"
            f"{told}\n--force does so all the same; carry over by hand what you want to keep, before or after it."
        )
    untouched = made.phase is Phase.CHANGING
    step("say that it is being taken back")
    if not untouched:
        made.to(Phase.UNDOING, machine)
    left = changed if spare else [] if force else [one for one in changed if _of_the_guard(one)]
    for one in left:
        tell(f"{one.path} was changed {'by somebody else' if spare else 'since'}, and is left as it is")
    files = [one for one in made.files if one not in left]
    ours = [one for one in files if one.before is None or _of_the_guard(one)]
    theirs = [one for one in files if one not in ours]
    for one in theirs:
        step(f"put {one.path} back")
        _put_back(machine, one)
    if not untouched:
        step("stop the guard")
        services.stop()
        step("restart sendmail")
        services.restart_mail()
        if not machine.is_image:
            wait_for_ports(machine, [(address, 25) for address in made.were], "sendmail")
        tell("sendmail listens at port 25 again")
    if not made.enabled:
        step("let the guard no longer start at boot")
        services.disable()
    for one in ours:
        step(f"take {one.path} away")
        if one.before is not None:
            _put_back(machine, one)
        elif not _take_away(machine, one):
            tell(f"{one.path} was changed since, and is left as it is")
            left.append(one)
    for folder in reversed(made.folders):
        with suppress(OSError):  # something else is in it, or it is gone
            machine.at(folder).rmdir()
    step("let the service manager know")
    services.forget()
    if made.active and not untouched:
        step("start the guard as it was before")
        services.start()
    step("forget the backups")
    manifests.forget(machine)
    return not left


def _of_the_guard(one: Kept) -> bool:
    """True for the guard's settings and policy, which the Debian package has put there before setup changed them."""
    return one.path.startswith("/etc/smtpguard/")


def _changed(machine: Machine, files: Iterable[Kept]) -> Iterator[Kept]:
    """Yield the files that were there before, and are now neither as they were nor as setup has made them."""
    for one in files:
        if one.before is None:
            continue
        now = machine.known(one.path)
        if now is None or now.sha256 not in (one.before.sha256, one.after):
            yield one


def _told(machine: Machine, one: Kept) -> Iterator[str]:
    return difference(one.path, machine.read(one.path), machine.read(one.backup))


def _put_back(machine: Machine, one: Kept) -> None:
    machine.left_over(one.path)
    if one.before is None or machine.known(one.path) == one.before:
        return
    content = machine.read(one.backup)
    if content is None:
        raise Refused(f"The backup {one.backup} of {one.path} is gone; nothing else can be put back by itself.")
    machine.write(one.path, content, one.before)


def _take_away(machine: Machine, one: Kept) -> bool:
    """Remove a file that setup has made; False if somebody has changed it since."""
    machine.left_over(one.path)
    now: Known | None = machine.known(one.path)
    if now is not None and now.sha256 != one.after:
        return False
    machine.remove(one.path)
    return True
