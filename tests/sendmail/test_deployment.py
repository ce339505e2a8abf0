"""What an administrator meets on the way to a guard that serves: the steps of the README, and the slips."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.sendmail import RealSendmail

from .support import INSIDE, OUTSIDE, ConfiguredGuard, hello, policy, write_settings
from .test_service import BY_NETWORK, ELSEWHERE, run

ACCESS = Path("/var/lib/smtpguard-tests-access")
DUMMY = "198.18.0.25"
"""An address of the benchmark range (RFC 2544), put on the loopback interface by the README's advice."""


@pytest.fixture(scope="module")
def debian() -> Iterator[RealSendmail]:
    """A sendmail that relays for all of 127.0.0.0/8, as Debian's access map lets it."""
    ACCESS.mkdir(mode=0o755, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=ACCESS))
    folder.chmod(0o755)
    try:
        (folder / "access").write_text("Connect:127 RELAY\n", "ascii")
        subprocess.run(["makemap", "hash", str(folder / "access")], input=b"Connect:127 RELAY\n", check=True)
        with RealSendmail(extra_mc=f"FEATURE(`access_db', `hash -o {folder}/access')dnl\n") as server:
            yield server
    finally:
        shutil.rmtree(folder)


def serving(server: RealSendmail, folder: Path, bind: object) -> ConfiguredGuard:
    """Return a guard before `server` that would not start if it relayed for outsiders."""
    endpoint = f"tcp:{server.address}:{server.port}"
    settings = {"backend": {"endpoint": endpoint, "bind": bind}, "relay_check": "enforce"}
    return ConfiguredGuard(folder, (server.address, server.port), policy(), settings)


def test_an_access_map_that_relays_for_all_of_127_is_told_of(debian: RealSendmail, tmp_path: Path) -> None:
    """The advice is not what was done already."""
    settings = {
        "backend": {"endpoint": f"tcp:{debian.address}:{debian.port}", "bind": BY_NETWORK},
        "relay_check": "enforce",
    }
    done = run("run", "--config", str(write_settings(tmp_path, (debian.address, debian.port), policy(), settings)))
    assert done.returncode == os.EX_CONFIG
    assert "It relays for 127.0.0.25" in done.stderr
    assert "Connect:127 RELAY" in done.stderr


def test_an_address_outside_127_will_do_where_the_map_may_not_be_touched(debian: RealSendmail, tmp_path: Path) -> None:
    """README: `ip address add 198.18.0.25/32 dev lo`."""
    subprocess.run(["ip", "address", "add", f"{DUMMY}/32", "dev", "lo"], check=True)
    try:
        with serving(debian, tmp_path, {"internal": "127.0.0.1", "default": DUMMY}) as guard:
            guard.wait_line(f"refuses to relay mail from {DUMMY}")
            for source, code in ((INSIDE, "250"), (OUTSIDE, "550")):
                with hello(guard.port, source) as client:
                    client.say("MAIL FROM:<a@b.example>")
                    assert client.say(ELSEWHERE).startswith(code)
    finally:
        subprocess.run(["ip", "address", "del", f"{DUMMY}/32", "dev", "lo"], check=True)


def test_the_start_tells_who_gets_which_address(stock: RealSendmail, tmp_path: Path) -> None:
    """`bind` for insiders gives them what the server allows that address."""
    with serving(stock, tmp_path, BY_NETWORK) as guard:
        assert "clients in internal reach the mail server from 127.0.0.1" in "\n".join(guard.lines())
        assert "others reach the mail server from 127.0.0.25" in "\n".join(guard.lines())


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            {"backend": {"endpoint": "tcp:127.0.0.1:1", "bind": "203.0.113.1"}},
            "bind: default: 203.0.113.1 cannot be used",
        ),
        ({"backend": {"endpoint": "tcp:127.0.0.1:2501"}, "listen": "tcp:2501"}, "is a listener of this guard"),
        ({"backend": "unix:/run/x", "listen": "unix:/run/x"}, "is a listener of this guard"),
        ({"backend": {"endpoint": "tcp:127.0.0.1:1:bindAddress=127.0.0.2", "bind": "127.0.0.3"}}, "remove one of them"),
        ({"backend": {"endpoint": "unix:/run/x", "bind": "127.0.0.1"}}, "a unix socket has no source address"),
        ({"backend": {"endpoint": "tcp:\\:\\:1:1", "bind": "127.0.0.25"}}, "the families differ"),
        (
            {"backend": {"endpoint": "tcp:127.0.0.1:1", "bind": {"elsewhere": "127.0.0.25"}}},
            "unknown network 'elsewhere'",
        ),
    ],
)
def test_a_backend_that_cannot_work_ends_with_78(tmp_path: Path, settings: dict[str, object], text: str) -> None:
    """At the start, not at the first client."""
    done = run("run", "--config", str(write_settings(tmp_path, ("127.0.0.1", 1), policy(), settings)))
    assert done.returncode == os.EX_CONFIG
    assert text in done.stderr


def test_a_rule_for_a_listener_that_is_not_there_ends_with_78(tmp_path: Path) -> None:
    """Such a rule would never match, and nobody would know."""
    rules = "rulesets: {check_vrfy: [{listener: outsde, action: reply}, {action: forward}]}"
    settings = {"listen": [{"endpoint": "tcp:0:interface=127.0.0.1", "name": "outside"}]}
    path = write_settings(tmp_path, ("127.0.0.1", 1), rules, settings)
    for command in ("run", "check"):
        done = run(command, "--config", str(path))
        assert done.returncode == os.EX_CONFIG
        assert "policy.yaml:1:36: listener: no listener is named 'outsde' in the settings (did you mean outside?)" in (
            done.stderr
        )


def test_sighup_reloads_and_says_so(stock: RealSendmail, tmp_path: Path) -> None:
    """Administrators of sendmail send it to reload; closing a terminal sends it too."""
    with ConfiguredGuard(tmp_path, (stock.address, stock.port), policy()) as guard:
        guard.signal(signal.SIGHUP)
        guard.wait_line("reloaded: policy ")
        with hello(guard.port, INSIDE) as client:
            assert client.say("VRFY george").startswith("250 ")


def test_syslog_without_a_daemon_is_told_on_stderr(tmp_path: Path) -> None:
    """syslog(3) itself says nothing, ever."""
    settings = {"log": {"to": "syslog"}, "backend": {"endpoint": "tcp:127.0.0.1:1", "bind": "203.0.113.1"}}
    path = write_settings(tmp_path, ("127.0.0.1", 1), policy(), settings)
    done = run(
        "run",
        "--config",
        str(path),
        wrapper=("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev && exec "$@"', "sh"),
    )
    assert "there is no /dev/log" in done.stderr
