"""All probes by name, in the order in which they are put, and one run of them.

Contract: `audit` returns findings whatever the server does.  A probe that cannot be put is a finding
that says so; a fault of ours is not caught.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Final

from attrs import frozen

from . import disclosure, encryption, parsing, relaying
from .findings import Finding, Verdict
from .subject import NotAsked, Subject


@frozen
class Probe:
    """A question, or several of one kind."""

    name: str
    put: Callable[[Subject], Iterator[Finding]]

    @property
    def about(self) -> str:
        """One line for a list of probes."""
        return (self.put.__doc__ or "").partition("\n")[0]


PROBES: Final = (
    Probe("banner", disclosure.banner),
    Probe("help", disclosure.help_text),
    Probe("ehlo", disclosure.ehlo),
    Probe("vrfy", disclosure.vrfy),
    Probe("expn", disclosure.expn),
    Probe("timing", disclosure.timing),
    Probe("recipients", disclosure.recipients),
    Probe("verbs", disclosure.verbs),
    Probe("forms", parsing.forms),
    Probe("long-lines", parsing.long_lines),
    Probe("early", parsing.early),
    Probe("http", parsing.http),
    Probe("data", parsing.data),
    Probe("bare-lf", parsing.bare_lf),
    Probe("identity", relaying.identity),
    Probe("relay", relaying.relay),
    Probe("starttls", encryption.starttls),
    Probe("certificate", encryption.certificate),
    Probe("tls-versions", encryption.versions),
    Probe("starttls-injection", encryption.injection),
    Probe("inside-tls", encryption.inside),
)
NAMES: Final = tuple(probe.name for probe in PROBES)


def audit(subject: Subject, only: Collection[str] = NAMES) -> list[Finding]:
    """Put the probes of these names."""
    findings: list[Finding] = []
    for probe in PROBES:
        if probe.name not in only:
            continue
        try:
            # One by one: what was found before a probe had to give up is kept.
            for finding in probe.put(subject):
                findings.append(finding)
        except NotAsked as why:
            findings.append(Finding(probe.name, "", Verdict.NOTE, f"could not be asked: {why}", unasked=True))
    return findings
