"""The report: its table, its JSON object, and its status."""

from __future__ import annotations

import json
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpguard.audit.findings import Finding, Verdict, worst
from smtpguard.audit.report import as_json, status, summary, table

OK, NOTE, WARNING, HOLE = Verdict

FINDINGS = [
    Finding("banner", "first line", OK, "220 mx.example.org ESMTP"),
    Finding("vrfy", "VRFY george", WARNING, "250 2.1.5 <george@x.test>", "check_vrfy: [{action: reply}]"),
    Finding("vrfy", "VRFY root", WARNING, "250 2.1.5 <root@x.test>", "check_vrfy: [{action: reply}]"),
    Finding("relay", "user@foreign", HOLE, "from <>: 250 ok", "an open relay"),
    Finding("certificate", "", NOTE, "could not be asked: STARTTLS is not offered", unasked=True),
]

PLAIN = """\
What mx shows

VERDICT  PROBE        ASKED         SEEN
ok       banner       first line    220 mx.example.org ESMTP
warning  vrfy         VRFY george   250 2.1.5 <george@x.test>
warning  vrfy         VRFY root     250 2.1.5 <root@x.test>
                                    -> check_vrfy: [{action: reply}]
hole     relay        user@foreign  from <>: 250 ok
                                    -> an open relay
note     certificate                could not be asked: STARTTLS is not offered

hole: 1, warning: 2, note: 1, ok: 1; could not be asked: 1
"""

NARROW = """\
What mx shows

VERDICT  PROBE        ASKED         SEEN
ok       banner       first line    220 mx.example.org ESMTP
warning  vrfy         VRFY george   250 2.1.5 <george@x.test>
warning  vrfy         VRFY root     250 2.1.5 <root@x.test>
                                    -> check_vrfy: [{action:
                                    reply}]
hole     relay        user@foreign  from <>: 250 ok
                                    -> an open relay
note     certificate                could not be asked: STARTTLS
                                    is not offered

hole: 1, warning: 2, note: 1, ok: 1; could not be asked: 1
"""


@pytest.mark.parametrize(("width", "shown"), [(None, PLAIN), (66, NARROW)])
def test_the_table_has_a_row_for_every_finding(width: int | None, shown: str) -> None:
    """On one line each where nobody looks at it, folded where somebody does; advice once for its rows."""
    assert list(table("What mx shows", FINDINGS, width)) == shown.splitlines()


def test_only_the_verdict_is_painted() -> None:
    """The columns stay where they are."""
    painted = list(table("What mx shows", FINDINGS, None, lambda text, verdict: f"<{verdict.value}>{text}</>"))
    assert [re.sub(r"<(?:/|ok|note|warning|hole)>", "", line) for line in painted] == PLAIN.splitlines()
    assert painted[3].startswith("<ok>ok     </>  banner")


@given(st.binary(max_size=300))
def test_no_finding_can_be_made_of_what_a_terminal_could_act_on(octets: bytes) -> None:
    """So nothing raw gets into a report, whatever a probe forgets."""
    text = octets.decode("latin-1")
    if re.fullmatch(r"[\x20-\x7e]*", text):
        Finding("x", text, OK, text, text)
        return
    for texts in ((text, "", "", ""), ("", text, "", ""), ("", "", text, ""), ("", "", "", text)):
        with pytest.raises(ValueError, match="not printable"):
            Finding(texts[0], texts[1], OK, texts[2], texts[3])


def test_the_json_object_is_stable() -> None:
    """Programs read it: keys are added, never changed."""
    report = json.loads(as_json("mx", 25, "192.0.2.1", FINDINGS))
    assert report.pop("findings")[3:] == [
        {
            "probe": "relay",
            "asked": "user@foreign",
            "verdict": "hole",
            "seen": "from <>: 250 ok",
            "advice": "an open relay",
            "unasked": False,
        },
        {
            "probe": "certificate",
            "asked": "",
            "verdict": "note",
            "seen": "could not be asked: STARTTLS is not offered",
            "advice": "",
            "unasked": True,
        },
    ]
    assert report == {
        "version": 1,
        "host": "mx",
        "port": 25,
        "address": "192.0.2.1",
        "status": 1,
        "error": "",
        "counts": {"ok": 1, "note": 1, "warning": 2, "hole": 1},
    }


def test_a_server_that_was_not_reached_has_a_json_object_too() -> None:
    """With the status and the reason."""
    report = json.loads(as_json("mx", 25, "", [], error="Connection refused"))
    assert (report["status"], report["error"], report["findings"]) == (os.EX_UNAVAILABLE, "Connection refused", [])


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [([OK], 0), ([OK, NOTE], 0), ([NOTE, WARNING], 1), ([HOLE, OK], 1), ([WARNING, HOLE], 1)],
)
def test_the_status_is_that_of_the_worst(verdicts: list[Verdict], expected: int) -> None:
    """A note does not wake anybody up."""
    assert status([Finding("x", "", verdict, "") for verdict in verdicts]) == expected


def test_an_audit_in_which_nothing_could_be_asked_is_no_good_one() -> None:
    """Silence is not consent."""
    unasked = Finding("x", "", NOTE, "could not be asked", unasked=True)
    assert status([unasked, unasked]) == os.EX_UNAVAILABLE
    assert status([unasked, FINDINGS[0]]) == 0
    assert status([Finding("relay", "from <>", NOTE, "could not be asked", unasked=True), FINDINGS[0]]) == 1
    assert summary([unasked]) == "hole: 0, warning: 0, note: 1, ok: 0; could not be asked: 1"


def test_a_hole_is_worse_than_a_warning_and_nothing_is_ok() -> None:
    """The order in which they stand."""
    assert worst([NOTE, HOLE, WARNING, OK]) is HOLE
    assert worst([]) is OK
