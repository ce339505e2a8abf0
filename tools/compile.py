"""Compile what every command goes through, with mypyc and a C compiler.

    python tools/compile.py TREE    copy the project to TREE and compile it there, to be tested

As a build hook of hatchling it does the same for a wheel.  SMTPGUARD_COMPILE says whether: `yes` (fail if that
cannot be), `no`, or `auto`, which is the default: if mypyc and a C compiler are here.  The compiled modules are
the Python ones, which stay beside them: where the compiled ones do not fit, Python takes those, and all
that changes is the time it takes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

# Each is on the way of a command or of a reply.  None may hold a class whose base is a library's: mypyc, which does
# not read libraries here, would take it for a class without a base, and the interpreter would crash (net/factories.py
# stands apart for that).  Nor may interpreted code derive from a class in here.  The transport is left out: compiled,
# its ended connections leave cycles behind (tests/transport/test_leftovers.py).
PACKAGES = ("smtp", "journal")
MODULES = (
    "policy/conditions.py",
    "policy/networks.py",
    "policy/relaying.py",
    "policy/rules.py",
    "backends/backend.py",
    "backends/backend_side.py",
    "sessions/client.py",
    "net/deadlines.py",
    "sessions/gatekeeper.py",
    "sessions/listener.py",
    "sessions/pace.py",
    "sessions/places.py",
    "backends/pool.py",
    "sessions/prefix_places.py",
    "sessions/session.py",
    "sessions/session_metrics.py",
    "backends/single.py",
    "sessions/surroundings.py",
    "net/wires.py",
    "ledger/gate.py",
    "metrics/counts.py",
)
C_SOURCES = ("smtp/_survey.c",)
LEFT_OUT = ("survey.py",)  # chooses between C and Python

# Whether the types are right is asked elsewhere (`make types`), where all libraries and their stubs are.
_SETUP = """
from mypyc.build import mypycify
from setuptools import Extension, setup

setup(
    name="smtpguard",
    packages=[],
    ext_modules=[
        *mypycify(
            ["--follow-imports=skip", "--ignore-missing-imports", "--config-file=", *{modules!r}],
            opt_level="3",
            debug_level="0",
            group_name="smtpguard",
        ),
        # -g0: what a debugger is told names the folder it was compiled in.
        *[Extension(name, [source], extra_compile_args=["-O3", "-g0"]) for name, source in {sources!r}],
    ],
)
"""


def compile_in(tree: Path) -> list[Path]:
    """Compile the package, all that there is in `tree`, in place; return the libraries made, relative to it.

    Raises subprocess.CalledProcessError.
    """
    package = tree / "smtpguard"
    paths = [*(path for name in PACKAGES for path in (package / name).glob("*.py")), *(package / m for m in MODULES)]
    modules = sorted(path.relative_to(tree).as_posix() for path in paths if path.name not in LEFT_OUT)
    sources = [(f"smtpguard.{name[:-2].replace('/', '.')}", f"smtpguard/{name}") for name in C_SOURCES]
    (tree / "setup.py").write_text(_SETUP.format(modules=modules, sources=sources), encoding="utf-8")
    subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=tree, check=True)
    ending = sysconfig.get_config_var("EXT_SUFFIX")
    return sorted(
        path.relative_to(tree) for path in tree.rglob(f"*{ending}") if not path.is_relative_to(tree / "build")
    )


def possible() -> bool:
    """True if there is all that it takes."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    header = Path(sysconfig.get_path("include"), "Python.h")
    return shutil.which(compiler) is not None and header.exists() and find_spec("mypyc") is not None


def copy_of_package(tree: Path) -> None:
    """Copy the package alone, without what an earlier run has compiled."""
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(ROOT / "smtpguard", tree / "smtpguard", ignore=ignored)


def copy_of_project(tree: Path) -> None:
    """Copy all that tests look at; what is large is linked."""
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    copy_of_package(tree)
    for one in ("docs", "policies", "systemd", "tests", "tools"):
        shutil.copytree(ROOT / one, tree / one, ignore=shutil.ignore_patterns("__pycache__"))
    for one in ("LICENSE", "CHANGELOG.md", "README.md", "Makefile", "pyproject.toml"):
        shutil.copy2(ROOT / one, tree)
    for one in (".venv", ".mtas"):
        (tree / one).symlink_to(ROOT / one)


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # as a command it needs no hatchling
    pass
else:

    class CompilingHook(BuildHookInterface):  # type: ignore[type-arg]  # of any builder
        """Puts the compiled modules into a wheel."""

        PLUGIN_NAME = "custom"

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Compile, unless it was said not to, or cannot be; an editable install stays as it is."""
            wanted = os.environ.get("SMTPGUARD_COMPILE", "auto")
            if version == "editable" or wanted == "no" or (wanted == "auto" and not possible()):
                return
            self._work = tempfile.TemporaryDirectory(prefix="smtpguard-wheel-")
            tree = Path(self._work.name)
            copy_of_package(tree)
            try:
                libraries = compile_in(tree)
            except subprocess.CalledProcessError:
                if wanted == "yes":
                    raise
                self.app.display_warning("smtpguard could not be compiled; the wheel is pure Python, and slower")
                return
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["force_include"].update({str(tree / one): one.as_posix() for one in libraries})

        def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
            """Remove what was made on the way."""
            work = getattr(self, "_work", None)
            if work is not None:
                work.cleanup()


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    copy_of_project(target)
    # Apart from pyproject.toml, which setuptools would read too.
    with tempfile.TemporaryDirectory(prefix="smtpguard-compile-") as work:
        copy_of_package(Path(work))
        for library in compile_in(Path(work)):
            shutil.copy2(Path(work, library), target / library)
