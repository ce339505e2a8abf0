"""What is built can be installed without a network, and works where the checkout is not."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtpguard import __version__
from smtpguard.admin.page_assets import NAMES as ASSETS
from smtpguard.config.policy_file import SHIPPED
from tests.rig.wait import wait_until

from .debian_support import ELSEWHERE, copy_of_source, elsewhere

ROOT = Path(__file__).parents[2]
SHARE = ROOT / "smtpguard/share"
SHARED: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"][
    "wheel"
]["shared-data"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, which nobody edits meanwhile."""
    return copy_of_source(tmp_path_factory.mktemp("source") / "smtpguard")


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist, and with the wheel that was made of the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source)]
    run(command, folder, compiled="no")
    return folder


@pytest.fixture(scope="module")
def python(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh virtual environment with the wheel in it, its dependencies being ours."""
    home = tmp_path_factory.mktemp("installed")
    run([sys.executable, "-m", "venv", "--without-pip", str(home)], home)
    interpreter = home / "bin/python"
    site = Path(run([str(interpreter), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], home).strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(interpreter), "--disable-pip-version-check"]
    run([*pip, "install", "--quiet", "--no-index", "--no-deps", str(wheel_in(built))], home)
    return interpreter


def run(command: list[str], folder: Path, status: int = 0, compiled: str = "auto") -> str:
    """Run a command in `folder` and return its stdout; `compiled` is what SMTPGUARD_COMPILE says."""
    surroundings = {**os.environ, "SMTPGUARD_COMPILE": compiled}
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=surroundings
    )
    assert done.returncode == status, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def wheel_in(folder: Path) -> Path:
    (wheel,) = folder.glob("*.whl")
    return wheel


def smtpguard(python: Path, *arguments: str, status: int = 0) -> str:
    """Run the installed console script."""
    return run([str(python.with_name("smtpguard")), *arguments], python.parent, status)


def shared() -> dict[str, Path]:
    """Return what is installed below the prefix: by its name there, the file of the checkout."""
    found: dict[str, Path] = {}
    for source, target in SHARED.items():
        path = ROOT / source
        inside = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
        found.update({str(Path(target, one.relative_to(path))): one for one in inside})
    return found


def test_units_pages_and_examples_are_installed_where_programs_look_for_them() -> None:
    """Each once; and none is left out of pyproject.toml."""
    installed = shared()
    assert {
        "share/man/man8/smtpguard.8",
        "share/man/man5/smtpguard.yaml.5",
        "share/man/man5/smtpguard-policy.5",
        "share/smtpguard/systemd/smtpguard.service",
        "share/smtpguard/systemd/smtpguard.service.d/transparent.conf",
        "share/smtpguard/systemd/smtpguard-transparent",
        "share/smtpguard/fail2ban/filter.d/smtpguard.conf",
        "share/smtpguard/logrotate/smtpguard",
    } <= set(installed)
    there = [path for folder in (SHARE, ROOT / "systemd") for path in folder.rglob("*") if path.is_file()]
    assert sorted(installed.values()) == sorted(there)


def test_wheel_and_sdist_are_the_same_to_the_octet_wherever_they_are_built(
    source: Path, built: Path, tmp_path: Path
) -> None:
    """In another folder, with other modes and times of the files, another umask, language and time zone."""
    copy = elsewhere(source, tmp_path / "with a blank")
    out = tmp_path / "dist"
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy)]
    surroundings = {**os.environ, **ELSEWHERE, "SMTPGUARD_COMPILE": "no"}
    subprocess.run(command, check=True, capture_output=True, umask=0o077, env=surroundings)
    for one in built.iterdir():
        assert (out / one.name).read_bytes() == one.read_bytes(), one.name


def test_the_wheel_holds_the_package_the_policies_the_plugin_and_the_units(built: Path) -> None:
    """And nothing else: no tests, no stray files."""
    with zipfile.ZipFile(wheel_in(built)) as wheel:
        names = set(wheel.namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "smtpguard").rglob("*.py")}
    assert modules - {"smtpguard/dropin.py"} <= names
    info = f"smtpguard-{__version__}.dist-info"
    assert names - modules == {
        "smtpguard/py.typed",
        "smtpguard/smtp/_survey.pyi",
        "smtpguard/demo/policy.yaml",
        *(f"smtpguard/admin/assets/{name}" for name in ASSETS),
        *(f"smtpguard/policies/{name}.yaml" for name in SHIPPED),
        "twisted/plugins/smtpguard_dropin.py",
        *(f"smtpguard-{__version__}.data/data/{name}" for name in shared()),
        *(f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")),
    }


def test_the_wheel_says_what_it_needs(built: Path) -> None:
    """Version, Python, licence and the console script."""
    with zipfile.ZipFile(wheel_in(built)) as wheel:
        metadata = wheel.read(f"smtpguard-{__version__}.dist-info/METADATA").decode()
        scripts = wheel.read(f"smtpguard-{__version__}.dist-info/entry_points.txt").decode()
    assert f"\nVersion: {__version__}\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "smtpguard = smtpguard.cli.main:run" in scripts


def test_the_sdist_holds_what_tests_and_docs_need(built: Path) -> None:
    """Whoever has only the sdist can run everything."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {
        "Makefile",
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "requirements.lock",
        "requirements-dev.lock",
        "docs/settings.md",
        "docs/replies.md",
        "policies/internal-vrfy.yaml",
        "systemd/smtpguard.service",
        "tests/packaging/test_wheel.py",
        "tools/compile.py",
        "tools/debian-package",
        "tools/debian-packages",
        "debian/bundle.py",
        "debian/changelog",
        "debian/control",
        "debian/rules",
    } <= names


def test_the_installed_command_checks_the_policies_it_carries(python: Path) -> None:
    """They are found in the package, not in the checkout."""
    assert smtpguard(python, "--version") == f"smtpguard {__version__}\n"
    said = smtpguard(python, "check")
    assert said.startswith(str(python.parents[1])), said
    for name in SHIPPED:
        assert f"/smtpguard/policies/{name}.yaml (version " in smtpguard(python, "check", "--policy", name)


def test_the_example_settings_are_installed_beside_the_units(python: Path) -> None:
    """`share/smtpguard/systemd` below the prefix."""
    share = python.parents[1] / "share/smtpguard/systemd"
    assert "smtpguard.yaml: ok\n" in smtpguard(python, "check", "--config", str(share / "smtpguard.yaml"))


def twist(python: Path, *arguments: str) -> list[str]:
    """Return the command line of twist; -P keeps the checkout out of sight."""
    return [str(python), "-P", "-m", "twisted", *arguments]


def test_twist_lists_the_plugin_and_its_options(python: Path) -> None:
    """As a site sees it that runs its services under twist."""
    assert re.search(
        r"^    smtpguard +A policy-enforcing SMTP proxy$", run(twist(python, "--help"), python.parent), re.M
    )
    said = run(twist(python, "smtpguard", "--help"), python.parent)
    for option in ("--config=", "--policy=", "--listen=", "--backend=", "--relay-check="):
        assert option in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give --listen and --backend"),
        (["--listen", "udp:25", "--backend", "tcp:127.0.0.1:25"], "tcp:25:interface=0.0.0.0"),
        (["--listen", "tcp:25", "--backend", "127.0.0.1:25"], "tcp:127.0.0.1:2525"),
        (["--listen", "tcp:25", "--backend", "tcp:127.0.0.1:25", "--relay-check", "no"], "enforce, warn, off"),
    ],
)
def test_the_plugin_refuses_wrong_options_with_the_right_form(python: Path, arguments: list[str], said: str) -> None:
    """Twist's own exit status for usage errors is 64 too."""
    done = subprocess.run(
        twist(python, "smtpguard", *arguments), cwd=python.parent, stdin=subprocess.DEVNULL, capture_output=True
    )
    assert done.returncode == 64
    assert said in (done.stdout + done.stderr).decode()


def test_the_plugin_does_not_start_on_a_faulty_policy(python: Path, tmp_path: Path) -> None:
    """It says where the fault is and exits as `smtpguard run` does."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("rulesets: {check_vfry: [{action: reply}]}\n")
    where = ["--listen", "tcp:0:interface=127.0.0.1", "--backend", "tcp:127.0.0.1:1"]
    done = subprocess.run(
        twist(python, "smtpguard", *where, "--policy", str(policy)), capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 78
    assert f"{policy}:1:12: unknown verb in rule set 'check_vfry' (did you mean check_vrfy?)" in done.stderr
    run(twist(python, "smtpguard", "--config", "none.yaml"), tmp_path, status=66)


@pytest.fixture
def backend() -> Iterator[socket.socket]:
    """A socket that listens; the test itself plays the mail server."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        yield server


def test_the_plugin_serves_and_ends_at_sigterm(python: Path, backend: socket.socket, tmp_path: Path) -> None:
    """The backend's banner comes through; the guard is gone when twist is."""
    command = twist(
        python,
        *("smtpguard", "--listen", "tcp:0:interface=127.0.0.1"),
        *("--backend", f"tcp:127.0.0.1:{backend.getsockname()[1]}", "--relay-check", "off"),
    )
    errors = tmp_path / "stderr"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=stderr)
    try:
        found = wait_until(
            lambda: re.search(r"listening on 127\.0\.0\.1:(\d+)", errors.read_text()),
            "the guard to listen",
            detail=errors.read_text,
        )
        with socket.create_connection(("127.0.0.1", int(found[1])), 20) as client:
            served, _ = backend.accept()
            with served:
                served.sendall(b"220 backend.test ESMTP\r\n")
                assert client.recv(100) == b"220 backend.test ESMTP\r\n"
                process.send_signal(signal.SIGTERM)
                assert client.recv(100).startswith(b"421 4.3.2 ")
        assert process.wait(20) == -signal.SIGTERM
    finally:
        process.kill()
        process.wait()
