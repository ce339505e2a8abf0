"""A guard in shadow before a real sendmail: nothing is refused, all is told, and reported."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.test_service import guard, probe, typed
from tests.rig.guard import Guard
from tests.rig.sendmail import RealSendmail
from tests.rig.wait import wait_until

from .support import GEORGE, INSIDE, NO_VRFY, OUTSIDE, UNRECOGNIZED

ELSEWHERE = "127.0.0.9"
RULES = f"""
shadow: true
networks: {{internal: [{INSIDE}/32]}}
banner: mail.example.org
relay_domains: [x.test]
limits:
  scanners: {{count: probes, rate: 2/hour, then: [{{over: 2, ban: 1 hour}}]}}
rulesets:
  check_vrfy: [{{from: internal, action: forward}}, {{action: reply}}]
  check_debug: [{{action: close}}]
  check_help: [{{from_not: internal, action: reply}}]
  check_noop: [{{from_not: internal, action: forward, delay: 200}}]
tests:
  - {{from: {OUTSIDE}, command: VRFY george, expect: 252}}
"""

workers = pytest.mark.parametrize("workers", [1, 2])


def report(folder: Path, *flags: str) -> dict[str, Any]:
    """Return what `smtpguard report` tells programs."""
    status, out = typed(folder, "report", "--json", *flags)
    assert status == 0, out
    document: dict[str, Any] = json.loads(out)
    return document


def until_reported(folder: Path, verb: str, number: int) -> dict[str, Any]:
    """Wait until a verb has been kept so many times; return the whole."""
    found: list[dict[str, Any]] = [{}]

    def there() -> dict[str, Any] | None:
        found[0] = report(folder)
        rows = {row["verb"]: row["number"] for row in found[0]["rows"]}
        return found[0] if rows.get(verb) == number else None

    return wait_until(there, f"{number} {verb} in the report", 20, lambda: json.dumps(found[0], indent=1))


def said(running: Guard, words: str) -> list[str]:
    """Return the lines of the log that have these words."""
    return [line for line in running.lines() if words in line]


@workers
def test_in_shadow_sendmail_answers_and_the_log_tells_what_the_guard_would_have(
    tmp_path: Path, stock: RealSendmail, workers: int
) -> None:
    """The client gets what sendmail says, at once, under sendmail's own banner; nobody is banned."""
    lines = ("VRFY george", "DEBUG", "NOOP", "RCPT TO:<a@elsewhere.test>", "VRFY george", "VRFY nosuch")
    with guard(tmp_path, stock, workers, RULES) as running:
        running.wait_line(r"in shadow, so that it is only logged: the whole policy")
        replies = probe(running, OUTSIDE, *lines)
        assert replies[1:] == [GEORGE, f'{UNRECOGNIZED}: "DEBUG"', *replies[3:5], GEORGE, replies[6]]
        assert [reply[:3] for reply in replies[3:5]] == ["250", "503"]
        assert replies[6].startswith("550 5.1.1 ")
        assert probe(running, INSIDE, "VRFY george")[1] == GEORGE
        assert probe(running, OUTSIDE, "NOOP")[1].startswith("250"), "it was banned"
        document = until_reported(tmp_path, "VRFY", 3)
        (vrfy,) = (row for row in document["rows"] if row["verb"] == "VRFY")
        assert re.fullmatch(r".*policy\.yaml:\d+ check_vrfy, rule 2", vrfy["rule"])
        assert (vrfy["would"], vrfy["clients"], vrfy["line"]) == (NO_VRFY, 1, "VRFY george")
        assert vrfy["top"] == [{"source": OUTSIDE, "name": "", "number": 3}]
        outcomes = {row["verb"]: row["would"] for row in document["rows"]}
        assert outcomes == {
            "VRFY": NO_VRFY,
            "DEBUG": "closed",
            "NOOP": "delayed",
            "RCPT": "550 5.7.1 Relaying denied",
            "": "ban",
        }
        assert (document["commands"], document["clients"], document["shadow"]) == (5, 1, ["the whole policy"])
        assert len(said(running, f"[{OUTSIDE}]: VRFY george [would have answered 252]")) == 2
        assert said(running, f"[{OUTSIDE}]: RCPT TO:<a@elsewhere.test> [would have answered 550]")
        assert said(running, f"[{OUTSIDE}]: NOOP [would have been forwarded after 200 s]")
        assert said(running, '"debug" command from '), "a probe is one, whatever becomes of it"
        assert not said(running, f"[{INSIDE}]: VRFY george [")
        assert not said(running, "[rejected]")
        assert said(running, f"limit scanners: {OUTSIDE}: 3 probes in 1 hour, would have been banned for 1 hour")


@workers
def test_what_was_kept_outlives_the_service_and_is_added_to(tmp_path: Path, stock: RealSendmail, workers: int) -> None:
    """Also what came in the second before it ended."""
    for number in (1, 2):
        with guard(tmp_path, stock, workers, RULES) as running:
            for source in (OUTSIDE, ELSEWHERE):
                probe(running, source, "HELP")
        (row,) = (one for one in report(tmp_path)["rows"] if one["verb"] == "HELP")
        assert (row["number"], row["clients"]) == (2 * number, 2)
    status, out = typed(tmp_path, "report", "--since", "7d")
    assert status == 0
    assert "4 commands of 2 clients" in out
    assert "In shadow now: the whole policy." in out


def test_a_site_switches_over_rule_by_rule(tmp_path: Path, stock: RealSendmail) -> None:
    """One rule set acts, the rest is still in shadow; then all of it, by a reload each."""
    with guard(tmp_path, stock, 1, RULES) as running:
        assert probe(running, OUTSIDE, "VRFY george", "HELP")[1] == GEORGE
        policy = tmp_path / "policy.yaml"
        one = RULES.replace("check_vrfy: [", "check_vrfy: {shadow: false, rules: [").replace(
            "{action: reply}]\n  check_debug", "{action: reply}]}\n  check_debug"
        )
        assert one.count("shadow: false") == 1
        _reload(running, policy, one)
        replies = probe(running, OUTSIDE, "VRFY george", "HELP")
        assert (replies[1][:3], replies[2][:3]) == ("252", "214")
        _reload(running, policy, one.replace("shadow: true", "").replace("limits:", "prefixes: {}\nlimits:"))
        replies = probe(running, ELSEWHERE, "VRFY george", "HELP")
        assert (replies[1][:3], replies[2][:3]) == ("252", "502")
    status, out = typed(tmp_path, "report")
    assert status == 0
    assert "Nothing is in shadow any more." in out


def _reload(running: Guard, policy: Path, text: str) -> None:
    before = len(said(running, "reloaded"))
    policy.write_text(text)
    running.signal(signal.SIGHUP)
    wait_until(lambda: len(said(running, "reloaded")) > before, "the reload", 20, lambda: "\n".join(running.lines()))


def test_without_a_state_file_the_service_is_asked(tmp_path: Path, stock: RealSendmail) -> None:
    """It knows of what came since it began."""
    with guard(tmp_path, stock, 1, RULES, {"state": "memory"}) as running:
        probe(running, OUTSIDE, "HELP")
        asked = ("--admin", f"unix:{tmp_path}/admin.sock")

        def there() -> bool:
            return [row["verb"] for row in report(tmp_path, *asked)["rows"]] == ["HELP"]

        wait_until(there, "the report", 20)
