"""The environment that the Debian package carries: the guard and all that it needs, below ROOT/usr/lib/smtpguard.

    bundle.py WHEEL LOCK ROOT    make it, with what else the wheel has for ROOT/usr, and the copyright file
    bundle.py depends            print which Python it is for, as dpkg wants to know it

Contract: what LOCK names is installed with its hashes checked, WHEEL beside it, nothing else.  There is no pip, no
test, no C source in it, and no path of the builder's.  Modules are compiled ahead, and never looked at again by
Python, so that nothing is written there at run time.  The same input gives the same octets.
"""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Final

PYTHON: Final = "/usr/bin/python3"
HOME: Final = "usr/lib/smtpguard"
SITE: Final = f"{HOME}/lib/python3.{sys.version_info[1]}/site-packages"

SHARED: Final = {
    "share/smtpguard": "usr/share/smtpguard",
    "share/man": "usr/share/man",
    "share/bash-completion": "usr/share/bash-completion",
    "share/zsh/site-functions": "usr/share/zsh/vendor-completions",
    "share/fish": "usr/share/fish",
}
"""Where Debian has what the wheel installs below its prefix."""

SUPERFLUOUS: Final = (
    "*.c",
    "*.h",
    "*.pyx",
    "*.pxd",
    "*.pyi",
    "py.typed",
    ".gitignore",
    "netaddr/eui/*.txt",
    "netaddr/eui/*.idx",
)
"""Of no use to a program that runs; netaddr's are who makes which network card."""

SUPERFLUOUS_FOLDERS: Final = ("test", "tests", "include", "newsfragments", "__pycache__")
"""Likewise."""

ABOUT_THE_INSTALL: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
"""What pip notes in each *.dist-info: for pip, and in part about this builder."""

APACHE: Final = "Apache License, version 2.0: /usr/share/common-licenses/Apache-2.0"
"""In the place of its text, as Debian wants it."""

SCRIPT: Final = f"""#!/{HOME}/bin/python3 -P
import sys

from smtpguard.cli.main import run

sys.exit(run())
"""

SETTINGS: Final = """home = /usr/bin
include-system-site-packages = false
version = {version}
"""


def main() -> None:
    """Do what the head says."""
    if sys.argv[1:] == ["depends"]:
        minor = sys.version_info[1]
        sys.stdout.write(f"python3 (>= 3.{minor}), python3 (<< 3.{minor + 1})\n")
        return
    wheel, lock, root = (Path(word).resolve() for word in sys.argv[1:])
    install(wheel, lock, root)
    prune(root / HOME)
    share(root)
    write_copyright(root)
    compile_ahead(root)
    settle(root)


def install(wheel: Path, lock: Path, root: Path) -> None:
    """Let pip fill a fresh environment."""
    home = root / HOME
    shutil.rmtree(home, ignore_errors=True)
    (home / "bin").mkdir(parents=True)
    (root / SITE).mkdir(parents=True)
    # By its path, as long as pip calls it here; Debian wants links within /usr to be relative.
    (home / "bin/python3").symlink_to(PYTHON)
    version = subprocess.run([PYTHON, "-V"], check=True, capture_output=True, text=True).stdout.split()[1]
    (home / "pyvenv.cfg").write_text(SETTINGS.format(version=version))
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin/python3"), "--disable-pip-version-check"]
    pip += ["install", "--quiet", "--no-deps", "--no-compile", "--no-warn-script-location"]
    subprocess.run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(lock)], check=True)
    subprocess.run([*pip, "--no-index", str(wheel)], check=True)
    shutil.rmtree(home / "bin")
    (home / "bin").mkdir()
    (home / "bin/python3").symlink_to("../../../bin/python3")
    (home / "bin/smtpguard").write_text(SCRIPT)
    (root / "usr/bin").mkdir(parents=True, exist_ok=True)
    link(root / "usr/bin/smtpguard", "../lib/smtpguard/bin/smtpguard")


def prune(home: Path) -> None:
    """Remove what no program needs."""
    for folder in sorted(home.rglob("*")):
        if folder.is_dir() and folder.name in SUPERFLUOUS_FOLDERS:
            shutil.rmtree(folder)
    for pattern in SUPERFLUOUS:
        for path in home.rglob(pattern):
            path.unlink()
    # Nobody calls a module by its name; the line stays, for the numbers in tracebacks.
    for path in home.rglob("*.py"):
        octets = path.read_bytes()
        if octets.startswith(b"#!"):
            path.write_bytes(b"#" + octets[2:])


def share(root: Path) -> None:
    """Put below ROOT/usr/share what belongs there; raise ValueError if something is unknown."""
    home = root / HOME
    for source, target in SHARED.items():
        if (home / source).is_dir():
            shutil.copytree(home / source, root / target, dirs_exist_ok=True)
    known = [home / source for source in SHARED]
    for path in (home / "share").rglob("*"):
        if path.is_file() and not any(path.is_relative_to(one) for one in known):
            raise ValueError(f"{path.relative_to(home)}: where does Debian have this?")
    shutil.rmtree(home / "share")
    (home / "share").mkdir()
    # The program looks for it below its prefix.
    link(home / "share/smtpguard", "../../../share/smtpguard")


def link(path: Path, target: str) -> None:
    """Make a link, in the place of one that an earlier run left."""
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def write_copyright(root: Path) -> None:
    """Append to debian/copyright what each bundled distribution says of itself."""
    said = Path(__file__).with_name("copyright").read_text()
    for info in sorted((root / SITE).glob("*.dist-info")):
        if not info.name.startswith("smtpguard-"):
            said += "\n" + "\n".join(paragraph(info)) + "\n"
    # dh_installdocs prefers it to debian/copyright.
    Path(__file__).with_name("smtpguard.copyright").write_text(said)
    # They are in there now; Debian wants them nowhere else.
    for info in (root / SITE).glob("*.dist-info"):
        for path in (*licences(info), *(info / name for name in ABOUT_THE_INSTALL)):
            path.unlink(missing_ok=True)
        shutil.rmtree(info / "licenses", ignore_errors=True)


def paragraph(info: Path) -> Iterator[str]:
    """Yield the lines about one distribution."""
    metadata = message_from_string((info / "METADATA").read_text(encoding="utf-8"))
    name, version = metadata["Name"], metadata["Version"]
    texts = [licence_text(path) for path in sorted(licences(info))]
    if not texts:
        raise ValueError(f"{name} {version} says nothing of its licence")
    yield f"Files: {' '.join(files(info))}"
    yield f"Copyright: {metadata['Author'] or metadata['Author-email'] or f'the authors of {name}'}"
    yield f"License: {name}-{version}"
    yield f" {licence_name(metadata)}"
    for text in texts:
        yield " ."
        yield from (f" {line.rstrip()}" if line.strip() else " ." for line in text.strip().splitlines())


def files(info: Path) -> list[str]:
    """Return what a distribution has in the environment, as patterns: folders and files of the first level."""
    found = {line.partition(",")[0].split("/")[0] for line in (info / "RECORD").read_text().splitlines()}
    first = sorted(name for name in found if (info.parent / name).exists())
    return [f"{SITE}/{name}/*" if (info.parent / name).is_dir() else f"{SITE}/{name}" for name in first]


def licence_name(metadata: Message) -> str:
    """Return the licence's name as the distribution gives it; its text follows in any case."""
    named = metadata["License-Expression"] or metadata["License"]
    classified = [one for one in metadata.get_all("Classifier", ()) if one.startswith("License ::")]
    return str(named or "".join(classified) or "as follows").splitlines()[0]


def licence_text(path: Path) -> str:
    """Return the text of a licence, or where Debian has it."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if "Apache License" in text and "Version 2.0, January 2004" in text and "END OF TERMS" in text:
        own = text[: text.index("Apache License")].strip()
        return f"{own}\n{APACHE}".strip()
    return text


def licences(info: Path) -> Iterator[Path]:
    """Yield the files with a distribution's licences."""
    for path in info.rglob("*"):
        words = ("LICEN", "COPYING", "NOTICE", "AUTHORS")
        if path.is_file() and any(path.name.upper().startswith(word) for word in words):
            yield path


def compile_ahead(root: Path) -> None:
    """Compile all modules, and list Twisted's plugins, as the first run of root's would do."""
    python = [PYTHON, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*python, "-s", str(root), "-p", "/", str(root / HOME / "lib")], check=True)
    # Nothing of this host's is on its path: what it lacks here, as pyOpenSSL, is to be lacking.
    listing = "import sys; sys.path.append(sys.argv[1]); import twisted.plugin, twisted.plugins as all; "
    listing += "twisted.plugin.getCache(all)"
    subprocess.run([PYTHON, "-I", "-S", "-B", "-c", listing, str(root / SITE)], check=True)
    pickle.loads((root / SITE / "twisted/plugins/dropin.cache").read_bytes())


def settle(root: Path) -> None:
    """Give every file the mode and the time that it has for everybody.

    Twisted lists its plugins anew unless its list is younger than they are.
    """
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    for path in (root / HOME, *(root / HOME).rglob("*")):
        if path.is_symlink():
            continue
        executable = path.is_dir() or path.parent == root / HOME / "bin"
        path.chmod(0o755 if executable else 0o644)
        young = path.name == "dropin.cache"
        os.utime(path, (epoch, epoch) if young else (epoch - 60, epoch - 60))


if __name__ == "__main__":
    main()
