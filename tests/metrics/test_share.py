"""The shipped alert rules and dashboard: Prometheus takes them, and they ask for what there is."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from smtpguard.metrics.catalogue import CATALOGUE, PROCESS
from tests.rig.guard import ROOT

RULES = ROOT / "smtpguard/share/prometheus/smtpguard.rules.yml"
RULES_TEST = Path(__file__).with_name("smtpguard.rules.test.yml")
DASHBOARD = ROOT / "smtpguard/share/grafana/smtpguard.json"

# Of PromQL, as far as it is used here.
FUNCTIONS = frozenset({"sum", "min", "max", "by", "rate", "increase", "changes", "histogram_quantile"})
_OF_PROMETHEUS = {"job", "instance"}
_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"([^"]*)"\s*,?')
_GROUPING = re.compile(r"\bby\s*\(([^)]*)\)")
_VARIABLES = {"$__rate_interval": "5m", "$instance": ".*", "$job": "smtpguard"}


def known() -> dict[str, dict[str, frozenset[str] | None]]:
    """Return the samples that there are, with their labels and what these can be."""
    found: dict[str, dict[str, frozenset[str] | None]] = {
        name: {label.name: label.values for label in metric.labels}
        for metric in CATALOGUE.values()
        for name in metric.sample_names
    }
    found["smtpguard_session_seconds_bucket"] = {"le": None}
    return {**found, **{name: {} for name in (*PROCESS, "up")}}


def faults_of(expression: str) -> Iterator[str]:
    """Yield what an expression asks for that is not there."""
    samples, used = known(), set[str]()
    for name, braces in _SELECTOR.findall(_GROUPING.sub("", re.sub(r"\[[^]]*\]", "", expression))):
        if name in FUNCTIONS:
            continue
        if name not in samples:
            yield f"there is no {name}"
            continue
        used.add(name)
        if _MATCHER.sub("", braces).strip():
            yield f"{{{braces}}} is not understood"
        for label, operator, value in _MATCHER.findall(braces):
            if label in _OF_PROMETHEUS:
                continue
            if label not in samples[name]:
                yield f"{name} has no label {label}"
                continue
            values = samples[name][label]
            wanted = value.split("|") if "~" in operator else [value]
            if values is not None and not values.issuperset(wanted):
                yield f"{label} of {name} is never {value}"
    for labels in _GROUPING.findall(expression):
        for label in map(str.strip, labels.split(",")):
            if label not in _OF_PROMETHEUS and not all(label in samples[name] for name in used):
                yield f"{label} is no label of {used}"


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return found


def dashboard_expressions() -> list[str]:
    """Return all that the dashboard asks, variables being filled in."""
    document = json.loads(DASHBOARD.read_text("utf-8"))
    found = [target["expr"] for panel in panels() for target in panel.get("targets", [])]
    found += [one["expr"] for one in document["annotations"]["list"]]
    for variable, value in _VARIABLES.items():
        found = [expression.replace(variable, value) for expression in found]
    return found


def test_promtool_takes_the_rules_and_they_do_as_they_are_meant_to() -> None:
    """Each alert comes when it has to, and does not when all is well."""
    for command in (["check", "rules", str(RULES)], ["test", "rules", str(RULES_TEST)]):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried_both_ways() -> None:
    """One that never comes is as bad as one that always does."""
    tried = [one for test in yaml.safe_load(RULES_TEST.read_text("utf-8"))["tests"] for one in test["alert_rule_test"]]
    names = {rule["alert"] for rule in alerts()}
    assert {one["alertname"] for one in tried if one.get("exp_alerts")} == names
    assert {one["alertname"] for one in tried if not one.get("exp_alerts")} == names


def test_promtool_takes_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    """As rules that record, since promtool reads no dashboards."""
    rules = [{"record": f"panel_{number}", "expr": one} for number, one in enumerate(dashboard_expressions())]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("expression", [*(rule["expr"] for rule in alerts()), *dashboard_expressions()])
def test_expressions_ask_for_metrics_and_labels_that_there_are(expression: str) -> None:
    """By the catalogue, which the exposition is held to as well."""
    assert list(faults_of(expression)) == []


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("smtpguard_readyy == 0", "there is no smtpguard_readyy"),
        ("rate(smtpguard_sessions[5m])", "there is no smtpguard_sessions"),
        ('smtpguard_auth_total{outcome="failed"}', "smtpguard_auth_total has no label outcome"),
        ('smtpguard_auth_total{result="refused"}', "result of smtpguard_auth_total is never refused"),
        (
            'smtpguard_turned_away_total{reason=~"limit|lmit"}',
            "reason of smtpguard_turned_away_total is never limit|lmit",
        ),
        ("sum by (verb) (smtpguard_auth_total)", "verb is no label of {'smtpguard_auth_total'}"),
    ],
)
def test_an_expression_that_asks_for_what_is_not_there_is_found(expression: str, fault: str) -> None:
    """The test above can fail."""
    assert list(faults_of(expression)) == [fault]


def test_labels_in_the_texts_of_alerts_are_those_that_the_alert_has() -> None:
    """Else a person reads of `<no value>`."""
    for rule in alerts():
        grouped = _GROUPING.findall(rule["expr"])
        has = {label.strip() for labels in grouped for label in labels.split(",")}
        if not grouped:
            name = next(name for name, _ in _SELECTOR.findall(rule["expr"]) if name in known())
            has = {*known()[name], *_OF_PROMETHEUS}
        asked = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        assert asked <= has, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")


def test_the_dashboard_shows_most_metrics_without_one_panel_over_another() -> None:
    """A panel has one place; whoever adds a metric decides whether it is shown."""
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not taken & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in panels()}) == len(panels())
    shown = " ".join(dashboard_expressions())
    hidden = {metric.name for metric in CATALOGUE.values() if not any(name in shown for name in metric.sample_names)}
    assert hidden <= {
        "shadow_verdicts",  # for a week or two; `smtpguard report` tells it
        "shadow_limit_crossed",
        "tls_sessions",
        "uninspected_sessions",
        "newlines_mended",
        "sessions_too_slow",
        "reloads",
        "bans_made",
        "info",
        "start_time_seconds",
        "policy_rules",
        "last_reload_timestamp_seconds",
        "state_shared_up",
    }
