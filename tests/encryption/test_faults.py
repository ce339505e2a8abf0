"""What is wrong with certificates is told before anybody connects: all of it, with file and reason, and 78."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from smtpguard.cli.main import main
from tests.rig.client import Talk
from tests.rig.guard import ROOT
from tests.sendmail.support import ConfiguredGuard, write_settings
from tests.tls.support import Authority, Issued

from .scripted import ScriptedBackend, obliging
from .support import MX, POLICY, Certified, listener, listening, starttls

NOWHERE = ("127.0.0.1", 1)
UNPRIVILEGED = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")
"""Root without capabilities may read no more than its permissions say."""
Fault = Callable[[Path, Authority], tuple[dict[str, object], str]]
"""Writes files into a folder; returns what `starttls` says, and a pattern of the line expected."""


def settings_for(folder: Path, *listeners: Mapping[str, object], **settings: object) -> Path:
    options = listening(*listeners, **settings)
    return write_settings(folder, NOWHERE, POLICY, options["settings"], options["listen"])


def told(path: Path, command: str, *wrapper: str) -> str:
    """Return what `smtpguard COMMAND --config PATH` says on its way to 78, on stderr."""
    line = [*wrapper, sys.executable, "-m", "smtpguard", command, "--config", str(path)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, stdin=subprocess.DEVNULL, text=True, timeout=20)
    assert done.returncode == os.EX_CONFIG, done.stdout + done.stderr
    return done.stderr


Check = Callable[[Path], str]


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Check:
    """The same for `check`, without a process of its own."""

    def said(path: Path) -> str:
        assert main(["check", "--config", str(path)]) == os.EX_CONFIG
        return capsys.readouterr().err

    return said


# -- one at a time -------------------------------------------------------------------------


def pair(chain: str = "mx.crt", key: str = "mx.key", **more: object) -> dict[str, object]:
    return {"certificates": {"chain": chain, "key": key}, **more}


def _missing(folder: Path, authority: Authority) -> tuple[dict[str, object], str]:
    return pair("nowhere.crt"), r"nowhere\.crt:1:1: no such file"


def _dangling(folder: Path, authority: Authority) -> tuple[dict[str, object], str]:
    (folder / "link.crt").symlink_to("nowhere.crt")
    return pair("link.crt"), r"link\.crt:1:1: the file that this link leads to is missing"


def _no_key(folder: Path, authority: Authority) -> tuple[dict[str, object], str]:
    return {"certificates": "mx.crt"}, r"mx\.crt:1:1: no private key in it"


def _wrong_key(folder: Path, authority: Authority) -> tuple[dict[str, object], str]:
    authority.issue().write(folder, "other")
    return pair(key="other.key"), r"other\.key:1:1: the key does not belong to the certificate in mx\.crt"


def _expired(folder: Path, authority: Authority) -> tuple[dict[str, object], str]:
    authority.issue((MX,), expired=True).write(folder, "old")
    return pair("old.crt", "old.key"), r"old\.crt:1:1: expired on \d{4}-\d\d-\d\d: renew it"


def _not_yet(folder: Path, authority: Authority) -> tuple[dict[str, object], str]:
    authority.issue((MX,), begins=2).write(folder, "new")
    return pair("new.crt", "new.key"), r"new\.crt:1:1: not valid before \d{4}-.* UTC: wait, or set the clock"


def _for_clients(folder: Path, authority: Authority) -> tuple[dict[str, object], str]:
    authority.issue((MX,), client=True).write(folder, "client")
    return pair("client.crt", "client.key"), r"client\.crt:1:1: not for servers"


def enciphered(folder: Path, authority: Authority) -> Issued:
    issued = authority.issue((MX,), passphrase=b"open sesame")
    issued.write(folder, "locked")
    return issued


def _enciphered(folder: Path, authority: Authority) -> tuple[dict[str, object], str]:
    enciphered(folder, authority)
    return pair("locked.crt", "locked.key"), r"locked\.key:1:1: the key is enciphered: give its passphrase"


def _wrong_passphrase(folder: Path, authority: Authority) -> tuple[dict[str, object], str]:
    enciphered(folder, authority)
    (folder / "passphrase").write_text("open barley\n")
    starttls = pair("locked.crt", "locked.key", passphrase_file="passphrase")
    return starttls, r"locked\.key:1:1: the passphrase does not open the key"


def _no_passphrase(folder: Path, authority: Authority) -> tuple[dict[str, object], str]:
    enciphered(folder, authority)
    return pair("locked.crt", "locked.key", passphrase_file="nowhere"), r"nowhere:1:1: no such file"


def _empty(folder: Path, authority: Authority) -> tuple[dict[str, object], str]:
    (folder / "empty").mkdir()
    return {"certificates": "empty"}, r"empty:1:1: the directory is empty: put a chain and its key there"


def _no_directory_of_certificates(folder: Path, authority: Authority) -> tuple[dict[str, object], str]:
    (folder / "texts").mkdir()
    (folder / "texts/README").write_text("nothing")
    return {"certificates": "texts"}, r"texts:1:1: no certificate in it: "


def _no_ca(folder: Path, authority: Authority) -> tuple[dict[str, object], str]:
    (folder / "ca.pem").write_text("an authority")
    return pair(client_ca="ca.pem"), r"ca\.pem:1:1: no certificate in it: it must be PEM"


def _key_for_ca(folder: Path, authority: Authority) -> tuple[dict[str, object], str]:
    return pair(client_ca="mx.key"), r"mx\.key:1:1: no certificate in it: it must be PEM"


FAULTS: list[Fault] = [
    _missing, _dangling, _no_key, _wrong_key, _expired, _not_yet, _for_clients, _enciphered,
    _wrong_passphrase, _no_passphrase, _empty, _no_directory_of_certificates, _no_ca, _key_for_ca,
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_with_its_file(certified: Certified, tmp_path: Path, fault: Fault, check: Check) -> None:
    """One line, no traceback, no key and no passphrase in it, and nobody is asked for one."""
    certified.authority.issue((MX,)).write(tmp_path, "mx")
    says, expected = fault(tmp_path, certified.authority)
    _holds(check(settings_for(tmp_path, listener("mx", starttls=says))), tmp_path, expected)


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_key_that_may_not_be_read_is_told(certified: Certified, tmp_path: Path, command: str) -> None:
    """Whom the guard runs as is what counts, and root without capabilities is nobody."""
    _, key = certified.authority.issue((MX,)).write(tmp_path, "mx")
    os.chown(key, 65534, 65534)
    said = told(settings_for(tmp_path, listener("mx", starttls=pair())), command, *UNPRIVILEGED)
    _holds(said, tmp_path, r"mx\.key:1:1: permission denied: whom the guard runs as must be able to read it")


def _holds(said: str, folder: Path, expected: str) -> None:
    lines = [line for line in said.splitlines() if ": warning: " not in line]
    assert len(lines) == 1, said
    assert re.match(f"{re.escape(str(folder))}/{expected}", lines[0]), said
    assert "PRIVATE KEY-----" not in said
    assert "open barley" not in said


# -- all at once ---------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["check", "run"])
def test_all_faults_are_told_at_once(certified: Certified, tmp_path: Path, command: str) -> None:
    """Of every listener, of the backend, and of the policy's tests, beside the settings' own under this policy."""
    certified.authority.issue((MX,)).write(tmp_path, "mx")
    certified.authority.issue((MX,), expired=True).write(tmp_path, "old")
    path = settings_for(
        tmp_path,
        listener("mx", starttls=pair("nowhere.crt")),
        listener("submissions", starttls=pair("old.crt", "old.key", client_ca="mx.key"), tls="implicit"),
        listener("passing", starttls={"passthrough": ["partnres"]}),
        backend={"endpoint": "tcp:127.0.0.1:1", "bind": {"inside": "127.0.0.1"}},
    )
    (tmp_path / "policy.yaml").write_text(POLICY + "tests: [{from: 203.0.113.9, command: VRFY x, expect: 250}]\n")
    said = told(path, command)
    for expected in (
        "nowhere.crt:1:1: no such file",
        "old.crt:1:1: expired on ",
        "mx.key:1:1: no certificate in it",
        "passthrough: unknown network 'partnres'",
        "bind: unknown network 'inside'",
        "expected 250, got 252",
    ):
        assert expected in said, said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ({"tls": "implicit"}, "tls: implicit needs certificates"),
        ({"tls": "implicit", "starttls": {"passthrough": ["internal"]}}, "tls: implicit needs certificates"),
        ({"starttls": {}}, "starttls: it needs `certificates`, or `passthrough`"),
        ({"starttls": {"passthrough": ["internal"], "client_ca": "ca.pem"}}, "of no use without `certificates`"),
        ({"starttls": {"certificates": "x", "passphrase": "secret"}}, "passphrase"),
        ({"tls": "always"}, "tls: "),
    ],
)
def test_settings_that_make_no_sense_are_told(
    tmp_path: Path, says: Mapping[str, object], expected: str, check: Check
) -> None:
    """By file, line and column of the settings."""
    said = check(settings_for(tmp_path, listener("mx", **says)))
    assert re.search(rf"smtpguard\.yaml:\d+:\d+: .*{re.escape(expected)}", said), said
    assert "secret" not in said


@pytest.mark.parametrize("wanted", ["opportunistic", "required"])
def test_the_servers_starttls_is_used_by_one_only(tmp_path: Path, wanted: str, check: Check) -> None:
    """By the guard, or by the clients in `passthrough`."""
    backend = {"endpoint": "tcp:127.0.0.1:1", "starttls": wanted}
    said = check(settings_for(tmp_path, listener("mx", starttls={"passthrough": ["internal"]}), backend=backend))
    assert "passthrough: the backend's STARTTLS is used by `backend.starttls` already: choose one" in said


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ({"starttls": "required", "ca": "nowhere.pem"}, r"nowhere\.pem:1:1: no such file"),
        ({"starttls": "required", "ca": "policy.yaml"}, r"policy\.yaml:1:1: no certificate in it"),
        ({"starttls": "opportunistic", "ca": "ca.pem"}, r"smtpguard\.yaml:.* only `starttls: required` verifies"),
    ],
)
def test_faults_of_the_backends_authorities_are_told(
    tmp_path: Path, says: Mapping[str, object], expected: str, check: Check
) -> None:
    """A guard that could verify nobody does not start."""
    backend = {"endpoint": "tcp:127.0.0.1:1", **says}
    said = check(settings_for(tmp_path, listener("mx"), backend=backend))
    assert re.search(expected, said), said


# -- what is none ----------------------------------------------------------------------------------


def test_the_right_passphrase_opens_the_key(certified: Certified, tmp_path: Path) -> None:
    """Its first line, with or without a CR; nothing of it is in the log."""
    enciphered(tmp_path, certified.authority)
    (tmp_path / "passphrase").write_bytes(b"open sesame\r\nanother line\n")
    says = listener("mx", starttls=pair("locked.crt", "locked.key", passphrase_file="passphrase"))
    with (
        ScriptedBackend(obliging) as backend,
        ConfiguredGuard(tmp_path, backend.address, POLICY, **listening(says)) as guard,
        starttls(guard.port, certified.trusting()) as client,
    ):
        assert client.host_names == [MX]
    assert "sesame" not in "\n".join(guard.lines())


def test_a_warning_keeps_nobody_from_starting(certified: Certified, tmp_path: Path) -> None:
    """A key that everybody may read, in a certificate that ends next week."""
    chain, key = certified.authority.issue((MX,), days=7).write(tmp_path, "mx")
    key.chmod(0o644)
    with (
        ScriptedBackend(obliging) as backend,
        ConfiguredGuard(tmp_path, backend.address, POLICY, **listening(listener("mx", starttls=pair()))) as guard,
        Talk("127.0.0.1", guard.port) as client,
    ):
        assert client.banner == "220 backend"
        guard.wait_line(
            rf"{re.escape(str(key))}:1:1: warning: everybody on this host may read the key: chmod o= mx\.key"
        )
        guard.wait_line(rf"{re.escape(str(chain))}:1:1: warning: expires on .*: renew it")
