"""`state` in the settings: a path, a URL, or both; and no password in any text."""

from __future__ import annotations

from pathlib import Path

import pytest

from smtpguard.config import settings
from smtpguard.config.faults import Faulty
from smtpguard.config.state import State

REST = "listen: tcp:25\nbackend: tcp:127.0.0.1:2525\n"


def load(folder: Path, text: str) -> State:
    """Read settings with this `state`."""
    path = folder / "smtpguard.yaml"
    path.write_text(f"{REST}state: {text}\n")
    return settings.load(path, {}).settings.state


def fault_of(folder: Path, text: str) -> str:
    """Return the one fault of settings with this `state`, without the file's name."""
    with pytest.raises(Faulty) as error:
        load(folder, text)
    (fault,) = error.value.faults
    return str(fault).removeprefix(f"{folder}/smtpguard.yaml:")


@pytest.mark.parametrize(
    ("text", "file", "shared"),
    [
        ("/var/lib/x/guard.db", "/var/lib/x/guard.db", ""),
        ("redis://127.0.0.1:6379/0", None, "redis://127.0.0.1:6379/0"),
        ("rediss://u:p@redis.example/1?ssl_ca_certs=/etc/ca.pem", None, "rediss://redis.example/1"),
        ("redis+unix:///run/redis/redis.sock", None, "redis+unix:///run/redis/redis.sock"),
        ("{file: memory, shared: 'redis://[::1]:6379'}", None, "redis://[::1]:6379"),
        ("{file: /x/y.db, shared: 'redis://:secret@h'}", "/x/y.db", "redis://h"),
    ],
)
def test_a_text_is_a_url_or_a_path(tmp_path: Path, text: str, file: str | None, shared: str) -> None:
    """A mapping has both; what may be shown of the URL has no password."""
    state = load(tmp_path, text)
    assert state.path({}) == file
    assert state.shared_shown == shared


def test_a_path_begins_at_the_settings_file_and_the_default_is_systemds_folder(tmp_path: Path) -> None:
    """Unless it says `memory`; without systemd there is none."""
    assert load(tmp_path, "guard.db").path({}) == str(tmp_path / "guard.db")
    assert load(tmp_path, "{file: guard.db}").path({}) == str(tmp_path / "guard.db")
    nothing = State()
    assert nothing.path({}) is None
    assert nothing.path({"STATE_DIRECTORY": "/var/lib/smtpguard:/var/lib/other"}) == "/var/lib/smtpguard/smtpguard.db"
    assert load(tmp_path, "memory").path({"STATE_DIRECTORY": "/var/lib/smtpguard"}) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("redis://", "names no Redis: write it as redis://HOST:6379/0"),
        ("redis:host", "names no Redis"),
        ("redis+unix://", "names no Redis"),
        ("redis://h:port/0", "this is no URL"),
        ("redis://h/zero", "'zero' is no number of a database"),
        ("redis://h/0?retry=1", "unknown option 'retry' in the URL (known: db, ssl_ca_certs"),
        ("{shared: 'http://h'}", "names no Redis"),
        ("{shared: /path}", "names no Redis"),
        ("{file: ''}", "file: "),
        ("{max_bytes: 5}", "max_bytes: must be greater than or equal to 1048576, not 5"),
        ("{fiel: x}", "unknown key 'fiel' (did you mean file?)"),
    ],
)
def test_what_names_nothing_is_a_fault(tmp_path: Path, text: str, fault: str) -> None:
    """With what to write instead."""
    found = fault_of(tmp_path, text)
    assert fault in found
    assert found.startswith("3:")


@pytest.mark.parametrize(
    "text",
    ["redis://u:geheim@", "redis://:geheim@h:x/0", "{shared: 'http://u:geheim@h'}", "redis://:geheim@h/0?a=geheim"],
)
def test_no_fault_shows_a_password(tmp_path: Path, text: str) -> None:
    """It goes into logs, and into the terminals of others."""
    assert "geheim" not in fault_of(tmp_path, text)
