"""A real mail server out of Debian packages that are unpacked but not installed.

`tools/unpack-debian` has put the packages below .mtas.  The server runs in a root directory of its
own, made of links: what was unpacked lies over the machine's /usr, while /etc, /var and /run are its
own, with users that exist only there.  So it finds everything where Debian has it, and nothing of the
machine is read but programs and libraries, or changed.  Root, and that mounting is allowed, is all
that is needed: the file systems stay what they are.  The network is the machine's loopback.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Self

from .sendmail import (
    BASE,
    Delivery,
    PrivateSyslog,
    RigError,
    choose_ports,
    comparable,
    end_processes,
    find_tool,
    listening_ports,
    mailer_script,
    read_delivery,
    run_directory,
)
from .wait import wait_until

UNPACKED = Path(__file__).resolve().parents[2] / ".mtas"

HOST_NAME = "x.test"
DOMAINS = (HOST_NAME, "mx.test")
"""What the servers take mail for, whoever the recipient is; nothing else is relayed."""

ALIASES: Final = (
    "postmaster: george\nMAILER-DAEMON: postmaster\nabuse: postmaster\n"
    "list: CANARY-george, CANARY-alice, CANARY-bob\nall: CANARY-george, CANARY-alice, CANARY-bob\n"
)
"""Only a server that tells who is in a list says CANARY."""

_PEOPLE: Final = ("george", "alice", "bob", "CANARY-george", "CANARY-alice", "CANARY-bob")
_DEVICES: Final = ("null", "zero", "random", "urandom")
_HOST: Final = "h"
"""Where the inside sees the machine.  Short: longer links do not fit into an inode, and cost much time."""
_PACKAGES: Final = "p"
"""Where it sees what was unpacked: the way to the checkout may be closed to the server's users."""
_MERGED: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


@dataclass(frozen=True)
class Account:
    """A system user, with a group of the same name."""

    name: str
    number: int
    home: str = "/nonexistent"


class UnpackedServer(ABC):
    """A running server, for the time of a `with` block, at 127.0.0.1 and a port of its own choice.

    When the block is entered it listens; when it is left, all processes are gone and all files
    removed.  A subclass writes the settings and names the command.
    """

    name: ClassVar[str]
    """What it is called in errors and paths."""
    package: ClassVar[str]
    """Its folder below .mtas."""
    tells: ClassVar[re.Pattern[bytes]]
    """What is found in its reply to VRFY or EXPN, if it tells, and in no reply to another command."""
    ended: ClassVar[re.Pattern[str]]
    """What is found in the record that is its last of an SMTP session."""
    accounts: ClassVar[Sequence[Account]]
    groups: ClassVar[Sequence[Account]] = ()
    """Groups without a user."""

    def __init__(self) -> None:
        """Only take the settings; the files and the process are made on entry."""
        self._port = 0
        self._dir: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._syslog: PrivateSyslog | None = None
        self._errors: list[str] = []
        self._errors_end = 0
        self._delivered: dict[Path, Delivery] = {}

    # -- what a subclass says ------------------------------------------------------------

    @abstractmethod
    def configure(self, root: Path) -> None:
        """Write its settings, and the directories it wants to find, below `root`."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return the command that runs it in the foreground, seen from the inside."""

    @abstractmethod
    def records(self) -> list[str]:
        """Return the lines so far of the record in which it says what it has read, before it answers."""

    @abstractmethod
    def command_in(self, record: str) -> str | None:
        """Return what it has read as a command if this line of the record says so; never a message's line."""

    # -- life ------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start it; raise RigError with its own words if it does not start."""
        if reason := why_not(self.package):
            raise RigError(f"cannot run {self.name}: {reason}")
        self._dir = run_directory(self.name)
        try:
            ((_, self._port),) = choose_ports([("127.0.0.1", 0)])
            self._furnish(self.root)
            self.configure(self.root)
            self._syslog = PrivateSyslog(self.root / "dev/log")
            self._start(self._directory())
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it and remove its files."""
        self.stop()

    def stop(self) -> None:
        """End every process of this server and remove its files; harmless twice."""
        process, self._process = self._process, None
        if process is not None:
            # Not gently: nothing is kept, and some take their time.
            end_processes(process, signal.SIGKILL)
        syslog, self._syslog = self._syslog, None
        if syslog is not None:
            syslog.close()
        directory, self._dir = self._dir, None
        if directory is not None:
            # Mounted in a namespace that has ended; if ever not, nothing must be removed through it.
            if os.path.ismount(directory / "root" / _HOST):
                raise RigError(f"{directory}/root/{_HOST} is still mounted")
            shutil.rmtree(directory, ignore_errors=True)
            with contextlib.suppress(OSError):  # another run uses it, or has removed it before us
                BASE.rmdir()

    # -- what a test asks -------------------------------------------------------------------

    @property
    def address(self) -> str:
        """The address it listens on."""
        return "127.0.0.1"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def root(self) -> Path:
        """Its root directory, seen from outside."""
        return self._directory() / "root"

    def deliveries(self, count: int, seconds: float = 30) -> list[Delivery]:
        """Wait for at least `count` deliveries in all; return all there are by then, ordered by content."""
        inbox = self.root / "inbox"

        def arrived() -> int:
            for path in inbox.glob("*.message"):
                if path not in self._delivered:
                    self._delivered[path] = read_delivery(path)
            return len(self._delivered)

        wait_until(lambda: arrived() >= count, f"{count} messages at {self.name}", seconds, self.story)
        result = list(self._delivered.values())
        result.sort(key=lambda one: (comparable(one.content), one.sender, one.recipients))
        return result

    def messages(self, count: int, seconds: float = 30) -> list[bytes]:
        """Return the contents of deliveries(count, seconds), in that order."""
        return [one.content for one in self.deliveries(count, seconds)]

    def mark(self) -> int:
        """Return how many records there are, for `since` below."""
        return len(self.records())

    def commands(self, since: int = 0) -> list[str]:
        """Return what it has read as commands, without line ends, leaving out the first `since` records."""
        found = (self.command_in(record) for record in self.records()[since:])
        return [command for command in found if command is not None]

    def wait_sessions(self, count: int, since: int = 0, seconds: float = 20) -> None:
        """Wait until, behind the first `since` records, this many sessions have ended."""

        def ended() -> bool:
            return sum(self.ended.search(record) is not None for record in self.records()[since:]) >= count

        wait_until(ended, f"{count} sessions of {self.name} to end", seconds, self.story)

    def log(self) -> str:
        """Return what it has said so far, to syslog and on its stderr, line by line."""
        return "\n".join(self.syslog_lines() + self.stderr_lines())

    def wait_log(self, pattern: str, seconds: float = 20) -> str:
        """Wait for a line of its log in which the regex `pattern` is found; return it."""

        def seen() -> str | None:
            return next((one for one in self.log().split("\n") if re.search(pattern, one)), None)

        return wait_until(seen, f"a line {pattern!r} of {self.name}", seconds, self.story)

    def story(self) -> str:
        """Return the end of its log, to understand a failure."""
        return f"--- the log of {self.name}, its end\n{self.log()[-6000:]}"

    # -- how it is made -----------------------------------------------------------------------

    def _directory(self) -> Path:
        if self._dir is None:
            raise RigError(f"{self.name} is not running")
        return self._dir

    def syslog_lines(self) -> list[str]:
        """Return what it has said to syslog."""
        return self._syslog.lines() if self._syslog is not None else []

    def stderr_lines(self) -> list[str]:
        """Return the complete lines of its stderr, split at LF only: a line may hold anything else."""
        with (self._directory() / "stderr").open("rb") as file:
            file.seek(self._errors_end)
            complete, end, _ = file.read().rpartition(b"\n")
        self._errors_end += len(complete + end)
        self._errors += complete.decode("latin-1").split("\n") if end else []
        return self._errors

    def _furnish(self, root: Path) -> None:
        """Make the root directory with all that does not depend on the server."""
        places = ("etc", "dev", "inbox", "tmp", "run", "var/log", "var/spool", "var/lib", "var/tmp")
        for name in (_HOST, _PACKAGES, *places):
            (root / name).mkdir(mode=0o755, parents=True)
        for name in ("inbox", "tmp", "var/tmp"):
            (root / name).chmod(0o1777)
        for name in _DEVICES:
            (root / "dev" / name).touch()
        (root / "proc").symlink_to(f"/{_HOST}/proc")
        (root / "var/run").symlink_to("/run")
        _merge(root / "usr", _system(UNPACKED / self.package))
        for name in _MERGED:
            if os.path.lexists(root / "usr" / name):
                (root / name).symlink_to(f"usr/{name}")
        _write_names(root / "etc", self.accounts, self.groups)
        mailer = root / "deliver"
        mailer.write_text(mailer_script(Path("/inbox")))
        mailer.chmod(0o755)

    def _start(self, run: Path) -> None:
        """Start the process and wait until it listens."""
        (run / "start").write_text(_start_script(self.root, UNPACKED / self.package, self.command()))
        with (run / "stderr").open("wb") as errors:
            process = subprocess.Popen(
                [
                    # As RealSendmail: all end with the thread that starts them.
                    *("setpriv", "--pdeathsig=KILL"),
                    *("unshare", "--uts", "--mount", "--pid", "--fork", "--kill-child=KILL"),
                    *("/bin/sh", str(run / "start")),
                ],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
                start_new_session=True,
            )
        self._process = process

        def ready() -> bool:
            status = process.poll()
            if status is not None:
                raise RigError(f"{self.name} ended with {status} at start\n{self.story()}")
            return self.port in listening_ports()

        wait_until(ready, f"{self.name} to listen", 20, self.story)


def why_not(package: str) -> str:
    """Return why a server of this package cannot run on this machine, or "" if it can."""
    if os.geteuid() != 0:
        return "not root"
    missing = [tool for tool in ("setpriv", "unshare", "mount", "hostname", "chroot") if find_tool(tool) is None]
    if not (UNPACKED / package / ".unpacked").exists():
        missing.append(f"{UNPACKED / package}, made by: tools/unpack-debian {UNPACKED} {package}")
    return "missing: " + ", ".join(missing) if missing else ""


@dataclass(frozen=True)
class _Layer:
    """A directory, where it is and where the inside sees it."""

    path: Path
    inside: str

    def below(self, name: str) -> _Layer:
        return _Layer(self.path / name, f"{self.inside}/{name}")


def _system(unpacked: Path) -> dict[str, list[_Layer]]:
    """Return what makes up /usr inside, by name, the first on top; packages may still have a /lib of their own."""
    names = _entries([_Layer(unpacked / "usr", f"/{_PACKAGES}/usr"), _Layer(Path("/usr"), f"/{_HOST}/usr")])
    # Large on every machine, and what the packages have there no server asks for.
    names |= {name: names[name][-1:] for name in ("bin", "share")}
    for name in _MERGED:
        if name != "bin" and (unpacked / name).is_dir():
            names.setdefault(name, []).insert(0, _Layer(unpacked / name, f"/{_PACKAGES}/{name}"))
    return names


def _entries(layers: Sequence[_Layer]) -> dict[str, list[_Layer]]:
    names: dict[str, list[_Layer]] = {}
    for layer in layers:
        for name in os.listdir(layer.path):
            names.setdefault(name, []).append(layer.below(name))
    return names


def _merge(target: Path, names: Mapping[str, Sequence[_Layer]]) -> None:
    """Make `target` a directory that shows all this, by links to what is not directories of one name."""
    target.mkdir(mode=0o755)
    for name, found in names.items():
        folders = [one for one in found if one.path.is_dir()]
        if len(folders) > 1 and folders[0] is found[0]:
            _merge(target / name, _entries(folders))
        else:
            (target / name).symlink_to(found[0].inside)


def _write_names(etc: Path, accounts: Sequence[Account], groups: Sequence[Account]) -> None:
    """Write the files that names of users, groups, hosts and services are looked up in."""
    users = ["root:x:0:0:Root CANARY:/root:/bin/sh", "daemon:x:1:1::/:/usr/sbin/nologin"]
    users += [f"{one.name}:x:{one.number}:{one.number}::{one.home}:/usr/sbin/nologin" for one in accounts]
    for number, person in enumerate(_PEOPLE, 61001):
        users.append(f"{person}:x:{number}:65534:{person} CANARY:/nonexistent:/usr/sbin/nologin")
    users.append("nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin")
    kinds = ["root:x:0:", "daemon:x:1:", "mail:x:8:", *(f"{one.name}:x:{one.number}:" for one in (*accounts, *groups))]
    kinds.append("nogroup:x:65534:")
    for name, lines in (
        ("passwd", users),
        ("group", kinds),
        ("hosts", [f"127.0.0.1 localhost {HOST_NAME}", "::1 localhost"]),
        (
            "nsswitch.conf",
            [f"{kind}: files" for kind in ("passwd", "group", "shadow", "hosts", "services", "protocols")],
        ),
        # Nothing should ask it; if something does, the question stays on loopback.
        ("resolv.conf", ["nameserver 127.0.0.1", "options timeout:1 attempts:1"]),
        ("services", ["smtp 25/tcp mail", "domain 53/tcp", "domain 53/udp"]),
        ("mailname", [HOST_NAME]),
        ("hostname", [HOST_NAME]),
        ("aliases", ALIASES.splitlines()),
    ):
        (etc / name).write_text("".join(f"{line}\n" for line in lines))


def _start_script(root: Path, unpacked: Path, command: Sequence[str]) -> str:
    """Return the script that is the first process in the new namespaces.

    It ends when the server ends; on SIGTERM it ends the server.
    """
    there = shlex.quote(str(root))
    return "\n".join(
        [
            "set -eu",
            "umask 022",
            # The first process of a namespace ignores SIGTERM if it has no handler.
            "trap 'exit 1' TERM",
            # Some close every descriptor there may be, one by one.
            "ulimit -n 1024",
            f"hostname {HOST_NAME}",
            f"mount --rbind / {there}/{_HOST}",
            f"mount --bind {shlex.quote(str(unpacked))} {there}/{_PACKAGES}",
            *(f"mount --bind /dev/{name} {there}/dev/{name}" for name in _DEVICES),
            # Not exec: see RealSendmail.
            f"chroot {there} {shlex.join(command)} &",
            "daemon=$!",
            "trap 'kill -TERM $daemon' TERM",
            # Twice: the first wait ends early when the trap runs.
            "wait $daemon || :",
            "wait $daemon",
            "",
        ]
    )
