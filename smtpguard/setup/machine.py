"""The host that is set up: its files, its commands, and what listens on it.

Contract: `Machine` is the only place of this package that runs a command or names a path of the host.  With a `root`
other than / it is an image that does not run: paths are below it, commands run by chroot, and no service is touched.
Files are replaced as a whole or not at all: whoever reads one, or cuts the power, sees the old one or the new one.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, Final

from attrs import asdict, frozen

from .refusals import Failed, Refused

COMMAND_SECONDS: Final = 180.0
"""For one command.  A sendmail that cannot find its own host name waits a minute before it starts."""
FILE_OCTETS: Final = 64 * 1024 * 1024
"""Largest file that is read, and kept: an access map may be large, but not as large as that."""
SAID: Final = 2000
"""Characters that are told again of what a command has said."""
_LISTEN: Final = "0A"
"""State of a listening socket in /proc/net/tcp."""


@frozen
class Known:
    """A file as it is: what tells that it has changed, and what is needed to make it so again."""

    sha256: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Machine:
    """This host, or an image of one."""

    def __init__(self, root: str | Path = "/") -> None:
        self.root = Path(root)
        self.is_image = self.root.resolve() != Path("/")

    def at(self, path: str) -> Path:
        """Return where a path of the host is found; raises Refused if a link leads out of the image."""
        place = self.root / path.lstrip("/")
        if self.is_image and not place.parent.resolve().is_relative_to(self.root.resolve()):
            raise Refused(
                f"{path}: a symbolic link on the way there leads out of {self.root}, to this host's own files."
            )
        return place

    # -- files ------------------------------------------------------------------------------------------------

    def read(self, path: str) -> bytes | None:
        """Return a file's content, or None if there is none; raises Refused for what is no plain file of its own."""
        place = self.at(path)
        if place.is_symlink():
            raise Refused(f"{path} is a symbolic link; setup changes files in their place alone.")
        try:
            with place.open("rb") as file:
                content = file.read(FILE_OCTETS + 1)
        except FileNotFoundError:
            return None
        except IsADirectoryError:
            raise Refused(f"{path} is a folder, where a file should be.") from None
        if len(content) > FILE_OCTETS:
            raise Refused(f"{path} is larger than {FILE_OCTETS} octets.")
        return content

    def known(self, path: str) -> Known | None:
        """Return what there is to know of a file; None if it is not there."""
        content = self.read(path)
        if content is None:
            return None
        found = self.at(path).stat()
        return Known(digest(content), found.st_mode & 0o7777, found.st_uid, found.st_gid, found.st_mtime_ns)

    def write(self, path: str, content: bytes, like: Known) -> None:
        """Put a file there, with the mode and the owner of `like`, and its time if that is not 0."""
        place = self.at(path)
        new = place.with_name(f".{place.name}.smtpguard-new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            os.fchown(file.fileno(), like.uid, like.gid)
            os.fchmod(file.fileno(), like.mode)
            file.flush()
            if like.mtime_ns:
                os.utime(file.fileno(), ns=(like.mtime_ns, like.mtime_ns))
            os.fsync(file.fileno())
        new.replace(place)
        sync_folder(place.parent)

    def remove(self, path: str) -> None:
        """Take a file away; harmless if there is none."""
        self.at(path).unlink(missing_ok=True)

    def left_over(self, path: str) -> None:
        """Take away what a `write` left that was cut off."""
        place = self.at(path)
        place.with_name(f".{place.name}.smtpguard-new").unlink(missing_ok=True)

    # -- commands ---------------------------------------------------------------------------------------------

    def has(self, program: str) -> bool:
        """True if there is such a program; it is named with its path."""
        return os.access(self.at(program), os.X_OK)

    def run(
        self, *command: str, feed: bytes | None = None, folder: str = "/", may_fail: bool = False
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end; raises Failed with its words if its status is not 0."""
        prefix: Sequence[str] = ("chroot", str(self.root)) if self.is_image else ()
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if feed is None else {"input": feed}
        try:
            done = subprocess.run(
                [*prefix, *command],
                **given,
                cwd=None if self.is_image else folder,
                capture_output=True,
                env=environment,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"`{' '.join(command)}` did not end within {COMMAND_SECONDS:.0f} seconds.") from None
        except OSError as error:
            raise Failed(f"`{' '.join(command)}` cannot be run: {error.strerror}.") from None
        if done.returncode != 0 and not may_fail:
            said = (done.stderr + done.stdout).decode("utf-8", "replace").strip()[-SAID:]
            raise Failed(f"`{' '.join(command)}` ended with status {done.returncode}: {said}")
        return done

    # -- what runs --------------------------------------------------------------------------------------------

    @property
    def has_systemd(self) -> bool:
        """True if systemd runs it, as sd_booted(3) tells; of an image, if it would."""
        return self.at("/usr/bin/systemctl" if self.is_image else "/run/systemd/system").exists()

    def listening(self) -> set[tuple[str, int]]:
        """Return address and port of every TCP socket that listens on this host."""
        found = set()
        for name, kind in (("tcp", IPv4Address), ("tcp6", IPv6Address)):
            try:
                lines = Path("/proc/net", name).read_text("ascii").splitlines()[1:]
            except FileNotFoundError:  # a kernel without IPv6
                continue
            for line in lines:
                _, local, _, state, *_ = line.split()
                if state == _LISTEN:
                    address, _, port = local.partition(":")
                    # Words of 32 bits, as the host has them in memory.
                    words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
                    octets = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
                    found.add((str(kind(octets)), int(port, 16)))
        return found


def digest(content: bytes) -> str:
    """Return what stands for a content in the manifest."""
    return hashlib.sha256(content).hexdigest()


def sync_folder(folder: Path) -> None:
    """Let what was renamed in a folder outlive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
