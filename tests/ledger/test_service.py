"""Incidents and bans of a real guard before a real sendmail, of one process and of several."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from smtpguard.cli.main import main
from tests.rig.client import Talk
from tests.rig.guard import Guard
from tests.rig.sendmail import RealSendmail
from tests.rig.wait import wait_until
from tests.sendmail.support import INSIDE, OUTSIDE, ConfiguredGuard

ELSEWHERE = "127.0.0.9"
RULES = f"""
networks: {{internal: [{INSIDE}/32]}}
budgets: off
rulesets:
  check_vrfy: [{{from: internal, action: forward}}, {{action: reply}}]
  check_debug: [{{action: reply}}]
  check_wiz: [{{action: reply}}]
"""
LIMITS = """
limits:
  scanners: {count: probes, rate: 10/hour, then: [{over: 10, ban: 1 hour}]}
"""

workers = pytest.mark.parametrize("workers", [1, 2])


def guard(
    folder: Path, server: RealSendmail, workers: int, rules: str = RULES, settings: Mapping[str, object] | None = None
) -> ConfiguredGuard:
    """Return a guard with a state file and an admin endpoint in `folder`."""
    wanted = {
        "workers": workers,
        "dns": {"names": False},
        "state": str(folder / "smtpguard.db"),
        "admin": f"unix:{folder}/admin.sock",
        **(settings or {}),
    }
    return ConfiguredGuard(folder, (server.address, server.port), rules, wanted)


def typed(folder: Path, *arguments: str) -> tuple[int, str]:
    """Call a command with the guard's settings; returns its status, and what it wrote on stdout."""
    written = io.StringIO()
    with redirect_stdout(written):
        status = main([*arguments, "--config", str(folder / "smtpguard.yaml")])
    return status, written.getvalue()


def incidents(folder: Path, *flags: str) -> list[dict[str, Any]]:
    """Return what `smtpguard incidents` tells."""
    status, out = typed(folder, "incidents", "--json", *flags)
    return list(json.loads(out)) if status == 0 else []


def probe(running: Guard, source: str, *lines: str) -> list[str]:
    """Say some lines in a session of their own; return the replies."""
    with Talk("127.0.0.1", running.port, source) as talk:
        if talk.banner.startswith("421"):
            return [talk.banner]
        return [talk.say(line) for line in ("EHLO me.test", *lines)]


def until_deeds(folder: Path, key: str, deeds: Mapping[str, int]) -> dict[str, Any]:
    """Wait until the incident of a source has these deeds."""
    found: list[dict[str, Any]] = []

    def there() -> dict[str, Any] | None:
        found[:] = incidents(folder)
        return next((one for one in found if one["key"] == key and one["deeds"] == deeds), None)

    return wait_until(there, f"the incident of {key}", 20, lambda: str(found))


def said(running: Guard, words: str) -> list[str]:
    """Return the lines of the log that have these words."""
    return [line for line in running.lines() if words in line]


@workers
def test_a_scan_over_many_sessions_is_one_incident(tmp_path: Path, sendmail: RealSendmail, workers: int) -> None:
    """Whichever processes they came to; who asked from inside, and who mistyped once, is none."""
    with guard(tmp_path, sendmail, workers) as running:
        for number in range(4):
            replies = probe(running, OUTSIDE, f"VRFY user{number}", "DEBUG")
            assert [reply[:3] for reply in replies] == ["250", "252", "500"]
        probe(running, OUTSIDE, "HELO x y z\x01")
        for _ in range(20):
            assert probe(running, INSIDE, "VRFY george")[1].startswith("250")
        probe(running, ELSEWHERE, "NONSENSE")
        probe(running, OUTSIDE, "MAIL FROM:<a@b.example>", "RCPT TO:<nosuch@x.test>")
        row = until_deeds(tmp_path, OUTSIDE, {"probes": 8, "malformed": 1, "recipients": 1})
        assert (row["verdict"], row["sessions"], row["banned"]) == ("scanner", 6, False)
        assert row["names"] == [*(f"user{number}" for number in range(4)), "nosuch@x.test"]
        evidence = {(one["shown"], one["verdict"]) for one in row["evidence"]}
        assert {("VRFY user0", "252"), ("DEBUG", "500"), ("nosuch@x.test", "550")} <= evidence
        sessions = {one["session"] for one in row["evidence"]}
        assert all(any(session in line for line in running.lines()) for session in sessions)
        assert [one["key"] for one in incidents(tmp_path)] == [OUTSIDE]
        assert len(said(running, f"incident {row['id']} opened: {OUTSIDE}: ")) == 1
        assert len(said(running, " opened: ")) == 1
        assert re.search(
            rf"^ *{row['id']}  {re.escape(OUTSIDE)}  scanner", typed(tmp_path, "incidents")[1], re.MULTILINE
        )


@workers
def test_an_incident_is_closed_and_told(tmp_path: Path, sendmail: RealSendmail, workers: int) -> None:
    """To the log and to the hook, at its beginning and its end."""
    script, told = tmp_path / "hook", tmp_path / "told"
    script.write_text(f'#!/bin/sh\nread -r line; echo "$line" >>{told}\n')
    script.chmod(0o755)
    wishes = {"incidents": {"quiet": 1, "hook": {"command": [str(script)]}}}
    with guard(tmp_path, sendmail, workers, settings=wishes) as running:
        probe(running, OUTSIDE, "WIZ")
        wait_until(lambda: told.exists() and len(told.read_text().splitlines()) == 2, "the hook to be told twice", 40)
        first, second = map(json.loads, told.read_text().splitlines())
        assert (first["event"], first["key"], first["closed"]) == ("opened", OUTSIDE, None)
        assert (second["event"], second["id"], second["deeds"]) == ("closed", first["id"], {"probes": 1})
        assert second["closed"] - second["last"] >= 1
        assert (
            len(said(running, f"incident {first['id']} closed: {OUTSIDE}: scanner, 1 probe in 1 session and 0 s")) == 1
        )
        assert incidents(tmp_path, "--open") == []


@workers
def test_a_ban_outlives_a_restart_and_is_lifted_by_hand(tmp_path: Path, sendmail: RealSendmail, workers: int) -> None:
    """In all processes, and with its incident."""
    with guard(tmp_path, sendmail, workers, RULES + LIMITS) as running:
        wait_until(lambda: probe(running, OUTSIDE, "VRFY root")[0].startswith("421 4.7.0 "), "the ban")
        wait_until(lambda: [one["banned"] for one in incidents(tmp_path)] == [True], "the incident to know of it")
        wait_until(lambda: OUTSIDE in typed(tmp_path, "bans")[1], "the ban to be known")
        number = incidents(tmp_path)[0]["id"]
    status, out = typed(tmp_path, "bans", "--json")
    assert (status, [one["key"] for one in json.loads(out)]) == (0, [OUTSIDE])
    with guard(tmp_path, sendmail, workers, RULES + LIMITS) as running:
        for _ in range(12):
            wait_until(lambda: probe(running, OUTSIDE)[0].startswith("421 4.7.0 "), "the ban to stand")
        assert probe(running, ELSEWHERE)[0].startswith("250")
        assert [(one["id"], one["closed"]) for one in incidents(tmp_path)] == [(number, None)]
        assert typed(tmp_path, "bans", "lift", OUTSIDE) == (0, f"{OUTSIDE}: let off\n")
        for _ in range(12):
            wait_until(lambda: probe(running, OUTSIDE)[0].startswith("250"), "everybody to let it in")
        assert len(said(running, f"ban lifted: {OUTSIDE}")) == 1
        assert typed(tmp_path, "bans", "lift", OUTSIDE)[0] == 1
    with guard(tmp_path, sendmail, workers, RULES + LIMITS) as running:
        assert probe(running, OUTSIDE)[0].startswith("250")


@workers
def test_names_that_are_hostile_reach_nobody_as_they_are(tmp_path: Path, sendmail: RealSendmail, workers: int) -> None:
    """Neither the log nor the commands nor the admin endpoint."""
    name = '[red]x] [198.51.100.1]: "wiz" incident 1 opened: 198.51.100.1: <script>%n'
    with guard(tmp_path, sendmail, workers) as running:
        for number in range(3):
            probe(running, OUTSIDE, f"VRFY {name}{number}")
            with Talk("127.0.0.1", running.port, OUTSIDE) as talk:
                talk.send(f"\x1b]0;owned\x07 {name}\xff\r\n".encode("latin-1"))
                talk.half_close()
                talk.rest()
        row = until_deeds(tmp_path, OUTSIDE, {"probes": 3, "malformed": 3})
        for arguments in (["incidents"], ["incidents", str(row["id"])]):
            out = typed(tmp_path, *arguments)[1]
            assert "[red]" in out
            assert all(line.isprintable() for line in out.splitlines())
        assert all(line.isprintable() and line.isascii() for line in running.lines())
        opened = [line for line in running.lines() if re.match(r"incident \d+ opened: ", line)]
        assert len(opened) == 1
        assert re.match(rf"incident \d+ opened: {re.escape(OUTSIDE)}: ", opened[0])


@workers
def test_mail_goes_on_without_the_state_file(tmp_path: Path, sendmail: RealSendmail, workers: int) -> None:
    """A folder that is missing is said once, and incidents are kept in memory."""
    wishes = {"state": str(tmp_path / "nowhere" / "smtpguard.db")}
    with guard(tmp_path, sendmail, workers, settings=wishes) as running:
        assert probe(running, OUTSIDE, "WIZ", "MAIL FROM:<a@b.example>", "RCPT TO:<george@x.test>")[2:] == [
            "250 2.1.0 <a@b.example>... Sender ok",
            "250 2.1.5 <george@x.test>... Recipient ok",
        ]
        wait_until(lambda: [one["key"] for one in incidents(tmp_path)] == [OUTSIDE], "the incident")
        wait_until(lambda: said(running, "state file"), "the fault to be said")
        assert (
            len(said(running, "nowhere/smtpguard.db: No such file or directory; bans and incidents are in memory")) == 1
        )
