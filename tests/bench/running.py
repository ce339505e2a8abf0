"""A process that is measured: started, waited for until it listens, ended by its id.

Contract: nothing outlives the `with` block, nor the thread that began it (prctl(2), PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from tests.rig.sendmail import RigError
from tests.rig.unpacked import UNPACKED
from tests.rig.wait import wait_until

from .kernel import Tree

START_SECONDS: Final = 30.0
"""For a process to listen, on a machine that others use too."""
POSTFIX: Final = UNPACKED / "postfix"


class BenchError(RigError):
    """The benchmark itself cannot run; the text says why."""


class Running:
    """One process, with a directory of its own, and what it prints in a file there."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        port: int,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        core: int | None = None,
    ) -> None:
        """Only take the settings; with `core` it runs on that processor alone."""
        self.name = name
        self.port = port
        self._command = list(command)
        self._core = core
        self._environment = environment
        self._cwd = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.directory = scratch(name)

    def with_command(self, command: Sequence[str]) -> Self:
        """Set the command, where it names files of `directory`."""
        self._command = list(command)
        return self

    def __enter__(self) -> Self:
        """Start it; raise BenchError with its own words if it does not listen."""
        bound = ["taskset", "-c", str(self._core)] if self._core is not None else []
        with (self.directory / "output").open("wb") as output:
            process = self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", *bound, *self._command],
                cwd=self._cwd or "/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(self._environment or {})},
                start_new_session=True,
            )

        def ready() -> bool:
            if process.poll() is not None:
                raise BenchError(f"{self.name} ended with {process.returncode} at start\n{self.story()}")
            return answers(self.port)

        try:
            wait_until(ready, f"{self.name} to listen", START_SECONDS, self.story)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it and remove its files."""
        self.stop()

    def stop(self) -> None:
        """End it, and whatever it started, and remove its files; harmless twice."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # a group of its own, see start_new_session
            process.wait(5)
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def tree(self) -> Tree:
        """What the kernel counts of it."""
        assert self._process is not None, f"{self.name} is not running"
        return Tree(self._process.pid)

    def story(self) -> str:
        """Return the end of what it has printed."""
        return (self.directory / "output").read_text("latin-1")[-3000:]


def answers(port: int) -> bool:
    """Tell whether something listens; not by /proc/net/tcp, which thousands of ended sessions make long."""
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Make a directory for the files of one figure, and remove it."""
    directory = scratch("files")
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def scratch(name: str) -> Path:
    """Make a directory of our own for one process."""
    directory = Path(tempfile.mkdtemp(prefix=f"smtpguard-bench-{name}-"))
    directory.chmod(0o755)  # some give up root
    return directory


def postfix(program: str) -> tuple[list[str], dict[str, str]]:
    """Return the command of a program of the unpacked Postfix, and what its environment needs to find its libraries."""
    path = POSTFIX / "usr/sbin" / program
    if not path.exists():
        raise BenchError(f"missing: {path}, made by: make mtas")
    libraries = [POSTFIX / "usr/lib/postfix", POSTFIX / "usr/lib/x86_64-linux-gnu"]
    return [str(path)], {"LD_LIBRARY_PATH": ":".join(map(str, libraries))}
