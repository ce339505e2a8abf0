"""The systemd units: accepted by systemd, in step with the settings, and tight."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from smtpguard.backends.relay_check import ASK_SECONDS
from smtpguard.cli.main import main
from smtpguard.config import settings
from smtpguard.config.settings import Limits, Settings, Timeouts
from tests.rig.wait import wait_until

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
COMMAND = "/opt/smtpguard/bin/smtpguard"


def unit(name: str) -> dict[str, list[str]]:
    """Return the settings of a unit; a key may stand there several times."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, with a command that exists on this machine."""
    for name in ("smtpguard.service", "smtpguard.socket"):
        (tmp_path / name).write_text((UNITS / name).read_text().replace(COMMAND, "/bin/true"))
    return tmp_path


def analyze(*arguments: str) -> str:
    """Run systemd-analyze; return all it says."""
    done = subprocess.run(
        ["systemd-analyze", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "SYSTEMD_COLORS": "0", "SYSTEMD_EMOJI": "0", "SYSTEMD_PAGER": "cat", "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_finds_nothing_to_say_about_the_units(installed: Path) -> None:
    """No unknown key, no value out of range."""
    assert (
        analyze("verify", "--man=no", str(installed / "smtpguard.service"), str(installed / "smtpguard.socket")) == ""
    )


def test_the_service_is_exposed_as_little_as_a_network_service_can_be(installed: Path) -> None:
    """2.0 leaves room for what a port below 1024 and a network need."""
    said = analyze("security", "--offline=true", str(installed / "smtpguard.service"))
    found = re.search(r"Overall exposure level for smtpguard\.service: ([0-9.]+)", said)
    assert found is not None
    assert float(found[1]) <= 2.0


def test_the_service_has_the_time_and_the_descriptors_that_the_settings_ask_for() -> None:
    """Two descriptors a session; a shutdown that systemd does not cut short."""
    service = unit("smtpguard.service")
    assert int(service["LimitNOFILE"][0]) >= 2 * Limits().sessions + 192
    assert int(service["TimeoutStopSec"][0]) > Timeouts().shutdown
    assert int(service["TimeoutStartSec"][0]) > ASK_SECONDS


def test_no_restart_is_tried_where_none_would_help() -> None:
    """Usage, a missing file, no permission, a fault in settings or policy."""
    statuses = {os.EX_USAGE, os.EX_NOINPUT, os.EX_NOPERM, os.EX_CONFIG}
    assert set(map(int, unit("smtpguard.service")["RestartPreventExitStatus"][0].split())) == statuses


def test_the_service_runs_without_root_and_says_when_it_is_ready() -> None:
    """A user of its own, one capability, and readiness told by the guard itself."""
    service = unit("smtpguard.service")
    assert service["Type"] == ["notify"]
    assert service["DynamicUser"] == ["yes"]
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == ["CAP_NET_BIND_SERVICE"]
    assert service["SyslogFacility"] == ["mail"]
    file = "${CONFIGURATION_DIRECTORY}/smtpguard.yaml"
    # No `check` in front: RestartPreventExitStatus holds for the main process alone, which tells the same faults.
    assert "ExecStartPre" not in service
    assert service["ExecStart"] == [f"{COMMAND} run --config {file}"]


def test_the_example_settings_pass_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    """And a warning would be a bad example, but for the folder that the unit makes, where it does not run."""
    assert main(["check", "--config", str(UNITS / "smtpguard.yaml")]) == 0
    said = capsys.readouterr()
    made_at_the_start = "systemd makes it when a unit with RuntimeDirectory=smtpguard starts"
    assert [line for line in said.err.splitlines() if not line.endswith(made_at_the_start)] == []
    assert f"{UNITS / 'smtpguard.yaml'}: ok\n" in said.out


def test_the_example_settings_give_outsiders_an_address_that_may_not_relay() -> None:
    """The recommended set-up, everything else being the default."""
    loaded = settings.load(UNITS / "smtpguard.yaml", {}).settings
    assert loaded.backend.endpoint == "tcp:127.0.0.1:2525"
    assert loaded.backend.bind == {"internal": "127.0.0.1", "default": "127.0.0.25"}
    assert loaded == Settings(listen=loaded.listen, backend=loaded.backend, admin=loaded.admin)
    folder = unit("smtpguard.service")["RuntimeDirectory"][0]
    assert loaded.admin == [f"unix:/run/{folder}/admin.sock"]


def test_the_guard_serves_the_socket_that_the_unit_names(tmp_path: Path) -> None:
    """What systemd does for smtpguard.socket: descriptor 3, under the name FileDescriptorName."""
    name = unit("smtpguard.socket")["FileDescriptorName"][0]
    text = (UNITS / "smtpguard.socket").read_text()
    endpoint = f"systemd:domain=INET:name={name}"
    assert f'listen: ["{endpoint}"]' in text
    errors = tmp_path / "stderr"
    with socket.create_server(("127.0.0.1", 0)) as backend, socket.create_server(("127.0.0.1", 0)) as passed:
        backend.settimeout(20)
        guard = [sys.executable, "-m", "smtpguard", "run", "--relay-check", "off", "--listen", endpoint]
        guard += ["--backend", f"tcp:127.0.0.1:{backend.getsockname()[1]}"]
        as_systemd = (
            f"import os; os.dup2({passed.fileno()}, 3); "
            f"os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES={name!r}); "
            f"os.execv({guard[0]!r}, {guard!r})"
        )
        with errors.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-c", as_systemd],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=[passed.fileno()],
            )
        try:
            wait_until(lambda: "listening on" in errors.read_text(), "the guard to listen", detail=errors.read_text)
            with socket.create_connection(passed.getsockname(), 20) as client:
                served, _ = backend.accept()
                with served:
                    served.sendall(b"220 backend.test ESMTP\r\n")
                    assert client.recv(100) == b"220 backend.test ESMTP\r\n"
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()


# -- the drop-in for transparent connections ---------------------------------------------------------------

DROP_IN = "smtpguard.service.d/transparent.conf"
ROUTES = UNITS / "smtpguard-transparent"


@pytest.fixture
def transparent(installed: Path) -> Path:
    """The service with the drop-in."""
    (installed / "smtpguard.service.d").mkdir()
    text = (UNITS / DROP_IN).read_text().replace("/usr/local/libexec/smtpguard-transparent", "/bin/true")
    (installed / DROP_IN).write_text(text)
    return installed


def test_systemd_takes_the_drop_in(transparent: Path) -> None:
    """And the service stays as little exposed as it was told to be."""
    assert analyze("verify", "--man=no", str(transparent / "smtpguard.service")) == ""
    said = analyze("security", "--offline=true", str(transparent / "smtpguard.service"))
    found = re.search(r"Overall exposure level for smtpguard\.service: ([0-9.]+)", said)
    assert found is not None
    assert float(found[1]) <= 2.0


def test_the_drop_in_adds_one_capability_and_the_routes() -> None:
    """Set up before the start, with the rights for that, and taken back however the service ended."""
    drop_in = unit(DROP_IN)
    assert drop_in["AmbientCapabilities"] == drop_in["CapabilityBoundingSet"] == ["CAP_NET_ADMIN"]
    assert drop_in["ExecStartPre"] == ["+/usr/local/libexec/smtpguard-transparent up"]
    assert drop_in["ExecStopPost"] == ["+/usr/local/libexec/smtpguard-transparent down"]


def test_systemd_takes_the_drop_in_for_private_keys(installed: Path) -> None:
    """A group that there is on a stock Debian with certificates, and no other right."""
    (installed / "smtpguard.service.d").mkdir()
    name = "smtpguard.service.d/private-keys.conf"
    (installed / name).write_text((UNITS / name).read_text())
    assert analyze("verify", "--man=no", str(installed / "smtpguard.service")) == ""
    assert unit(name) == {"SupplementaryGroups": ["ssl-cert"]}


def routes(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(ROUTES), *arguments], capture_output=True, text=True)


def test_the_script_shows_what_it_would_run() -> None:
    """The four commands for a server on the same host, or two for one elsewhere."""
    assert routes("show").stdout.splitlines() == [
        "ip -4 rule add from 127.0.0.0/8 iif lo table 123 preference 123",
        "ip -4 route replace local 0.0.0.0/0 dev lo table 123",
        "ip -6 rule add from ::1/128 iif lo table 123 preference 123",
        "ip -6 route replace local ::/0 dev lo table 123",
    ]
    assert routes("show", "192.0.2.25@eth1:2525").stdout.splitlines() == [
        "ip -4 rule add from 192.0.2.25/32 iif eth1 ipproto tcp sport 2525 table 123 preference 123",
        "ip -4 route replace local 0.0.0.0/0 dev lo table 123",
    ]


@pytest.mark.parametrize("arguments", [(), ("start",), ("up", "mx.test"), ("up", "127.0.0.1; reboot")])
def test_the_script_takes_nothing_else(arguments: tuple[str, ...]) -> None:
    """It is run by root."""
    assert routes(*arguments).returncode == os.EX_USAGE


def test_a_reload_reads_certificates_again() -> None:
    """SIGHUP, as the guard takes it."""
    assert unit("smtpguard.service")["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
