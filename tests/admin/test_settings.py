"""Where the admin endpoint may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from smtpguard.config.admin import parse_admin
from smtpguard.config.faults import Faulty
from smtpguard.config.settings import admin_named_in, load

SOCKET = "unix:/run/smtpguard/admin.sock"


@pytest.mark.parametrize(
    ("text", "path", "mode", "host", "port"),
    [
        (SOCKET, "/run/smtpguard/admin.sock", 0o600, "", 0),
        ("unix:/a/b:mode=0660", "/a/b", 0o660, "", 0),
        ("unix:address=/a/b", "/a/b", 0o600, "", 0),
        ("tcp:8025:interface=127.0.0.1", "", 0, "127.0.0.1", 8025),
        ("tcp:8025:interface=127.0.0.5", "", 0, "127.0.0.5", 8025),
        (r"tcp6:8025:interface=\:\:1", "", 0, "::1", 8025),
    ],
)
def test_places_on_this_host_are_taken(text: str, path: str, mode: int, host: str, port: int) -> None:
    """A unix socket is for its owner unless it says otherwise."""
    place = parse_admin(text)
    assert (place.text, place.path, place.mode, place.host, place.port) == (text, path, mode, host, port)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tcp:8025", "without interface= it is on all of them"),
        ("tcp:8025:interface=0.0.0.0", "0.0.0.0 is reached from other hosts"),
        ("tcp:8025:interface=192.0.2.1", "192.0.2.1 is reached from other hosts"),
        (r"tcp6:8025:interface=\:\:", ":: is reached from other hosts"),
        (r"tcp6:8025:interface=\:\:ffff\:127.0.0.1", "is reached from other hosts"),
        ("systemd:domain=UNIX:name=admin", "is opened by the guard itself"),
        ("unix:admin.sock", "must begin with a slash"),
        (f"unix:/{'x' * 107}", "at most 107 octets"),
        (f"{SOCKET}:mode=666", "not everybody may: mode=600 or mode=660"),
        (f"{SOCKET}:mode=4660", "not everybody may: mode=600 or mode=660"),
        (f"{SOCKET}:lockfile=0", "there is no lock file here"),
        ("ssl:8025", "no endpoint that can be used here"),
        ("8025", "no endpoint that can be used here"),
    ],
)
def test_any_other_place_is_a_fault_that_says_why(tmp_path: Path, text: str, why: str) -> None:
    """With its line and column."""
    file = written(tmp_path, admin=[SOCKET, text])
    with pytest.raises(Faulty) as raised:
        load(file, {})
    (fault,) = raised.value.faults
    assert why in fault.text
    assert fault.file == str(file)
    assert fault.line == 3  # of the second item


@pytest.mark.parametrize(
    ("admin", "listen", "why"),
    [
        (["tcp:25:interface=127.0.0.1"], "tcp:25", "is where clients come in (tcp:25)"),
        (["tcp:25:interface=127.0.0.1"], "tcp:25:interface=127.0.0.1", "is where clients come in"),
        ([r"tcp6:25:interface=\:\:1"], r"tcp6:25:interface=\:\:", "is where clients come in"),
        ([SOCKET], SOCKET, "is where clients come in"),
        ([SOCKET, f"{SOCKET}:mode=600"], "tcp:25", "is there twice"),
        (["tcp:1:interface=127.0.0.1"] * 2, "tcp:25", "is there twice"),
    ],
)
def test_it_is_never_where_mail_comes_in(tmp_path: Path, admin: list[str], listen: str, why: str) -> None:
    """Nor twice at the same place."""
    with pytest.raises(Faulty, match="admin: ") as raised:
        load(written(tmp_path, admin=admin, listen=listen), {})
    assert why in str(raised.value)


def test_beside_a_listener_elsewhere_there_is_no_fault(tmp_path: Path) -> None:
    """The same port at another address of the loopback interface, say; one place needs no list."""
    loaded = load(written(tmp_path, admin="tcp:25:interface=127.0.0.2", listen="tcp:25:interface=127.0.0.1"), {})
    assert loaded.settings.admin == ["tcp:25:interface=127.0.0.2"]
    assert load(written(tmp_path), {}).settings.admin == []


def test_the_endpoint_is_found_in_a_file_that_has_faults(tmp_path: Path) -> None:
    """Who edits the settings may still ask how the service does that was started with them."""
    assert admin_named_in(written(tmp_path, admin=SOCKET, timeouts="no")) == [SOCKET]
    assert admin_named_in(written(tmp_path, admin=[SOCKET, 1])) == [SOCKET]
    assert admin_named_in(written(tmp_path)) == []
    broken = tmp_path / "broken.yaml"
    broken.write_text("admin: [")
    assert admin_named_in(broken) == []
    broken.write_text("- admin")
    assert admin_named_in(broken) == []


def written(folder: Path, **settings: Any) -> Path:
    """Write a settings file."""
    file = folder / "smtpguard.yaml"
    file.write_text(yaml.safe_dump({"listen": "tcp:2500", "backend": "tcp:127.0.0.1:2525", **settings}))
    return file
