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
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtpguard import __version__
from smtpguard.admin.page_assets import NAMES as ASSETS
from smtpguard.config.policy_file import SHIPPED
from tests.rig.wait import wait_until

ROOT = Path(__file__).parents[2]
SHARE = ROOT / "smtpguard/share"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist, and with the wheel that was made of the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
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


def test_the_wheel_holds_the_package_the_policies_the_plugin_and_the_units(built: Path) -> None:
    """And nothing else: no tests, no stray files."""
    with zipfile.ZipFile(wheel_in(built)) as wheel:
        names = set(wheel.namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "smtpguard").rglob("*.py")}
    assert modules - {"smtpguard/dropin.py"} <= names
    data = f"smtpguard-{__version__}.data/data/share/smtpguard/systemd"
    info = f"smtpguard-{__version__}.dist-info"
    assert names - modules == {
        "smtpguard/py.typed",
        "smtpguard/smtp/_survey.pyi",
        "smtpguard/demo/policy.yaml",
        *(f"smtpguard/admin/assets/{name}" for name in ASSETS),
        *(f"smtpguard/policies/{name}.yaml" for name in SHIPPED),
        "twisted/plugins/smtpguard_dropin.py",
        *(f"{data}/smtpguard.{kind}" for kind in ("service", "socket", "yaml")),
        *(f"{data}/smtpguard.service.d/{name}.conf" for name in ("private-keys", "transparent")),
        f"{data}/smtpguard-transparent",
        *(f"{Path(data).parent}/{path.relative_to(SHARE)}" for path in SHARE.rglob("*") if path.is_file()),
        *(f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")),
    }


def test_a_compiled_wheel_is_for_this_platform_and_works(tmp_path: Path) -> None:
    """The Python modules stay beside the compiled ones, for a Python that those do not fit."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    run(command, tmp_path, compiled="yes")
    wheel = wheel_in(tmp_path)
    assert not wheel.name.endswith("-any.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    ending = sysconfig.get_config_var("EXT_SUFFIX")
    assert (site / f"smtpguard/smtp/_survey{ending}").exists()
    assert (site / "smtpguard/smtp/dialogue.py").exists()
    asked = "import smtpguard.smtp.dialogue as d; print(d.__file__)"
    assert run([sys.executable, "-c", asked], site).strip() == str(site / f"smtpguard/smtp/dialogue{ending}")
    assert "internal-vrfy.yaml (version " in run([sys.executable, "-m", "smtpguard", "check"], site)


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
        "tools/debian-packages",
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
