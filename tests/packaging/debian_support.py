"""The Debian package as the tests use it: built once, older ones made of it, and a machine to install it on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from tests.rig.bare_debian import BareDebian
from tests.rig.client import Talk
from tests.rig.hosts import hosts

ROOT: Final = Path(__file__).parents[2]

OUTSIDE: Final = "203.0.113.9"
"""An address of the machine that the shipped policy does not call internal."""

ELSEWHERE: Final = {"TZ": "Asia/Kathmandu", "LANG": "fr_FR.UTF-8", "USER": "somebody", "PYTHONHASHSEED": "7"}
"""What is different in the environment of somebody else who builds."""

_MAIL_SERVER: Final = """
from twisted.internet import reactor
from smtpguard.demo.mta import DemoMtaFactory
reactor.listenTCP(2525, DemoMtaFactory(), interface="127.0.0.1")
reactor.run()
"""

_IGNORED: Final = (
    "var/lib/dpkg",  # the books of dpkg, debconf and apt, and their logs
    "var/cache",
    "var/lib/apt",
    "var/log/apt",
    "var/log/dpkg.log",
    "var/log/alternatives.log",
    "var/log/journal",
    "var/lib/systemd/deb-systemd-helper-enabled",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/timers",
    "var/tmp",
    "tmp",
    "root",
    # The account, which stays: debian/smtpguard.postrm says why.
    "etc/passwd",
    "etc/group",
    "etc/shadow",
    "etc/gshadow",
    "etc/.pwd.lock",
)


@cache
def builder() -> Path:
    """Return an environment of Debian's own Python with all that builds a wheel: ours, if it is one."""
    if sys.base_prefix == "/usr":
        return Path(sys.prefix)
    made = ROOT / "build/builder"
    make = ["make", "--no-print-directory", f"VENV={made}", "PYTHON=/usr/bin/python3", str(made / ".development")]
    subprocess.run(make, cwd=ROOT, check=True, capture_output=True)
    return made


def copy_of_source(folder: Path) -> Path:
    """Copy what a checkout has, without what is made in it."""
    ignored = (".git", ".venv", ".mtas", "build", "dist", "__pycache__", "*.so", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*ignored))
    return folder


def elsewhere(source: Path, folder: Path) -> Path:
    """Copy it once more, with the modes and times that the files have with somebody else."""
    shutil.copytree(source, folder)
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700)
            os.utime(path, (1_000_000_000, 1_000_000_000))
    return folder


def build(source: Path, folder: Path, surroundings: Mapping[str, str] | None = None) -> Path:
    """Build the package of `source` in `folder`, hardly compressed; with `surroundings` as somebody careful would."""
    given = {"BUILDER": str(builder()), "PRESS": "-Zxz -z0", **(surroundings or {})}
    said = subprocess.run(
        [str(source / "tools/debian-package"), str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        umask=0o077 if surroundings else -1,
        env={**os.environ, **given},
    )
    assert said.returncode == 0, said.stdout
    (package,) = folder.glob("*.deb")
    return package


def older(package: Path, folder: Path) -> Path:
    """Return the package again, as if it had been a version before, with another line in each conffile."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(folder)], check=True)
    control = folder / "DEBIAN/control"
    text = control.read_text()
    assert "\nVersion: 0." in text
    control.write_text(
        "\n".join("Version: 0.0.9" if x.startswith("Version: ") else x for x in text.splitlines()) + "\n"
    )
    for name in (folder / "DEBIAN/conffiles").read_text().split():
        path = folder / name.removeprefix("/")
        path.write_text(f"# As it was in 0.0.9.\n{path.read_text()}")
    made = folder.with_suffix(".deb")
    subprocess.run(["dpkg-deb", "--build", "-Znone", str(folder), str(made)], check=True, capture_output=True)
    return made


@contextmanager
def machine() -> Iterator[BareDebian]:
    """Boot a machine with an address outside; nothing is installed on it."""
    with hosts("debian") as (host,):
        host.ip("address", "add", f"{OUTSIDE}/32", "dev", "lo")
        with BareDebian(host) as debian:
            yield debian


def install(debian: BareDebian, package: Path) -> str:
    """Install it as an administrator does; return what apt-get says."""
    shutil.copyfile(package, debian.path(f"/root/{package.name}"))
    keep = ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"]
    return debian.run(
        *("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes"),
        *("--no-install-recommends", "--allow-downgrades", *keep, f"/root/{package.name}"),
    )


def start_mail_server(debian: BareDebian) -> None:
    """Let a mail server listen at 127.0.0.1:2525; it relays for 127.0.0.1 and for nobody else."""
    debian.run("systemd-run", "--quiet", "--unit=mta", "/usr/lib/smtpguard/bin/python3", "-c", _MAIL_SERVER)


def talk(debian: BareDebian, address: str) -> Talk:
    """Connect to port 25, from the address that one connects to."""
    with debian.host.inside():
        return Talk(address, 25, None)


def files(debian: BareDebian) -> set[str]:
    """Return all files and folders of its disk but those that nobody minds."""
    said = debian.run("find", "/", "-xdev", "-printf", "%P\\n")
    ignored = tuple(f"{name}/" for name in _IGNORED)
    return {name for name in said.splitlines() if name.rstrip("-") not in _IGNORED and not name.startswith(ignored)}
