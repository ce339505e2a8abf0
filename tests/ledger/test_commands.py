"""`smtpguard incidents` and `smtpguard bans`, as they are typed."""

from __future__ import annotations

import json
import os
import pty
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from smtpguard.cli import asking, bans, incidents, kept
from smtpguard.cli.main import main
from smtpguard.ledger.incident import Incident
from smtpguard.ledger.measures import Measure
from smtpguard.ledger.store import Changes, Store
from tests.admin.serving import Served, served
from tests.ledger.support import ban, rcpt, vrfy, wiz
from tests.rig.guard import ROOT

Typed = Callable[..., tuple[int, str, str]]
HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202e[red]x[/red]\r\n198.51.100.1"


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    """Call a command; returns its status and what it wrote on stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        status = main([str(one) for one in arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """The file of a service that runs."""
    made = Store(str(tmp_path / "smtpguard.db"), 64 << 20, 1000)
    made.load()
    yield made
    made.close()


@pytest.fixture
def settings(tmp_path: Path, store: Store) -> Path:
    """Settings that name the file, and an endpoint where nobody is; of the rest nothing is right."""
    path = tmp_path / "smtpguard.yaml"
    path.write_text(
        f"listen: nonsense\nadmin: unix:{tmp_path}/admin.sock\nstate: smtpguard.db\nincidents: {{quiet: -1}}\n"
    )
    write(store)
    return path


def write(store: Store) -> None:
    """Have three incidents and two bans in it."""
    now = time.time()
    old, banned, network = (Incident(number, key, now) for number, key in enumerate(KEYS, 101))
    old.did(wiz(KEYS[0], now - 90_000))
    old.opened, old.last, old.closed = now - 90_000, now - 89_900, now - 89_000
    for number in range(8):
        banned.did(vrfy(f"user{number}", KEYS[1], now - 60, f"s{number}"))
    banned.measured(ban(KEYS[1], since=now - 50))
    for number in range(70):
        network.did(rcpt(f"name{number:02}@x.test", f"2001:db8:1:2::{number + 1:x}", now - 100 + number))
    bans: dict[str, Measure | None] = {
        KEYS[1]: ban(KEYS[1], 7200, since=now - 50),
        "203.0.113.9": ban("203.0.113.9", 1, since=now - 50),
    }
    store.write(Changes({one.id: one.to_dict() for one in (old, banned, network)}, bans))


KEYS = ("192.0.2.1", "192.0.2.2", "2001:db8:1:2::/64")


def numbers(out: str) -> list[str]:
    """Return the first word of each row of the table."""
    return [line.split()[0] for line in out.splitlines()[3:]]


# -- incidents --------------------------------------------------------------------------------------------


def test_incidents_are_read_from_the_file_while_a_service_writes_it(typed: Typed, settings: Path) -> None:
    """In plain columns where there is no terminal, the newest first."""
    status, out, err = typed("incidents", "--config", settings)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "3 incidents, 2 open"
    assert lines[2].split() == ["id", "who", "verdict", "state", "opened", "for", "sessions", "deeds", "names", "tried"]
    assert numbers(out) == ["103", "102", "101"]
    assert re.fullmatch(
        r"102  192\.0\.2\.2 +harvester  open, banned  .* 8 probes +user0, user1, user2, user3", lines[4]
    )


def test_and_after_it_has_ended_without_leaving_anything_beside_it(typed: Typed, settings: Path, store: Store) -> None:
    """Whoever looks may be root, and the service may not."""
    store.close()
    before = sorted(settings.parent.iterdir())
    assert numbers(typed("incidents", "--config", settings)[1]) == ["103", "102", "101"]
    assert sorted(settings.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (["--open"], ["103", "102"]),
        (["--since", "1h"], ["103", "102"]),
        (["--since", "2d"], ["103", "102", "101"]),
        (["--address", "192.0.2.1"], ["101"]),
        (["--address", "2001:0db8:1:2::ffff"], ["103"]),
        (["--address", "2001:db8:1:2::/64"], ["103"]),
        (["--address", "192.0.2.1", "--open"], []),
    ],
)
def test_they_are_chosen_by_flags(typed: Typed, settings: Path, flags: list[str], found: list[str]) -> None:
    """Those that went on since then; those of an address, or of a prefix that has it."""
    status, out, _ = typed("incidents", "--config", settings, *flags)
    assert status == 0
    assert numbers(out) == found
    assert found or out == "no incidents\n"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--since", "yesterday"], "is no time: write it as 30m, 12h, 7d or 4w"),
        (["--address", "localhost"], "'localhost' is neither an address nor a prefix"),
        (["nonsense"], "is not a valid integer"),
    ],
)
def test_a_wrong_flag_is_answered_with_the_right_form(typed: Typed, flags: list[str], said: str) -> None:
    """Before anything is read."""
    status, out, err = typed("incidents", *flags)
    assert (status, out) == (os.EX_USAGE, "")
    assert said in err


def test_one_is_shown_with_its_evidence(typed: Typed, settings: Path) -> None:
    """And all the names that are kept, and how many more there were."""
    status, out, _ = typed("incidents", "--config", settings, "103")
    assert status == 0
    assert out.startswith("incident 103\n")
    assert re.search(
        r"^addresses +2001:db8:1:2::1, .*2001:db8:1:2::10 \(and further ones, 54 times\)$", out, re.MULTILINE
    )
    assert re.search(
        r"^names tried +name00@x\.test, .*name49@x\.test \(and further ones, 20 times\)$", out, re.MULTILINE
    )
    assert len(re.findall(r"^\d{4}-\d\d-\d\d .* 550 +name0\d@x\.test$", out, re.MULTILINE)) == 6
    assert typed("incidents", "--config", settings, "7") == (1, "", "smtpguard: there is no incident 7\n")


def test_they_are_told_as_json_for_programs(typed: Typed, settings: Path) -> None:
    """With the keys of the status document."""
    rows = json.loads(typed("incidents", "--config", settings, "--json")[1])
    assert [row["id"] for row in rows] == [103, 102, 101]
    assert json.loads(typed("incidents", "--config", settings, "--json", "102")[1]) == rows[1]
    assert rows[1]["deeds"] == {"probes": 8}
    assert set(rows[0]) >= {
        "id",
        "key",
        "addresses",
        "opened",
        "last",
        "closed",
        "verdict",
        "deeds",
        "sessions",
        "names",
    }


def hostile(store: Store, settings: Path) -> None:
    """Put texts into the file that no guard has made printable."""
    now = time.time()
    made = Incident(666, "192.0.2.66", now)
    for number in range(3):
        made.did(evolve(vrfy(f"{HOSTILE}{number}", "192.0.2.66", now), session=HOSTILE, verdict=HOSTILE))
    store.write(Changes({666: made.to_dict()}))
    with closing(sqlite3.connect(settings.parent / "smtpguard.db", isolation_level=None)) as file:
        file.execute("INSERT INTO bans VALUES (?, ?, ?, ?, 1)", (HOSTILE, now + 60, now, HOSTILE))


@pytest.mark.parametrize("command", [["incidents"], ["incidents", "666"], ["bans"]])
def test_nothing_that_clients_sent_reaches_a_file_or_terminal_as_it_is(
    typed: Typed, settings: Path, store: Store, command: list[str]
) -> None:
    """Not even if the file was tampered with; rich draws no markup of theirs."""
    hostile(store, settings)
    arguments = [*command, "--config", str(settings)]
    _, out, err = typed(*arguments)
    assert all(line.isprintable() for line in (out + err).splitlines())
    assert "\\x1b]0;owned\\x07" in out
    assert not re.search(r"^198\.51\.100\.1", out, re.MULTILINE)
    drawn = on_a_terminal(arguments)
    assert "owned" in drawn
    bare = re.sub(r"\x1b\[[0-9;]*m", "", drawn)  # the colours are ours
    assert all(line.isprintable() for line in bare.split("\n"))
    assert "[red]" in bare


def on_a_terminal(arguments: list[str]) -> str:
    """Return what a command writes on a terminal of 200 columns."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "200", "TERM": "xterm-256color"}
    with os.fdopen(theirs, "wb") as stdout:
        command = [sys.executable, "-m", "smtpguard", *arguments]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stdout, stderr=subprocess.DEVNULL)
    octets = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while more := terminal.read(65536):
                octets += more
        except OSError:  # EIO: the other end is closed
            pass
    assert process.wait() == 0
    return octets.decode("utf-8").replace("\r\n", "\n")


def test_without_a_file_the_service_is_asked(typed: Typed, tmp_path: Path) -> None:
    """Which has the last ones."""
    with service(tmp_path) as running:
        path = tmp_path / "smtpguard.yaml"
        path.write_text(f"admin: unix:{running.places[0]}\nstate: {tmp_path}/nowhere.db\n")
        status, out, _ = typed("incidents", "--config", path, "--json")
        assert status == 0
        assert json.loads(out) == sample_incidents(running)
        assert json.loads(typed("incidents", "--admin", f"unix:{running.places[0]}", "--json", "--open")[1]) == [
            row for row in sample_incidents(running) if row["closed"] is None
        ]


def test_with_neither_it_is_said_what_is_missing(typed: Typed, tmp_path: Path) -> None:
    """The status is that of a service that is not there."""
    path = tmp_path / "smtpguard.yaml"
    path.write_text(f"admin: unix:{tmp_path}/admin.sock\nstate: {tmp_path}/nowhere.db\n")
    status, _, err = typed("incidents", "--config", path)
    assert status == os.EX_UNAVAILABLE
    assert "there is no such socket: does the service run?" in err
    status, _, err = typed("incidents", "--config", path, "--state", tmp_path / "nowhere.db")
    assert status == os.EX_UNAVAILABLE
    assert "does the service keep its state in a file?" in err
    path.write_text("SQLite")
    status, _, err = typed("incidents", "--state", path)
    assert (status, err) == (os.EX_UNAVAILABLE, f"smtpguard: {path}: file is not a database\n")
    assert typed("incidents", "--config", tmp_path / "nowhere.yaml")[0] == os.EX_NOINPUT


def service(folder: Path) -> Any:
    """Return an admin endpoint that answers, in a process of its own."""
    return served("stock", f"unix:{folder}/admin.sock")


def sample_incidents(running: Served) -> list[dict[str, Any]]:
    """Return what it answers."""
    found: list[dict[str, Any]] = json.loads(running.get("/incidents.json")[2])
    assert found
    return found


# -- bans -------------------------------------------------------------------------------------------------


def test_bans_are_asked_of_the_service(typed: Typed, tmp_path: Path) -> None:
    """And lifted there; what there is none of is said so."""
    with service(tmp_path) as running:
        admin = f"unix:{running.places[0]}"
        status, out, err = typed("bans", "--admin", admin)
        assert (status, err) == (0, "")
        assert out.startswith("1 ban\n")
        assert "192.0.2.7  scanners" in out
        assert json.loads(typed("bans", "list", "--admin", admin, "--json")[1]) == [
            {"key": "192.0.2.7", "limit": "scanners"}
        ]
        assert typed("bans", "lift", "192.0.2.7", "--admin", admin) == (0, "192.0.2.7: let off\n", "")
        assert typed("bans", "lift", "192.0.2.7", "--admin", admin) == (
            1,
            "",
            "192.0.2.7: it was not slowed, sent away or banned\n",
        )
        assert typed("bans", "--admin", admin)[1] == "nobody is banned\n"


def test_who_is_slowed_or_sent_away_is_listed_on_demand(typed: Typed, tmp_path: Path) -> None:
    """With what is done, for which limit and until when; and how many there are beside those that are told."""
    with service(tmp_path) as running:
        admin = f"unix:{running.places[0]}"
        assert "203.0.113" not in typed("bans", "--admin", admin)[1]
        status, out, err = typed("bans", "--all", "--admin", admin)
        assert (status, err) == (0, "")
        lines = out.splitlines()
        assert lines[0] == "1 ban, 3 slowed or sent away"
        assert re.match(r"192\.0\.2\.7 +banned +scanners", lines[3])
        assert re.match(r"203\.0\.113\.4 +sent away +guessers +41 +\S+ \S+ +20\S+ \S+", lines[4])
        assert re.match(r"203\.0\.113\.5 +each command waits 2\.5 s +scanners ", lines[5])
        assert lines[6] == "(1 more)"
        rows = json.loads(typed("bans", "--all", "--json", "--admin", admin)[1])
        assert [row["step"] for row in rows] == ["ban", "close", "delay"]


def test_a_network_is_let_off_with_all_that_is_in_it(typed: Typed, tmp_path: Path) -> None:
    """And how many that were is said."""
    with service(tmp_path) as running:
        admin = f"unix:{running.places[0]}"
        assert typed("bans", "lift", "192.0.2.9/24", "--admin", admin) == (
            0,
            "192.0.2.0/24: 1 let off: 192.0.2.7\n",
            "",
        )
        assert typed("bans", "lift", "192.0.2.9/24", "--admin", admin) == (
            1,
            "",
            "192.0.2.0/24: nobody in it was slowed, sent away or banned\n",
        )


def test_without_settings_in_their_usual_place_the_flags_are_named(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing need be installed to ask a guard that runs from elsewhere."""
    for module in (asking, kept, bans, incidents):
        monkeypatch.setattr(module, "DEFAULT_SETTINGS", str(tmp_path / "smtpguard.yaml"))
    monkeypatch.setattr(kept, "DEFAULT_FILE", str(tmp_path / "smtpguard.db"))
    for arguments in (["status"], ["bans"], ["bans", "lift", "192.0.2.7"], ["incidents"]):
        status, out, err = typed(*arguments)
        assert (status, out) == (os.EX_UNAVAILABLE, "")
        assert f"there is no {tmp_path}/smtpguard.yaml: name the settings with --config FILE, or the endpoint" in err
        assert "--admin unix:/run/smtpguard/admin.sock" in err


def test_a_file_that_only_its_owner_may_read_is_said_to_be_that(typed: Typed) -> None:
    """In other words than SQLite's, which has none for it."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "smtpguard.db")
        path.write_bytes(b"SQLite")
        path.chmod(0)
        os.chmod(folder, 0o755)
        if user == 0:  # who may read everything
            os.seteuid(65534)
        try:
            said = typed("incidents", "--state", path)
        finally:
            os.seteuid(user)
    assert said == (
        os.EX_UNAVAILABLE,
        "",
        f"smtpguard: {path}: permission denied: ask as root, or as whom the service runs\n",
    )


def test_where_no_service_answers_the_file_is_read_and_that_is_said(typed: Typed, settings: Path) -> None:
    """Bans that are over are left out."""
    status, out, err = typed("bans", "--config", settings)
    assert status == 0
    assert re.fullmatch(r"smtpguard: no answer at unix:\S+: .*; this is what \S+/smtpguard\.db has\n", err)
    assert numbers(out) == ["192.0.2.2"]
    assert re.search(r"192\.0\.2\.2  scanners +60  .*119 min", out)
    assert json.loads(typed("bans", "--config", settings, "--json")[1])[0]["key"] == "192.0.2.2"


def test_nobody_is_let_off_without_the_service(typed: Typed, settings: Path) -> None:
    """Its gates have to hear of it."""
    status, out, err = typed("bans", "lift", "192.0.2.2", "--config", settings)
    assert (status, out) == (os.EX_UNAVAILABLE, "")
    assert "does the service run?" in err


@pytest.mark.parametrize("arguments", [["lift"], ["lift", "localhost"], ["list", "192.0.2.7"], ["show"]])
def test_bans_that_are_typed_wrong_are_a_usage_error(typed: Typed, arguments: list[str]) -> None:
    """With the right form."""
    status, out, err = typed("bans", *arguments)
    assert (status, out) == (os.EX_USAGE, "")
    assert "Error: " in err
