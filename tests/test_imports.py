"""Imports point one way, and the core knows neither clock nor network."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ("smtpguard/smtp", "smtpguard/policy")
MODULES = [str(path.relative_to(ROOT)) for folder in CORE for path in sorted((ROOT / folder).glob("*.py"))]
FORBIDDEN = {
    *("twisted", "socket", "ssl", "select", "selectors", "asyncio", "threading", "subprocess"),
    *("time", "os", "sys", "io", "pathlib", "logging", "syslog", "yaml", "pydantic", "click", "random", "secrets"),
}


def imported(source: str) -> Iterator[str]:
    """Yield the top-level modules that a source imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("__import__", "open"):
            yield node.func.id


def fresh(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def test_the_contracts_of_pyproject_hold() -> None:
    """Layers, the core without I/O, the readers without a reactor."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert "3 kept, 0 broken" in done.stdout


@pytest.mark.parametrize("path", MODULES)
def test_no_module_of_the_core_imports_what_does_io(path: str) -> None:
    """The walk sees imports inside functions too."""
    assert not FORBIDDEN & set(imported((ROOT / path).read_text()))


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import twisted.internet.defer",
        "import re, socket as s",
        "from os import environ",
        "from asyncio.events import get_event_loop",
        "def f():\n    from logging import getLogger\n",
        "if True:\n    try:\n        import yaml\n    except ImportError:\n        pass\n",
    ],
)
def test_an_import_that_the_core_must_not_have_would_be_seen(source: str) -> None:
    """The test above is worth something."""
    assert FORBIDDEN & set(imported(source))


@pytest.mark.parametrize("source", ["from .replies import Reply", "from . import time", "import re", "'import time'"])
def test_what_the_core_may_import_is_not_mistaken_for_it(source: str) -> None:
    """A module of ours may even be called `time`."""
    assert not FORBIDDEN & set(imported(source))


@pytest.mark.parametrize(
    "module",
    [
        *(
            "smtpguard.smtp.dialogue",
            "smtpguard.policy.decision",
            "smtpguard.config.policy_file",
            "smtpguard.config.settings",
        ),
        *("smtpguard.config.reference", "smtpguard.journal.journal", "smtpguard.cli.check", "smtpguard.cli.explain"),
    ],
)
def test_what_needs_no_network_does_without_twisted(module: str) -> None:
    """`check` and `explain` are called by people and by editors, who wait for them."""
    done = fresh(f"import sys, {module}; sys.exit('twisted' in sys.modules)")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "module", ["smtpguard.cli.run", "smtpguard.cli.demo", "smtpguard.service", "smtpguard.twist", "smtpguard.dropin"]
)
def test_no_import_installs_a_reactor(module: str) -> None:
    """It is the choice of who runs it: `smtpguard run`, or twist."""
    done = fresh(f"import sys, {module}; sys.exit('twisted.internet.reactor' in sys.modules)")
    assert done.returncode == 0, done.stderr
