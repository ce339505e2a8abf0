"""`smtpguard check`: all faults, then the policy's own tests."""

from __future__ import annotations

import os
from collections.abc import Iterable

import click

from ..config import policy_file
from ..config.faults import Fault
from ..config.policy_file import PolicyFile
from ..ledger.words import many
from ..smtp.profiles import Profile
from .statuses import status_of


@click.command()
@click.option("--config", metavar="FILE", help="Settings file; its policy is checked too.")
@click.option("--policy", metavar="FILE|NAME", help="A policy file or the name of a shipped policy.")
def check(config: str | None, policy: str | None) -> int:
    """Check settings and policy, and run the policy's own tests."""
    if config is None:
        _summary(checked := policy_file.load(policy_file.find(policy or "internal-vrfy")))
        return _told(checked.warnings, [*checked.failures()])
    from ..lifecycle.configuration import gather  # here, since a policy alone needs no certificates

    found = gather(config, {"policy": policy})
    if found.policy is not None:
        _summary(found.policy)
    status = _told(found.warnings, found.faults)
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


def _summary(checked: PolicyFile) -> None:
    passed = len(checked.tests) - sum(1 for _ in checked.failures())
    tests = f"{passed} of {many(len(checked.tests), 'test')} passed"
    click.echo(f"{checked.path} (version {checked.version}): {many(checked.rules, 'rule')}, {tests}")


def _told(warnings: Iterable[Fault], faults: list[Fault]) -> int:
    for fault in (*warnings, *faults):
        click.echo(str(fault), err=True)
    return os.EX_CONFIG if faults else os.EX_OK
