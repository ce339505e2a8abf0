"""tools/unpack-debian: fetches once, and says what is wrong."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.rig.guard import ROOT

TOOL = ROOT / "tools/unpack-debian"


def unpack(
    folder: Path, *packages: str, path: str = "", apt_config: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it."""
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
    if apt_config is not None:
        environment["APT_CONFIG"] = str(apt_config)
    return subprocess.run(
        [str(TOOL), str(folder), *packages], capture_output=True, text=True, env=environment, timeout=120
    )


@pytest.fixture
def no_network(tmp_path: Path) -> Path:
    """Return settings of an apt that knows no package and reaches no mirror."""
    (tmp_path / "lists").mkdir()
    settings = tmp_path / "apt.conf"
    settings.write_text(
        f'Dir::State::lists "{tmp_path}/lists";\nAcquire::http::Proxy "http://127.0.0.1:9";\n'
        'Acquire::https::Proxy "http://127.0.0.1:9";\nAcquire::Retries::Delay "false";\n'
        f'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n'
    )
    return settings


def test_what_is_there_is_not_fetched_again(tmp_path: Path, no_network: Path) -> None:
    """Not even a mirror is asked."""
    (tmp_path / "mtas/postfix").mkdir(parents=True)
    (tmp_path / "mtas/postfix/.unpacked").touch()
    done = unpack(tmp_path / "mtas", "postfix", apt_config=no_network)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_a_mirror_it_says_so(tmp_path: Path, no_network: Path) -> None:
    """And leaves nothing that looks like a package."""
    done = unpack(tmp_path / "mtas", "postfix", apt_config=no_network)
    assert done.returncode == 1
    assert "cannot fetch the Debian package postfix with what it needs" in done.stderr
    assert "The tests need a Debian mirror once" in done.stderr
    assert {path.name for path in (tmp_path / "mtas").iterdir()} == {".lock"}


def test_a_package_that_does_not_exist_is_named(tmp_path: Path, no_network: Path) -> None:
    """In apt's words."""
    done = unpack(tmp_path / "mtas", "no-such-mta", apt_config=no_network)
    assert done.returncode == 1
    assert "Unable to locate package no-such-mta" in done.stderr


def test_how_it_is_called(tmp_path: Path) -> None:
    """A directory and packages."""
    done = unpack(tmp_path / "mtas")
    assert (done.returncode, done.stderr) == (2, "usage: tools/unpack-debian DIR PACKAGE...\n")
