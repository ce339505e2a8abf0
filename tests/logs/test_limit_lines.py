"""The lines of limits and incidents, for machines: as JSON, and by the real fail2ban, of real guards."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.rig.wait import wait_until
from tests.sendmail.support import ConfiguredGuard, policy

from .reading import found
from .support import OUTSIDE, clients, guard, mail_server

LIMITS = """
limits: {guessers: {count: probes, rate: 2/hour, by: address, then: [{delay: 0.1}, {over: 3, ban: 1 day}]}}
"""
BY_PREFIX = "\nlimits: {guessers: {count: probes, rate: 2/hour, then: close}}\n"
VICTIM = "198.51.100.1"
FORGED = (
    f"VRFY limit guessers: {VICTIM}: 51 probes in 1 hour, banned for 1 day",
    f"limit guessers: {VICTIM}: 51 probes in 1 hour, banned for 1 day",
    f'VRFY "event": "limit", "priority": 5, "client": "{VICTIM}", "limit": "x", "state": "begun", "step": "ban", ',
)


def attacked(folder: Path, log: Path, form: str, workers: int, limits: str = LIMITS) -> ConfiguredGuard:
    """Run a guard to its end, of which each client has crossed each step; return it."""
    settings = {"to": ["stderr", "file"], "file": str(log), "format": form, "level": 9}
    text = policy(internal=("192.0.2.0/24",)) + limits
    with mail_server() as backend:
        running = guard(folder, backend, settings, text, workers=workers, state="memory", incidents={"quiet": 1})
        with running:
            for client in clients(running):
                client.say("EHLO me.test")
                for line in (*FORGED, "VRFY root", "EXPN all", "VRFY one", "VRFY two", "VRFY three"):
                    client.send(line.encode() + b"\r\n")
                client.rest()

            def closed() -> bool:
                return sum(" closed: " in line for line in log.read_text().splitlines()) == len(OUTSIDE)

            wait_until(closed, "the incidents to be over", 30, log.read_text)
            assert running.stop() == os.EX_OK
    return running


def objects(log: Path, event: str) -> list[dict[str, Any]]:
    """Return the lines of one event, in their order."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return [row for row in rows if row["event"] == event]


@pytest.mark.parametrize("workers", [1, 2])
def test_in_json_limits_and_incidents_have_fields_of_their_own(tmp_path: Path, workers: int) -> None:
    """With the client first of all; the text is what it is without JSON."""
    log = tmp_path / "guard.log"
    attacked(tmp_path, log, "json", workers)
    rows = objects(log, "limit")
    assert [(row["client"], row["step"]) for row in rows] == [(one, to) for one in OUTSIDE for to in ("delay", "ban")]
    for row in rows:
        assert list(row) == [
            "time", "event", "priority", "client", "limit", "state", "step", "count", "what", "until", "message",
        ]  # fmt: skip
        assert (row["limit"], row["state"], row["what"]) == ("guessers", "begun", "probes")
        assert row["message"].startswith(f"limit guessers: {row['client']}: {row['count']} probes in 1 hour, ")
        assert datetime.fromisoformat(row["until"]) > datetime.fromisoformat(row["time"])
    rows = objects(log, "incident")
    told = [(row["client"], row["state"]) for row in rows]
    sources = (OUTSIDE[0], "::/64")
    assert sorted(told) == sorted((one, state) for one in sources for state in ("opened", "closed"))
    for row in rows:
        assert list(row) == [
            "time", "event", "priority", "client", "id", "state", "verdict", "deeds", "sessions", "banned", "message",
        ]  # fmt: skip
        assert row["deeds"]["probes"] >= 1
        assert row["message"].startswith(f"incident {row['id']} {row['state']}: {row['client']}: {row['verdict']}, ")
    assert [row["banned"] for row in rows if row["state"] == "closed"] == [True, True]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("form", ["text", "json"])
def test_who_is_banned_for_a_limit_is_found_by_the_filters(tmp_path: Path, form: str, workers: int) -> None:
    """Once each, not for being slowed, and nobody whom it names itself; an incident is not found."""
    log = tmp_path / "guard.log"
    attacked(tmp_path, log, form, workers)
    name = "smtpguard" if form == "text" else "smtpguard-json"
    hits = found(log, name, "[mode=limits]")
    assert [address for address, _ in hits] == list(OUTSIDE)
    assert all(", banned for 1 day" in line for _, line in hits)
    usual = found(log, name)
    assert {address for address, _ in usual} == set(OUTSIDE)
    assert set(hits) < set(usual), "what a jail of five has counts them, too"
    assert " opened: " in log.read_text()
    assert not [line for _, line in usual if "incident " in line]


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_network_that_is_sent_away_is_not_taken_for_an_address(tmp_path: Path, form: str) -> None:
    """IPv6 is counted by /64 where the policy says nothing."""
    log = tmp_path / "guard.log"
    attacked(tmp_path, log, form, 1, BY_PREFIX)
    assert "limit guessers: ::/64: 3 probes in 1 hour, sent away for 1 hour" in log.read_text()
    name = "smtpguard" if form == "text" else "smtpguard-json"
    assert [address for address, _ in found(log, name, "[mode=limits]")] == [OUTSIDE[0]]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_last_line_says_that_the_service_has_stopped(tmp_path: Path, workers: int) -> None:
    """Behind the one that says that it stops."""
    log = tmp_path / "guard.log"
    running = attacked(tmp_path, log, "text", workers)
    lines = running.lines()
    assert lines[-1] == "stopped"
    assert [line for line in lines if line.startswith("stop")] == ["stopping; 0 sessions", "stopped"]
