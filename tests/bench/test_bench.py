"""The benchmark itself: its arithmetic, what it writes, and that a tiny run of it gives a complete report.

No test here says anything about speed.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from smtpguard.config import policy_file

from . import plots, policies
from .bench import Bench
from .driver import dialogue, source
from .kernel import TICK, Tree, Used
from .places import ROOT, GuardOptions
from .profile import profile
from .quoting import BEGIN, END, quote
from .report import document, short, tables, verdicts
from .spread import percentile, ratio, spread
from .targets import TARGETS, Target

SYSTEMS = ("haproxy", "nginx", "portforward", "guard")


# -- arithmetic ------------------------------------------------------------------------------------


def test_a_spread_is_the_median_and_both_ends() -> None:
    """Of an even number of rounds the median lies between two."""
    found = spread([3.0, 1.0, 2.0, 10.0])
    assert found is not None
    assert (found.median, found.least, found.most, found.rounds) == (2.5, 1.0, 10.0, (3.0, 1.0, 2.0, 10.0))


def test_no_rounds_are_no_number() -> None:
    assert spread([]) is None


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_one_of_the_values(share: float, value: int) -> None:
    assert percentile(range(100, 0, -1), share) == value


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@pytest.mark.parametrize(
    ("value", "base", "expected"),
    [(3.0, 2.0, 1.5), (None, 2.0, None), (3.0, None, None), (3.0, 0.0, None), (3.0, -1.0, None)],
)
def test_a_ratio_needs_both_numbers(value: float | None, base: float | None, expected: float | None) -> None:
    """A base of nothing is noise: what a proxy adds may come out below 0."""
    assert ratio(value, base) == expected


def test_a_target_compares_round_by_round() -> None:
    """The machine is slow in one round: that hits both, and no ratio."""
    target = Target("x", "sessions", 1.2, "cpu_us", "nginx")
    found = target.measured({"guard": {"cpu_us": [110.0, 330.0]}, "nginx": {"cpu_us": [100.0, 300.0]}})
    assert found is not None
    assert (found.median, found.least, found.most) == (1.1, 1.1, 1.1)
    assert target.met(found.median)
    assert not target.met(1.21)


def test_a_target_that_lacks_a_system_has_no_verdict() -> None:
    """It is told, as not measured."""
    (one, *_) = verdicts({"sessions": {"guard": {"cpu_us": [1.0]}}})
    assert (one["value"], one["met"]) == (None, None)


def test_a_bound_may_be_the_least() -> None:
    target = Target("x", "flood", 20_000, "a_cpu_s", at_least=True, unit="/s")
    assert target.met(20_000)
    assert not target.met(19_999)
    assert target.part(40_000) == 0.5
    assert target.by_at() == ">= 20,000 /s"


def test_no_two_targets_are_called_the_same() -> None:
    """They are told apart by their words."""
    assert len({(target.text, target.figure) for target in TARGETS}) == len(TARGETS)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0, "0"), (0.01234, "0.0123"), (1.5, "1.5"), (12.34, "12.3"), (99.96, "100"), (1234.5, "1,234")],
)
def test_a_number_has_three_digits_that_count(number: float, text: str) -> None:
    assert short(number) == text


# -- the kernel's counts ---------------------------------------------------------------------------


def test_cpu_of_a_child_that_lives_and_of_one_that_ended_is_counted() -> None:
    """The tree is a shell that has run something to its end and now waits for what still runs."""
    burn = "import time\nwhile time.process_time() < 0.3: pass\n"
    script = f'"$0" -c "{burn}"; "$0" -c "{burn}print(1, flush=True); input()"; exit'
    with subprocess.Popen(["sh", "-c", script, sys.executable], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        assert shell.stdout.readline() == b"1\n"
        tree = Tree(shell.pid)
        used, pids, rss, peak = tree.used(), tree.pids(), tree.rss(), tree.peak()
        shell.stdin.close()
    assert len(pids) == 2
    assert pids[0] == shell.pid
    assert used.ticks >= 0.6 - 4 * TICK
    assert used.fine >= 0.3
    assert 0 < rss <= peak


def test_the_fine_count_is_taken_unless_something_has_ended() -> None:
    """Ticks are coarse, and say more only where a process is gone."""
    assert Used(1.234, 1.23).since(Used(1.0, 1.0)) == pytest.approx(0.234)
    assert Used(1.234, 2.5).since(Used(1.0, 1.0)) == pytest.approx(1.5)


# -- what it sends ---------------------------------------------------------------------------------


def test_a_session_of_the_driver_has_a_message_as_large_as_asked() -> None:
    body = dialogue(1024)[-2][0]
    assert 1024 <= len(body) <= 1024 + 200
    assert body.endswith(b"\r\n.\r\n")


def test_clients_come_from_as_many_addresses_as_asked() -> None:
    assert {source(number, 1) for number in range(9)} == {"127.0.0.1"}
    assert len({source(number, 20_000) for number in range(40_000)}) == 20_000
    assert source(65_535, 70_000) == "127.1.0.0"


def test_the_policies_check(tmp_path: Path) -> None:
    """All that they are asked for is in them, and outsiders have no budget."""
    outside = policy_file.load(policy_file.find(policies.outside(tmp_path / "outside.yaml")))
    large = policy_file.load(policy_file.find(policies.large(tmp_path / "large.yaml", 1000, 20)))
    assert not list(outside.failures())
    assert "budgets: off" in (tmp_path / "outside.yaml").read_text()
    assert len(large.rules) == 20
    assert (tmp_path / "large.yaml").read_text().count("/25") == 1000


# -- what it writes --------------------------------------------------------------------------------


def a_document() -> dict[str, Any]:
    """A run of two rounds, in which the guard costs twice what nginx does."""
    bench = Bench()
    for turn in (1.0, 1.1):
        for name, cost in (("haproxy", 80.0), ("nginx", 100.0), ("guard", 200.0)):
            bench.add("sessions", name, cpu_us=cost * turn, wall_s=turn)
            bench.add("parallel", name, at_1=cost * turn, at_50=cost)
    bench.absent["haraka"] = "not installed"
    machine = {"date": "2026-11-24T00:00:00+00:00", "processor": "P", "cores": 2, "kernel": "K", "python": "3.11"}
    return document(bench, machine, {"nginx": "1.22"})


def test_a_document_is_json_and_its_tables_are_the_same_behind_it() -> None:
    told = a_document()
    assert list(tables(json.loads(json.dumps(told)))) == list(tables(told))


def test_the_tables_say_what_was_missed_and_what_was_absent() -> None:
    text = "\n".join(tables(a_document()))
    assert "| guard            | 210 (200-220) |" in text
    assert "MISSED" in text
    assert "haraka: not installed" in text


def test_the_pictures_are_whole_and_need_nothing_from_outside(tmp_path: Path) -> None:
    written = plots.write(a_document(), tmp_path)
    assert [path.name for path in written] == ["costs.svg", "targets.svg", "growth.svg"]
    for path in written:
        text = path.read_text()
        ElementTree.fromstring(text)
        assert "href" not in text
        assert "guard" in text


def test_a_picture_of_nothing_measured_is_not_drawn(tmp_path: Path) -> None:
    told = a_document()
    del told["figures"]["parallel"]
    assert [path.name for path in plots.write(told, tmp_path)] == ["costs.svg", "targets.svg"]


def test_a_document_quotes_a_run_between_its_marks() -> None:
    """Quoting the same run again changes nothing, and the text around it stays."""
    told = a_document()
    once = quote(f"before\n{BEGIN}\nold\n{END}\nafter\n", told)
    assert once.startswith("before\n")
    assert once.endswith("after\n")
    assert "old" not in once
    assert "210 (200-220)" in once
    assert quote(once, told) == once


@pytest.mark.parametrize("text", ["", BEGIN, END + BEGIN, BEGIN + BEGIN + END, BEGIN + END + END])
def test_a_document_without_marks_is_not_written(text: str) -> None:
    with pytest.raises(ValueError, match="must have one line"):
        quote(text, a_document())


def test_a_profile_is_a_flame_graph_of_the_guard(tmp_path: Path) -> None:
    """It is looked into while it serves."""
    profile(tmp_path / "profile.svg", 1, GuardOptions())
    text = (tmp_path / "profile.svg").read_text()
    ElementTree.fromstring(text)
    assert "smtpguard/sessions" in text


# -- a run -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A tiny run of every figure that has peers in it, and of the flood."""
    file = tmp_path_factory.mktemp("bench") / "bench.json"
    figures = ("sessions", "ehlo", "kept", "content", "idle", "roundtrip", "flood")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.bench", *figures, "--quick"),
            *("--systems", ",".join(("direct", *SYSTEMS)), "--output", str(file)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(file.read_text())
    assert "\n".join(tables(told)) in done.stdout
    return told


@pytest.mark.parametrize(
    ("figure", "metric", "least", "most"),
    [
        ("sessions", "cpu_us", 20, 50_000),
        ("ehlo", "cpu_us", 20, 50_000),
        ("kept", "cpu_us", 5, 50_000),
        ("content", "cpu_us", 100, 500_000),
        ("content", "wall_s", 0.001, 60),
        ("idle", "kb", 0.1, 500),
        ("roundtrip", "p99_us", 5, 1_000_000),
    ],
)
def test_a_tiny_run_measures_every_system(
    quick: dict[str, Any], figure: str, metric: str, least: float, most: float
) -> None:
    """The numbers are such as this universe may have."""
    for system in SYSTEMS:
        number = quick["figures"][figure][system][metric]["median"]
        assert math.isfinite(number)
        assert least <= number <= most, (figure, system)


def test_nothing_of_a_flood_reaches_the_server(quick: dict[str, Any]) -> None:
    numbers = quick["figures"]["flood"]["guard"]
    assert numbers["reached"]["most"] == 0
    assert numbers["a_cpu_s"]["median"] > 100


def test_a_tiny_run_has_a_verdict_on_every_target_of_its_figures(quick: dict[str, Any]) -> None:
    """But where a peer added nothing to a round trip, as may happen in so few."""
    missing = [one["text"] for one in quick["targets"] if one["met"] is None]
    assert all("round trip" in text or "memory" in text for text in missing)
    assert {one["figure"] for one in quick["targets"]} == set(quick["figures"])


def test_a_tiny_run_says_on_what_machine_and_against_what(quick: dict[str, Any]) -> None:
    assert {"date", "processor", "cores", "kernel", "python"} == set(quick["machine"])
    assert {"postfix", *SYSTEMS} == set(quick["versions"])
    assert all(version and "\n" not in version for version in quick["versions"].values())
