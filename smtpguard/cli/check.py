"""`smtpguard check`: all faults, the policy's own tests, and the rules that none of them reaches."""

from __future__ import annotations

import os
from collections.abc import Iterable

import click

from ..config import policy_file
from ..config.faults import Fault, printable
from ..config.policy_file import PolicyFile
from ..config.policy_tests import Outcome
from ..ledger.words import many
from ..smtp.profiles import Profile
from .defaults import DEFAULT_POLICY, IF_NEITHER, settings_of_host
from .statuses import status_of


@click.command()
@click.option("--config", metavar="FILE", help="Settings file; its policy is checked too.")
@click.option("--policy", metavar="FILE|NAME", help=f"A policy file or the name of a shipped policy.  {IF_NEITHER}")
@click.option("--require-coverage", is_flag=True, help="A rule that no test reaches is a fault.")
def check(config: str | None, policy: str | None, require_coverage: bool) -> int:
    """Check settings and policy, run the policy's own tests, and tell which rules none of them reaches."""
    config = settings_of_host(config, policy)
    if config is None:
        checked = policy_file.load(policy_file.find(policy or DEFAULT_POLICY))
        outcome = checked.tested()
        _summary(checked, outcome, require_coverage)
        return _told(checked.warnings, [*outcome.failures, *_uncovered(checked, outcome, require_coverage)])
    from ..lifecycle.configuration import gather  # here, since a policy alone needs no certificates

    found = gather(config, {"policy": policy})
    uncovered: list[Fault] = []
    if found.policy is not None:
        outcome = found.policy.tested()
        _summary(found.policy, outcome, require_coverage)
        uncovered = _uncovered(found.policy, outcome, require_coverage)
    status = _told(found.warnings, [*found.faults, *uncovered])
    if found.unread is not None:
        return status_of(found.unread)
    if found.loaded is not None and status == os.EX_OK:
        click.echo(f"{config}: ok")
        _explain_profile(found.loaded.settings.terms.profile)
    return status


def _explain_profile(profile: Profile) -> None:
    click.echo(f"backend profile {profile.name} ({profile.about}) refuses:")
    for refusal in profile.refusals():
        click.echo(f"  {refusal}")


def _summary(checked: PolicyFile, outcome: Outcome, strict: bool) -> None:
    tests = f"{outcome.passed} of {many(len(checked.tests), 'test')} passed"
    unreached = outcome.unreached(checked.rules)
    line = f"{checked.path} (version {checked.version}): {many(len(checked.rules), 'rule')}, {tests}"
    known = len(checked.rules)
    tested = bool(checked.tests and checked.rules)
    if tested:
        line += f", {known - len(unreached)} of {many(known, 'rule')} reached by them"
    click.echo(printable(line))
    if checked.shadow:
        click.echo(printable(f"in shadow, so that it is only logged: {', '.join(checked.shadow)}"))
    if not tested:
        return
    if unreached and not strict:  # else they are told as faults
        click.echo("rules that no test reaches:")
        for rule in unreached:
            click.echo(printable(f"  {checked.path}:{rule.line}:{rule.column} {rule.title}"))


def _uncovered(checked: PolicyFile, outcome: Outcome, strict: bool) -> list[Fault]:
    """Return a fault for each rule that no test reaches, if that is one."""
    unreached = outcome.unreached(checked.rules) if strict else []
    return [Fault(checked.path, rule.line, rule.column, f"no test reaches {rule.title}") for rule in unreached]


def _told(warnings: Iterable[Fault], faults: list[Fault]) -> int:
    for fault in (*warnings, *faults):
        click.echo(str(fault), err=True)
    return os.EX_CONFIG if faults else os.EX_OK
