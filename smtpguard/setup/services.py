"""Starting and stopping the mail server and the guard, by whatever starts services on this host.

Contract: each call ends when it has been done, or raises Failed with the words of what said no.  All are harmless
twice.
"""

from __future__ import annotations

from typing import Final, Protocol

from .guard_files import INIT_SCRIPT
from .machine import Machine
from .refusals import Failed

GUARD: Final = "smtpguard"
MAIL: Final = "sendmail"
TOLD: Final = 12
"""Lines of the journal behind a start that failed: the guard says why in its last ones."""


class Services(Protocol):
    """What starts services."""

    name: str

    def is_enabled(self) -> bool:
        """True if the guard is started at boot."""

    def is_active(self) -> bool:
        """True if the guard runs."""

    def enable(self) -> None:
        """Let the guard start at boot."""

    def disable(self) -> None: ...

    def forget(self) -> None:
        """Know no more of files that were taken away."""

    def start(self) -> None:
        """Start the guard by its settings as they are now."""

    def stop(self) -> None: ...

    def restart_mail(self) -> None:
        """Let the mail server read its settings; it runs afterwards."""


class Systemd:
    """systemctl(1)."""

    name = "systemd"

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def is_enabled(self) -> bool:
        return self._says("is-enabled")

    def is_active(self) -> bool:
        return self._says("is-active")

    def enable(self) -> None:
        self._run("daemon-reload")
        self._run("enable", GUARD)

    def disable(self) -> None:
        if self.is_enabled():
            self._run("disable", GUARD)

    def forget(self) -> None:
        self._run("daemon-reload")

    def start(self) -> None:
        self._run("daemon-reload")
        self._machine.run("systemctl", "reset-failed", GUARD, may_fail=True)
        try:
            self._run("restart", GUARD)
        except Failed as failure:
            last = ("journalctl", "--unit", GUARD, "--lines", str(TOLD), "--output", "cat")
            told = self._machine.run(*last, may_fail=True)
            raise Failed(f"{failure}\n{told.stdout.decode('utf-8', 'replace')}") from None

    def stop(self) -> None:
        if self._says("cat"):
            self._run("stop", GUARD)
            # Else a failed start of ours would be told of for ever.
            self._machine.run("systemctl", "reset-failed", GUARD, may_fail=True)

    def restart_mail(self) -> None:
        self._run("daemon-reload")
        self._run("restart", MAIL)

    def _says(self, question: str) -> bool:
        return self._machine.run("systemctl", question, GUARD, may_fail=True).returncode == 0

    def _run(self, *words: str) -> None:
        self._machine.run("systemctl", "--quiet", *words)


class InitScripts:
    """service(8) and update-rc.d(8)."""

    name = "init scripts"

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def is_enabled(self) -> bool:
        return any(self._machine.at("/etc").glob(f"rc[2-5].d/S??{GUARD}"))

    def is_active(self) -> bool:
        return self._there() and self._machine.run("service", GUARD, "status", may_fail=True).returncode == 0

    def enable(self) -> None:
        self._machine.run("update-rc.d", GUARD, "defaults")

    def disable(self) -> None:
        # -f: while the script is still there, so that a start in between finds what it needs.
        self._machine.run("update-rc.d", "-f", GUARD, "remove")

    def forget(self) -> None: ...

    def start(self) -> None:
        self._machine.run("service", GUARD, "restart")

    def stop(self) -> None:
        if self._there():
            self._machine.run("service", GUARD, "stop")

    def restart_mail(self) -> None:
        self._machine.run("service", MAIL, "restart")

    def _there(self) -> bool:
        return self._machine.at(INIT_SCRIPT).exists()


class NoServices:
    """An image, in which nothing runs: links are made, nothing is started."""

    name = "nothing"

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def is_enabled(self) -> bool:
        return True

    def is_active(self) -> bool:
        return False

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def forget(self) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def restart_mail(self) -> None: ...


def services_of(machine: Machine) -> Services:
    """Return what starts services there."""
    if machine.is_image:
        return NoServices(machine)
    return Systemd(machine) if machine.has_systemd else InitScripts(machine)
