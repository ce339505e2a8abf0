"""What the tests of this folder share: one run of some probes, and what a server must not have got."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from smtpguard.audit.findings import Finding, Verdict
from smtpguard.audit.probes import NAMES, audit
from smtpguard.audit.subject import Subject
from smtpguard.audit.wishes import Wishes

from .scripted import Script, Scripted

OUTSIDE = "127.0.0.2"


def found(port: int, *only: str, **wishes: Any) -> list[Finding]:
    """Audit the server at a port of 127.0.0.1, from outside; all probes if none is named."""
    subject = Subject(Wishes("127.0.0.1", port, **{"source": OUTSIDE, **wishes}))
    try:
        return audit(subject, only or NAMES)
    finally:
        subject.close()


def audited(script: Script, *only: str) -> list[Finding]:
    """Audit a scripted server with a known user `george`."""
    with Scripted(script) as server:
        return found(server.port, *only, known="george", timeout=2.0, source="")


def bad(findings: Sequence[Finding]) -> dict[tuple[str, str], Verdict]:
    """Return what changes the exit status, by probe and question."""
    return {(one.probe, one.asked): one.verdict for one in findings if one.verdict.is_bad}


def one(findings: Sequence[Finding], asked: str) -> Finding:
    """Return the finding to a question."""
    (finding,) = [one for one in findings if one.asked == asked]
    return finding
