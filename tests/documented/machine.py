"""The machine of a reader: a Debian with systemd, a sendmail and the program, and a checkout to type commands in.

Contract: as tests/rig/debian.py says; there is no other network than `lo`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from tests.rig.debian import Debian
from tests.rig.hosts import Host
from tests.rig.sendmail import RigError
from tests.rig.wait import wait_until

CHECKOUT: Final = "/srv/smtpguard"
"""Where a reader would have cloned it: a copy, since what is written to it must not be written to the tree."""
TREE: Final = (
    "smtpguard policies systemd tools docs Makefile pyproject.toml README.md requirements.lock requirements-dev.lock"
)
"""What of the tree is in it."""
NAME: Final = "mx.example.org"
"""What the docs call the machine."""
ADDRESS: Final = "198.51.100.25"
_NAMELESS: Final = ("127.0.0.25", "198.18.0.25")
"""Addresses that the guard comes from.  Nobody answers for DNS here, and without a name for them sendmail would put
clients off until somebody does; a name that is also one of the machine's own addresses would let them relay."""
_PATH: Final = "/opt/smtpguard/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Done(NamedTuple):
    """A command that has ended."""

    status: int
    said: str
    """stdout and stderr together."""


class Machine:
    """A machine, for the time of a `with` block.

    `clients` are further addresses of its own, that clients can come from, for want of other machines; to sendmail they
    are then no strangers, if it is shown them.
    """

    def __init__(self, clients: Sequence[str] = ()) -> None:
        self._clients = clients
        self._made = ExitStack()
        self._debian: Debian

    def __enter__(self) -> Self:
        """Start it; raises RigError."""
        with ExitStack() as made:
            host = made.enter_context(Host("reader"))
            for address in (ADDRESS, *self._clients):
                host.ip("address", "add", f"{address}/32", "dev", "lo")
            host.v4 = ADDRESS
            self._debian = made.enter_context(Debian(host, systemd=True))
            names = [f"{ADDRESS} {NAME}", *(f"{address} outsider.example" for address in _NAMELESS)]
            self.must(f"printf '%s\\n' {shlex.join(names)} >>/etc/hosts", "/")
            self.must(f"mkdir -p {CHECKOUT}/share && cd /opt/src && cp -a {TREE} {CHECKOUT}/", "/")
            # Where a wheel puts them.
            self.must("ln -s ../smtpguard/share share/smtpguard && ln -s systemd /opt/smtpguard/share")
            self._made = made.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._made.close()

    def run(self, command: str, where: str = CHECKOUT, seconds: float = 90) -> Done:
        """Run a command line, by bash, to its end."""
        words = self._words(command, where)
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds
            )
        except subprocess.TimeoutExpired as error:
            raise RigError(f"{command}: no end in {seconds:g} s: {(error.stdout or b'').decode()}") from None
        return Done(done.returncode, done.stdout.decode("utf-8", "backslashreplace"))

    def must(self, command: str, where: str = CHECKOUT) -> str:
        """Run a command that has to succeed; return what it said."""
        done = self.run(command, where)
        if done.status != 0:
            raise RigError(f"{command}: exit status {done.status}: {done.said}\n{self._debian.story()}")
        return done.said

    def until(
        self, command: str, says: str, where: str = CHECKOUT, meanwhile: Callable[[], object] | None = None
    ) -> str:
        """Run a command that does not end by itself until it says something; end it by SIGINT, return what it said.

        `meanwhile` is called before it is ended.
        """
        with tempfile.TemporaryFile() as output:
            words = self._words(f"exec {command}", where)
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

            def said() -> str:
                return os.pread(output.fileno(), 1 << 20, 0).decode("utf-8", "backslashreplace")

            try:
                what = f"{command} to say {says}"
                wait_until(lambda: says in said() or process.poll() is not None, what, 30, said)
                if meanwhile is not None:
                    meanwhile()
            finally:
                # nsenter itself stays outside, and waits for what it has started.
                for number in (signal.SIGINT, signal.SIGKILL):
                    for child in _children(process.pid):
                        os.kill(child, number)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(10)
                        break
            return said()

    def write(self, path: str, text: str) -> None:
        """Write a file in it."""
        mark = f"END-{secrets.token_hex(8)}"
        self.must(f"mkdir -p {shlex.quote(os.path.dirname(path))}\ncat >{shlex.quote(path)} <<'{mark}'\n{text}\n{mark}")

    def _words(self, command: str, where: str) -> list[str]:
        surroundings = (f"PATH={_PATH}", "HOME=/root", "LC_ALL=C.UTF-8", "PAGER=cat", "SYSTEMD_PAGER=cat", "TERM=dumb")
        return self._debian.entering(
            "env", "-C", "/", "-i", *surroundings, "bash", "-c", f"cd {shlex.quote(where)} && {command}"
        )


def _children(pid: int) -> list[int]:
    try:
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except (FileNotFoundError, ProcessLookupError):
        return []
