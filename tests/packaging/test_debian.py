"""The Debian package, on a Debian with a real systemd: it installs, serves, upgrades and goes as it should."""

from __future__ import annotations

import subprocess
import sysconfig
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from smtpguard import __version__
from smtpguard.setup import manifest
from tests.rig.bare_debian import BareDebian
from tests.rig.wait import wait_until

from .debian_support import (
    ELSEWHERE,
    OUTSIDE,
    build,
    builder,
    copy_of_source,
    elsewhere,
    files,
    install,
    machine,
    older,
    start_mail_server,
    talk,
)

POLICY = "/etc/smtpguard/policy.yaml"
SETTINGS = "/etc/smtpguard/smtpguard.yaml"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The Debian package, and the same built elsewhere; each beside the compiled wheel that it was made of."""
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    source = copy_of_source(tmp_path_factory.mktemp("here") / "smtpguard")
    copy = elsewhere(source, tmp_path_factory.mktemp("elsewhere") / "with a blank")
    builder()
    with ThreadPoolExecutor(2) as both:
        one = both.submit(build, source, first)
        other = both.submit(build, copy, second, ELSEWHERE)
        return one.result(), other.result()


@pytest.fixture(scope="module")
def package(packages: tuple[Path, Path]) -> Path:
    """The package."""
    return packages[0]


@pytest.fixture
def debian() -> Iterator[BareDebian]:
    """A machine without the package."""
    with machine() as booted:
        yield booted


@pytest.fixture
def installed(debian: BareDebian, package: Path) -> BareDebian:
    """A machine with the package, and a mail server behind port 25."""
    install(debian, package)
    start_mail_server(debian)
    return debian


def status(debian: BareDebian) -> str:
    """Return what `systemctl status` says, whatever its exit status is."""
    return debian.run("systemctl", "status", "--no-pager", "smtpguard.service", status=None)


def test_two_builds_of_one_source_are_the_same_to_the_octet(packages: tuple[Path, Path]) -> None:
    """Compiled modules and byte code included: who doubts a package builds it again."""
    one, other = packages
    assert one.name == other.name == f"smtpguard_{__version__}_amd64.deb"
    if one.read_bytes() != other.read_bytes():
        listed = [subprocess.run(["dpkg-deb", "-c", str(x)], capture_output=True, text=True).stdout for x in packages]
        differing = set(listed[0].splitlines()) ^ set(listed[1].splitlines())
        raise AssertionError("\n".join(sorted(differing)) or f"the content of a file differs: diffoscope {one} {other}")


def test_the_compiled_wheel_is_for_this_platform_and_works(packages: tuple[Path, Path], tmp_path: Path) -> None:
    """The Python modules stay beside the compiled ones, for a Python that those do not fit."""
    (wheel,), (other,) = (package.parent.glob("*.whl") for package in packages)
    assert wheel.name == other.name
    assert wheel.read_bytes() == other.read_bytes()
    assert not wheel.name.endswith("-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    ending = sysconfig.get_config_var("EXT_SUFFIX")
    assert (tmp_path / f"smtpguard/smtp/_survey{ending}").exists()
    assert (tmp_path / "smtpguard/smtp/dialogue.py").exists()

    def said(*arguments: str) -> str:
        python = builder() / "bin/python"  # which it was compiled for
        return subprocess.run([python, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    found = said("-c", "import smtpguard.smtp.dialogue as d; print(d.__file__)").strip()
    assert found == str(tmp_path / f"smtpguard/smtp/dialogue{ending}")
    assert "internal-vrfy.yaml (version " in said("-m", "smtpguard", "check")


def test_lintian_has_nothing_to_say(package: Path) -> None:
    """But for what debian/smtpguard.lintian-overrides gives a reason for; and no reason is left that nothing needs."""
    command = ["lintian", "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0", str(package)]
    done = subprocess.run(command, capture_output=True, text=True)
    said = [line for line in done.stdout.splitlines() if not line.startswith("N:")]
    assert said == []
    assert done.returncode == 0, done.stderr


def test_nothing_is_started_by_installing_and_the_next_step_is_told(debian: BareDebian, package: Path) -> None:
    """Port 25 is the mail server's; the settings are good as they come; and root's runs leave nothing in /usr."""
    said = install(debian, package)
    assert "smtpguard setup sendmail --dry-run" in said
    assert debian.says("ActiveState") == "inactive"
    assert debian.says("UnitFileState") == "disabled"
    assert debian.says("UnitFileState", "smtpguard.socket") == "disabled"
    before = files(debian)
    debian.run("touch", "/root/now")
    assert debian.run("smtpguard", "--version") == f"smtpguard {__version__}\n"
    checked = debian.run("smtpguard", "check", "--config", SETTINGS)
    assert f"{SETTINGS}: ok\n" in checked
    assert f"{POLICY} (version " in checked
    assert "252 2.5.2" in debian.run("smtpguard", "explain", "--config", SETTINGS, "--from", OUTSIDE, "VRFY george")
    compiled = "import smtpguard.smtp.dialogue as d; print(d.__file__)"
    assert debian.run("/usr/lib/smtpguard/bin/python3", "-P", "-c", compiled).endswith("-linux-gnu.so\n")
    assert files(debian) == before
    assert debian.run("find", "/usr", "-xdev", "-newer", "/root/now") == ""


def test_the_service_starts_serves_and_logs_under_a_real_systemd(installed: BareDebian) -> None:
    """Ready when it is; as an account of its own; a VRFY goes through from inside and is answered outside."""
    installed.run("systemctl", "start", "smtpguard")
    with talk(installed, "127.0.0.1") as inside:
        inside.say("HELO client.example")
        assert inside.say("VRFY george").startswith("250 2.1.5 George Washington")
    with talk(installed, OUTSIDE) as outside:
        outside.say("HELO client.example")
        assert outside.say("VRFY george").startswith("252 2.5.2 Cannot VRFY user")
    main = installed.says("MainPID")
    assert installed.run("ps", "-o", "user=", "-p", main).strip() == "smtpguard"
    refused = wait_until(
        lambda: [x for x in installed.journal() if "VRFY george" in x["MESSAGE"] and OUTSIDE in x["MESSAGE"]],
        "the refusal in the journal",
        detail=lambda: status(installed),
    )
    for entry in refused:
        assert (entry["PRIORITY"], entry["SYSLOG_FACILITY"], entry["SYSLOG_IDENTIFIER"]) == ("6", "2", "smtpguard")
        assert entry["_CAP_EFFECTIVE"] == "400"  # to bind port 25, and for nothing else
    assert "internal-vrfy" not in installed.says("StatusText")
    assert "ready" in installed.run("smtpguard", "status", "--config", SETTINGS)


def test_a_reload_is_told_to_systemd_and_so_is_its_refusal(installed: BareDebian) -> None:
    """The process is the same; systemctl status tells why it serves as before."""
    installed.run("systemctl", "start", "smtpguard")
    main = installed.says("MainPID")
    policy = installed.path(POLICY)
    good = policy.read_text()
    policy.write_text(good + "\n# another version\n")
    installed.run("systemctl", "reload", "smtpguard")
    wait_until(lambda: any("reloaded: policy" in x["MESSAGE"] for x in installed.journal()), "the reload")
    policy.write_text("rulesets: {check_vfry: [{action: reply}]}\n")
    installed.run("systemctl", "reload", "smtpguard")
    wait_until(
        lambda: "reload refused" in installed.says("StatusText"), "the refusal", detail=lambda: status(installed)
    )
    (named,) = (x for x in installed.journal() if "did you mean check_vrfy?" in x["MESSAGE"])
    assert f"{POLICY}:1:12:" in named["MESSAGE"]
    assert int(named["PRIORITY"]) <= 3
    assert installed.says("MainPID") == main
    with talk(installed, OUTSIDE) as outside:
        outside.say("HELO client.example")
        assert outside.say("VRFY george").startswith("252 2.5.2")


def test_a_guard_that_is_stuck_is_started_anew_by_the_watchdog(installed: BareDebian) -> None:
    """Its event loop says that it lives; who has stopped says nothing."""
    drop_in = installed.path("/etc/systemd/system/smtpguard.service.d")
    drop_in.mkdir(parents=True)
    (drop_in / "soon.conf").write_text("[Service]\nWatchdogSec=2\nRestartSec=0\n")
    installed.run("systemctl", "daemon-reload")
    installed.run("systemctl", "start", "smtpguard")
    main = installed.says("MainPID")
    installed.run("kill", "-STOP", main)
    wait_until(
        lambda: installed.says("NRestarts") == "1" and installed.says("ActiveState") == "active",
        "another guard",
        seconds=60,
        detail=lambda: status(installed),
    )
    assert installed.says("MainPID") != main
    with talk(installed, OUTSIDE) as outside:
        assert outside.banner


def test_a_restart_refuses_nobody_when_systemd_holds_the_port(installed: BareDebian) -> None:
    """The socket unit of the package, with the `listen` that its head names."""
    settings = installed.path(SETTINGS)
    text = settings.read_text()
    assert "  - tcp:25:interface=0.0.0.0\n" in text
    settings.write_text(text.replace("tcp:25:interface=0.0.0.0", "systemd:domain=INET:name=smtp"))
    installed.run("systemctl", "enable", "--now", "smtpguard.socket")
    assert installed.says("ActiveState") == "inactive"
    with talk(installed, OUTSIDE) as first:  # starts it
        assert first.banner
    installed.run("systemctl", "stop", "smtpguard.service")
    with talk(installed, OUTSIDE) as waiting:
        assert waiting.banner
    assert installed.says("ActiveState") == "active"


def test_an_upgrade_keeps_what_was_changed_and_restarts_what_ran(
    debian: BareDebian, package: Path, tmp_path: Path
) -> None:
    """A changed conffile stays, an unchanged one is the new one, and the port is served by the new version."""
    install(debian, older(package, tmp_path / "older"))
    start_mail_server(debian)
    policy = debian.path(POLICY)
    policy.write_text(policy.read_text() + "# the site's own\n")
    debian.run("systemctl", "enable", "--now", "smtpguard")
    main = debian.says("MainPID")
    install(debian, package)
    assert policy.read_text().endswith("# the site's own\n")
    assert "0.0.9" not in debian.path(SETTINGS).read_text()
    assert debian.says("ActiveState") == "active"
    assert debian.says("MainPID") != main
    assert debian.says("UnitFileState") == "enabled"
    # And one that did not run is not started.
    debian.run("systemctl", "stop", "smtpguard")
    install(debian, older(package, tmp_path / "older"))
    install(debian, package)
    assert debian.says("ActiveState") == "inactive"


def test_an_upgrade_whose_settings_have_a_fault_leaves_the_old_guard_running(
    debian: BareDebian, package: Path, tmp_path: Path
) -> None:
    """It would end with status 78, and port 25 would be nobody's."""
    install(debian, older(package, tmp_path / "older"))
    start_mail_server(debian)
    debian.run("systemctl", "start", "smtpguard")
    main = debian.says("MainPID")
    debian.path(POLICY).write_text("rulesets: {check_vfry: [{action: reply}]}\n")
    said = install(debian, package)
    assert "did you mean check_vrfy?" in said
    assert "systemctl restart smtpguard" in said
    assert debian.says("MainPID") == main
    with talk(debian, OUTSIDE) as outside:
        outside.say("HELO client.example")
        assert outside.say("VRFY george").startswith("252 2.5.2")


def test_the_log_file_is_rotated_by_what_the_package_installs(installed: BareDebian) -> None:
    """The guard writes it as its own account, logrotate moves it as root, and tells the guard by systemd."""
    settings = installed.path(SETTINGS)
    text = settings.read_text()
    assert "  to: stderr " in text
    settings.write_text(text.replace("  to: stderr ", "  file: /var/log/smtpguard/smtpguard.log\n  to: file "))
    installed.run("systemctl", "start", "smtpguard")
    log = "/var/log/smtpguard/smtpguard.log"
    wait_until(lambda: "listening on" in installed.run("cat", log, status=None), "the log")
    installed.run("logrotate", "--force", "/etc/logrotate.d/smtpguard")
    assert "listening on" in installed.run("cat", f"{log}.1")
    with talk(installed, OUTSIDE) as outside:
        outside.say("HELO client.example")
        outside.say("VRFY george")
    wait_until(lambda: "VRFY george" in installed.run("cat", log, status=None), "the new log")
    assert installed.run("stat", "--format=%U", log) == "smtpguard\n"


def test_the_paths_are_those_of_a_package(debian: BareDebian, package: Path) -> None:
    """Not those that a wheel's units have; what the drop-in for transparent identity calls is there."""
    install(debian, package)
    assert debian.says("ExecStart").startswith("{ path=/usr/bin/smtpguard ;")
    debian.run(
        "grep", "-r", "--include=*.service", "--include=*.conf", "^Exec.*/opt/", "/usr/share/smtpguard", status=1
    )
    drop_in = "/usr/share/smtpguard/systemd/smtpguard.service.d/transparent.conf"
    debian.run("install", "-D", "-m", "644", drop_in, "/etc/systemd/system/smtpguard.service.d/transparent.conf")
    assert "ExecStartPre=+/usr/libexec/smtpguard-transparent up" in debian.run("systemctl", "cat", "smtpguard")
    start_mail_server(debian)
    debian.run("systemctl", "daemon-reload")
    debian.run("systemctl", "start", "smtpguard")
    assert "from 127.0.0.0/8 iif lo lookup 123" in debian.run("ip", "rule")
    debian.run("systemctl", "stop", "smtpguard")
    assert "lookup 123" not in debian.run("ip", "rule")


def test_a_guard_before_a_mail_server_is_not_removed(installed: BareDebian) -> None:
    """Nobody would reach the mail server, until `smtpguard setup` has put it back."""
    installed.run("systemctl", "start", "smtpguard")
    kept = installed.path(manifest.FOLDER) / "manifest.json"
    kept.parent.mkdir()
    kept.write_text("{}")
    said = installed.run("apt-get", "remove", "--yes", "smtpguard", status=100)
    assert "smtpguard setup sendmail --undo" in said
    with talk(installed, OUTSIDE) as outside:
        assert outside.banner
    kept.unlink()
    installed.run("apt-get", "remove", "--yes", "smtpguard")


def test_removal_keeps_what_is_the_administrators_and_a_purge_leaves_nothing(debian: BareDebian, package: Path) -> None:
    """Settings, state and logs outlive the removal; after the purge it can be installed again."""
    before = files(debian)
    install(debian, package)
    start_mail_server(debian)
    debian.run("systemctl", "enable", "--now", "smtpguard")
    wait_until(lambda: debian.path("/var/lib/private/smtpguard").is_dir(), "the state's folder")
    state, log = debian.path("/var/lib/private/smtpguard/state"), debian.path("/var/log/private/smtpguard/a.log")
    state.write_text("kept\n")
    log.write_text("kept\n")
    debian.run("systemctl", "stop", "mta")
    debian.run("apt-get", "remove", "--yes", "smtpguard")
    assert debian.says("ActiveState") == "inactive"
    with pytest.raises(ConnectionRefusedError):
        talk(debian, OUTSIDE)
    for kept in (state, log, debian.path(POLICY)):
        assert kept.exists()
    gone = {name for name in files(debian) if name.startswith("usr/") and name not in before}
    assert gone == set()
    debian.run("apt-get", "purge", "--yes", "smtpguard")
    assert files(debian) - before == set()
    assert "smtpguard:x:" in debian.run("getent", "passwd", "smtpguard")
    install(debian, package)
    debian.run("smtpguard", "check", "--config", SETTINGS)
