"""Where a system stands: before which sink, on which processor; and what a system is.

Contract: a `System` is started for one sink and listens at a port of 127.0.0.1; one process or one worker, as a
site with one core would run it, and set so that nothing but the proxy's own work is measured: no access
log where that can be chosen, room for `SESSIONS` sessions, no time-out that a run could reach.
"""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from attrs import Factory, frozen

from tests.rig.sendmail import free_port

from .running import Running, postfix

ROOT: Final = Path(__file__).resolve().parents[2]
FILES_BESIDE: Final = 200
"""Descriptors of a process that are no session's: listeners, logs, an event loop, those of its libraries."""
SESSIONS: Final = min((resource.getrlimit(resource.RLIMIT_NOFILE)[1] - FILES_BESIDE) // 2, 10_000)
"""Room for sessions: two descriptors each, under the hard limit of files."""
QUEUE: Final = 1000
"""Connections that wait to be accepted; more than any load opens at once."""


@frozen
class GuardOptions:
    """How the guard is run."""

    tree: Path = ROOT
    """Where the package smtpguard is imported from: this checkout, or a copy of it (compiled, say)."""
    arguments: tuple[str, ...] = ()
    """Further flags of `smtpguard run`."""
    policy: str = "internal-vrfy"
    """A shipped policy, or the path of a file."""
    settings: str = ""
    """Further lines of the settings file."""


@frozen
class Place:
    """Where a system stands."""

    sink: int
    """The port of the mail server behind it."""
    core: int | None = None
    """The processor that it may use, if it is bound to one."""
    guard: GuardOptions = Factory(GuardOptions)


@frozen
class System:
    """Something that mail can go through."""

    name: str
    """As in the report."""
    start: Callable[[Place], Running]
    """Make it, ready for a `with` block."""
    version: Callable[[GuardOptions], str]
    """What was measured, for the report."""
    why_not: Callable[[GuardOptions], str] = lambda guard: ""
    """Why it cannot run here; "" if it can."""
    optional: bool = False
    """Its absence is said in the report, and is no failure."""
    share: float = 1.0
    """Of a load, where all of it would take minutes."""


def allow_files() -> None:
    """Raise this process's limit of files, and so of what it starts, to what is allowed."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def sink(core: int | None = None) -> Running:
    """Postfix's smtp-sink, which takes everything and keeps nothing."""
    command, environment = postfix("smtp-sink")
    port = free_port()
    bounds = ["-u", "nobody", "-m", str(2 * SESSIONS)]
    return Running("smtp-sink", [*command, *bounds, f"127.0.0.1:{port}", str(QUEUE)], port, environment, core=core)


def said_by(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a command; return what it prints, both streams."""
    done = subprocess.run(command, cwd="/", capture_output=True, env={**os.environ, **(environment or {})})
    return (done.stdout + done.stderr).decode("latin-1").strip()


def postfix_version() -> str:
    """Return what the load and its sink are of."""
    command, environment = postfix("postconf")
    return said_by(*command, "-d", "-h", "mail_version", environment=environment).partition("\n")[0]
