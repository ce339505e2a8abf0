"""What a guard that serves tells at its admin endpoint, in front of a real sendmail; alone, and with workers."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from smtpguard.cli.asking import NoAnswer, ask
from smtpguard.config.admin import parse_admin
from smtpguard.metrics.catalogue import CATALOGUE, PROCESS
from tests.admin.serving import head, parted, rest
from tests.rig.guard import ROOT
from tests.rig.sendmail import RealSendmail
from tests.rig.wait import wait_until
from tests.sendmail.support import NO_VRFY, OUTSIDE, ConfiguredGuard, hello, mail, policy
from tests.sendmail.support import ask as say


@pytest.fixture(scope="module")
def server() -> Iterator[RealSendmail]:
    """A sendmail with its default privacy."""
    with RealSendmail() as running:
        yield running


class Watched(ConfiguredGuard):
    """A guard with an admin endpoint."""

    def __init__(self, folder: Path, server: RealSendmail, workers: int) -> None:
        """Everybody but 127.0.0.1 is outside."""
        self.folder = folder
        self.place = f"unix:{folder}/admin.sock"
        settings = {"admin": self.place, "workers": workers}
        super().__init__(folder, (server.address, server.port), policy(), settings)

    def status(self) -> dict[str, Any]:
        """Return the status document."""
        document: dict[str, Any] = ask(parse_admin(self.place), "/status.json")
        return document

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Ask, by hand."""
        with socket.socket(socket.AF_UNIX) as made:
            made.settimeout(20)
            made.connect(f"{self.folder}/admin.sock")
            made.sendall(head("GET", path))
            return parted(rest(made))

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Return what /metrics has."""
        text = self.get("/metrics")[2].decode("utf-8")
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def sample(self, name: str, **labels: str) -> float | None:
        """Return one of them."""
        return self.samples().get((f"smtpguard_{name}", frozenset(labels.items())))

    def tells(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `smtpguard status`."""
        command = [
            sys.executable,
            "-m",
            "smtpguard",
            "status",
            "--config",
            str(self.folder / "smtpguard.yaml"),
            *arguments,
        ]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    def is_ready(self) -> bool:
        """Tell if it says that it is."""
        try:
            ask(parse_admin(self.place), "/status.json")
        except NoAnswer:
            return False
        return self.get("/readyz")[0] == 200


@pytest.fixture(params=[1, 2], ids=["alone", "workers"])
def guard(request: pytest.FixtureRequest, tmp_path: Path, server: RealSendmail) -> Iterator[Watched]:
    """A guard that is ready."""
    with Watched(tmp_path, server, request.param) as running:
        wait_until(running.is_ready, "it to be ready", 20, lambda: "\n".join(running.lines()))
        yield running


def test_what_clients_do_is_counted_and_shown(guard: Watched) -> None:
    """In the metrics, the status document, the page and on the terminal, of all processes together."""
    for _ in range(4):
        with hello(guard.port, OUTSIDE) as client:
            assert say(client, "VRFY george", "NOOP", "QUIT")[0] == NO_VRFY
            assert client.closed()
    mail(guard.port, b"Subject: x\r\n\r\nx\r\n")
    wait_until(lambda: guard.status()["sessions"]["total"] == 5, "five sessions to be told of")
    wait_until(lambda: guard.sample("session_seconds_count") == 5, "five sessions to have ended")
    assert guard.sample("commands_total", verb="VRFY") == 4
    assert guard.sample("commands_passed_total", verb="VRFY") in (0, None)
    assert guard.sample("commands_passed_total", verb="DATA") == 1
    document = guard.status()
    (verdict,) = [row for row in document["verdicts"] if "check_vrfy" in row["rule"]]
    assert (verdict["action"], verdict["count"], sum(verdict["history"])) == ("reply", 4, 4)
    assert guard.sample("verdicts_total", rule=verdict["rule"], action="reply") == 4
    assert {"verb": "VRFY", "passed": 0, "all": 4} in document["verbs"]
    assert document["ready"] is True
    (backend,) = document["backends"]
    assert backend["state"] == "up"
    assert guard.sample("backend_up", endpoint=backend["endpoint"]) == 1
    assert guard.sample("relay_check", standing="serve") == 1
    assert sum(process["sessions"] or 0 for process in document["processes"]) == 0
    assert {process["state"] for process in document["processes"]} <= {"serving", "keeping the books"}
    done = guard.tells()
    assert (done.returncode, done.stderr) == (0, "")
    assert "check_vrfy" in done.stdout
    code, headers, page = guard.get("/")
    assert (code, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"check_vrfy" in page


def test_the_metrics_are_those_of_the_catalogue_and_promtool_takes_them(guard: Watched) -> None:
    """From a real guard."""
    text = guard.get("/metrics")[2]
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    names = {name for name, _ in guard.samples()}
    known = {name for metric in CATALOGUE.values() for name in metric.sample_names}
    assert names <= known | set(PROCESS)
    assert {f"smtpguard_{name}" for name in ("ready", "info", "sessions_active", "processes", "backend_up")} <= names


def test_sessions_are_shown_while_they_last(guard: Watched) -> None:
    """With the client's address, which no metric has."""
    with hello(guard.port, OUTSIDE):
        wait_until(lambda: guard.sample("sessions_active") == 1, "one session")
        wait_until(lambda: guard.status()["sessions"]["live"], "it to be described")
        (session,) = guard.status()["sessions"]["live"]
        assert session["address"] == OUTSIDE
        assert OUTSIDE.encode() not in guard.get("/metrics")[2]
    wait_until(lambda: guard.sample("sessions_active") == 0, "none")


def test_a_reload_that_is_refused_is_shown_until_one_is_not(guard: Watched) -> None:
    """By the exit status, too; clients are served all the while."""
    file = guard.folder / "policy.yaml"
    good = file.read_text()
    file.write_text("rulesets: {check_vfry: []}\n")
    guard.signal(signal.SIGHUP)
    wait_until(lambda: (guard.status()["reload"] or {}).get("ok") is False, "the reload to be refused")
    done = guard.tells()
    assert done.returncode == 1
    assert "did you mean check_vrfy?" in done.stdout
    assert guard.sample("last_reload_successful") == 0
    assert guard.sample("reloads_total", result="refused") == 1
    assert guard.get("/readyz")[0] == 200
    before = guard.status()["policy"]["version"]
    file.write_text(good + "\n# another\n")
    guard.signal(signal.SIGHUP)
    wait_until(lambda: guard.status()["reload"]["ok"], "the reload to be done")
    assert guard.tells().returncode == 0
    assert guard.status()["policy"]["version"] != before
    wait_until(lambda: guard.sample("last_reload_successful") == 1, "metrics to say so")
    assert guard.sample("reloads_total", result="ok") == 1


def test_the_endpoint_goes_with_the_guard(guard: Watched) -> None:
    """Nobody is left who says that all is well."""
    assert json.loads(guard.get("/bans.json")[2]) == []
    assert guard.stop() == 0
    assert not (guard.folder / "admin.sock").exists()
    done = guard.tells()
    assert done.returncode == 69
    assert "there is no such socket" in done.stderr
