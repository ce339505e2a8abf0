"""What Prometheus is given, as Prometheus's own tools and the library's own readers see it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from smtpguard.metrics import catalogue
from smtpguard.metrics.catalogue import CATALOGUE, PROCESS, Kind
from smtpguard.metrics.counts import Counts
from smtpguard.metrics.exposition import Exposition
from smtpguard.metrics.gauges import gauges
from smtpguard.metrics.reference import placed
from smtpguard.metrics.totals import Totals
from tests.admin.sample import NOW, status
from tests.rig.guard import ROOT

RULES = 200
EXPOSITION_SECONDS = 0.020
"""For so many rules; it takes 2 ms on the machine that this was written on."""


def full() -> Totals:
    """Return totals in which every counter has something."""
    counts = Counts()
    for metric in CATALOGUE.values():
        if metric.kind is Kind.COUNTER:
            values = [sorted(label.values)[0] if label.values else "x" for label in metric.labels]
            counts.count(metric, *values, number=3)
    for seconds in ("0.1", "60", "inf"):
        counts.count(catalogue.SECONDS, seconds)
    counts.count(catalogue.SECONDS, "sum", number=4.5)
    totals = Totals()
    totals.merge(counts.take(), NOW)
    return totals


def samples(octets: bytes, read: Any = read_text) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return every sample; one that is there twice is an error."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in read(octets.decode("utf-8")):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def names(found: Iterable[tuple[str, Any]]) -> set[str]:
    return {name for name, _ in found}


@pytest.mark.parametrize("document", [status(), {}], ids=["everything", "nothing yet"])
def test_promtool_has_nothing_to_say_against_it(document: dict[str, Any]) -> None:
    """Neither of its form nor of its names."""
    totals = full() if document else Totals()
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=Exposition(totals).of(document), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("openmetrics", [False, True])
def test_it_has_all_of_the_catalogue_and_nothing_else(openmetrics: bool) -> None:
    """With the labels that the catalogue says; so what is written for the one holds for the other."""
    read = read_openmetrics if openmetrics else read_text
    found = samples(Exposition(full()).of(status(), openmetrics), read)
    expected = {name for metric in CATALOGUE.values() for name in metric.sample_names}
    assert names(found) == expected | set(PROCESS)
    labels = {
        name: {label.name for label in metric.labels} for metric in CATALOGUE.values() for name in metric.sample_names
    }
    labels["smtpguard_session_seconds_bucket"] = {"le"}
    for name, pairs in found:
        assert {label for label, _ in pairs} == labels.get(name, set()), name


def test_gauges_are_those_of_the_status() -> None:
    """A backend that is down is 0, and not absent."""
    found = samples(Exposition(full()).of(status()))
    for name, labels, value in [
        ("ready", {}, 1),
        ("sessions_active", {}, 4),
        ("backend_up", {"endpoint": "tcp:127.0.0.1:2525"}, 1),
        ("backend_up", {"endpoint": "tcp:192.0.2.4:25"}, 0),
        ("processes", {}, 1),  # the other one is just starting
        ("relay_check", {"standing": "serve"}, 1),
        ("relay_check", {"standing": "relays"}, 0),
        ("limit_standing", {"limit": "scanners"}, 1),
        ("last_reload_successful", {}, 1),
        ("state_shared_up", {}, 1),
        ("log_lines_lost_total", {}, 2),
        ("info", {"version": "0.9.0", "policy": "1f2e3d4c"}, 1),
    ]:
        assert found[f"smtpguard_{name}", frozenset(labels.items())] == value, name
    away = {"file": "", "shared": "redis away since 02:10", "counting": "here"}
    troubled = status(ready=False, reload={"at": NOW, "ok": False, "faults": ["x"], "warnings": []}, state=away)
    found = samples(Exposition(full()).of(troubled))
    for name in ("ready", "last_reload_successful", "state_shared_up"):
        assert found[f"smtpguard_{name}", frozenset()] == 0
    alone = samples(Exposition(full()).of(status(state={"file": "", "shared": "", "counting": "here"})))
    assert "smtpguard_state_shared_up" not in names(alone)


def test_the_histogram_is_cumulative() -> None:
    """Three sessions, of which one was shorter than a tenth of a second."""
    found = samples(Exposition(full()).of({}))
    buckets = {dict(labels)["le"]: value for (name, labels), value in found.items() if name.endswith("_bucket")}
    assert (buckets["0.1"], buckets["15"], buckets["60"], buckets["7200"], buckets["+Inf"]) == (1, 1, 2, 2, 3)
    assert found["smtpguard_session_seconds_count", frozenset()] == 3
    assert found["smtpguard_session_seconds_sum", frozenset()] == 4.5


def test_series_that_alerts_are_made_of_are_there_before_anything_happened() -> None:
    """A counter that appears with its first 1 has not risen, says Prometheus."""
    found = samples(Exposition(Totals()).of({}))
    for name, labels in [
        ("turned_away_total", {"reason": "unavailable"}),
        ("backend_faults_total", {"kind": "unreachable"}),
        ("auth_total", {"result": "failed"}),
        ("incidents_total", {}),
        ("log_lines_lost_total", {}),
    ]:
        assert found[f"smtpguard_{name}", frozenset(labels.items())] == 0


@given(st.text(max_size=40))
def test_a_rule_of_any_name_is_one_series(rule: str) -> None:
    """The file of a policy may be called anything."""
    counts, totals = Counts(), Totals()
    counts.verdict(rule, "reply")
    totals.merge(counts.take(), NOW)
    for openmetrics, read in ((False, read_text), (True, read_openmetrics)):
        found = samples(Exposition(totals).of({}, openmetrics), read)
        assert sum(value for (name, _), value in found.items() if name == catalogue.VERDICTS.full_name) == 1


_parts = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["endpoint", "name", "state", "sessions", "standing", "ok", "at"]), inner)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(status())), _parts))
@example(
    {"backends": [{}, {}], "limits": [{"standing": 1}, {"name": "a", "standing": 1}, {"name": "a", "standing": 2}]}
)
@example({"processes": [{"state": []}]})
def test_a_status_of_another_form_gives_fewer_gauges_and_no_fault(parts: dict[str, Any]) -> None:
    """Metrics of what works are not lost for what does not."""
    document = status(**parts)
    for metric, values, _ in gauges(document):
        assert len(values) == len(metric.labels)
    samples(Exposition(Totals()).of(document))


def test_two_expositions_do_not_know_of_each_other() -> None:
    """Nothing is registered for the whole process."""
    one, other = Exposition(full()), Exposition(Totals())
    assert one.of({}) != other.of({})


def test_what_an_exposition_costs() -> None:
    """It is made in the loop that serves mail."""
    counts, totals = Counts(), Totals()
    for number in range(RULES):
        counts.verdict(f"/etc/smtpguard/policy.yaml:{number}, check_vrfy {number}", "reply")
    totals.merge(counts.take(), NOW)
    exposition = Exposition(totals)

    def seconds() -> float:
        began = time.perf_counter()
        exposition.of(status())
        return time.perf_counter() - began

    assert min(seconds() for _ in range(10)) < EXPOSITION_SECONDS


def test_the_table_in_the_docs_is_what_make_docs_writes() -> None:
    """Run `make docs` if this fails."""
    document = (ROOT / "docs/monitoring.md").read_text("utf-8")
    assert placed(document) == document
