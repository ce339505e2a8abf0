"""A Debian of our own: this machine's file system with a layer over it, and a sendmail as freshly installed.

It has a root directory, processes, a host name and a network of its own, and with `systemd` a real one as its first
process.  What is written there goes to memory, and is gone at the end with all processes; nothing of this machine
changes.  Needs root, overlayfs, and the archives that `make mtas` fetches; for systemd a cgroup2 that may be written.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from .guard import ROOT
from .hosts import Host
from .sendmail import RigError, run_directory
from .wait import wait_until

NAME: Final = "mx.site.example"
_SCRIPT: Final = Path(__file__).with_name("debian.sh")
_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root", "TERM": "dumb"}


class Debian:
    """A host, for the time of a `with` block; its sendmail is installed and, with systemd, started."""

    def __init__(self, host: Host, systemd: bool) -> None:
        """`host` gives it the network."""
        self.host = host
        self.systemd = systemd
        self._place = Path()
        self._group: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0

    def __enter__(self) -> Self:
        """Make it; raises RigError with what its script said."""
        self._place = run_directory("debian")
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End all its processes, and with them its file systems."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()  # unshare --kill-child: the first process goes with it, and all others with that
            process.wait(20)
        if self._group is not None:
            group = self._group
            wait_until(lambda: _removed(group), f"{group} to be empty")
            self._group = None
        with suppress(OSError):
            (self._place / "said").unlink(missing_ok=True)
            (self._place / "root").rmdir()
            self._place.rmdir()

    # -- what a test does ---------------------------------------------------------------------------------------

    def run(self, *command: str, status: int | None = 0, seconds: float = 120) -> str:
        """Run a command in it, as root; return what it wrote on stdout and stderr."""
        done = subprocess.run(
            self.entering(*command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_ENVIRONMENT,
            timeout=seconds,
            check=False,
        )
        said = done.stdout.decode("utf-8", "backslashreplace")
        if status is not None and done.returncode != status:
            raise RigError(f"{' '.join(command)}: exit status {done.returncode}\n{said}\n{self.story()}")
        return said

    def sh(self, script: str, status: int | None = 0) -> str:
        """Run a shell script in it."""
        return self.run("sh", "-euc", script, status=status)

    def entering(self, *command: str) -> list[str]:
        """Return the command line that runs a command in it."""
        return ["nsenter", "--target", str(self._init), "--all", "--", "sh", "-c", 'cd / && exec "$@"', "sh", *command]

    def path(self, path: str) -> Path:
        """Return a file of it, as seen from here."""
        return Path(f"/proc/{self._init}/root{path}")

    def log(self) -> str:
        """Return its mail log."""
        with suppress(FileNotFoundError):
            return self.path("/var/log/mail.log").read_text("utf-8", "replace")
        return ""

    def story(self) -> str:
        """Return what may explain a failure."""
        said = (self._place / "said").read_text("utf-8", "replace") if (self._place / "said").exists() else ""
        more = ""
        with suppress(subprocess.TimeoutExpired):
            if self.systemd and self._init:
                told = self.entering("journalctl", "--no-pager", "--lines=40", "--unit=smtpguard", "--unit=sendmail")
                more = subprocess.run(told, capture_output=True, text=True, timeout=20, check=False).stdout
        return f"--- its first process\n{said[-2000:]}\n--- mail.log\n{self.log()[-3000:]}\n--- journal\n{more}"

    # -- how it is made -----------------------------------------------------------------------------------------

    def _start(self) -> None:
        (self._place / "root").mkdir()
        prefix = ["setpriv", "--pdeathsig=KILL"]
        if self.systemd:
            self._group = _cgroups() / f"smtpguard-{os.getpid()}-{secrets.token_hex(4)}"
            self._group.mkdir()
            prefix = ["sh", "-c", f'echo $$ >{self._group}/cgroup.procs; exec "$@"', "sh", *prefix]
        kinds = [
            "--mount",
            "--pid",
            "--fork",
            "--uts",
            "--ipc",
            "--kill-child",
            *(["--cgroup"] if self.systemd else []),
        ]
        with (self._place / "said").open("wb") as said, self.host.inside():
            process = subprocess.Popen(
                [*prefix, "unshare", *kinds, *self._furnishing(self._place / "root")],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=_ENVIRONMENT,
                start_new_session=True,
            )
        self._process = process
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

        def furnished() -> bool:
            if process.poll() is not None:
                raise RigError(f"{_SCRIPT} ended with {process.returncode}\n{self.story()}")
            self._init = self._init or int((children.read_text().split() or ["0"])[0])
            return bool(self._init) and self.path("/furnished").exists()

        wait_until(furnished, "a Debian to be furnished", 120, self.story)
        if self.systemd:
            wait_until(lambda: self._state() in ("running", "degraded"), "systemd to have started", 120, self.story)

    def _furnishing(self, place: Path) -> list[str]:
        """Return the command that makes its file system, in namespaces of its own, and becomes its first process."""
        init = "systemd" if self.systemd else "none"
        return [str(_SCRIPT), str(ROOT), str(place), NAME, self.host.v4, init]

    def _state(self) -> str:
        return self.run("systemctl", "is-system-running", status=None).strip()


def _cgroups() -> Path:
    """Return where cgroup2 is mounted."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise RigError("cannot run systemd: cgroup2 is mounted nowhere")


def _removed(group: Path) -> bool:
    """Remove a cgroup with those that systemd has made in it; False while a process is in it."""
    try:
        for folder, _, _ in os.walk(group, topdown=False):
            os.rmdir(folder)
    except OSError:
        return not group.exists()
    return True
