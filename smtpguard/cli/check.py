"""`smtpguard check`: all faults, then the policy's own tests."""

from __future__ import annotations

import os

import click

from ..config import policy_file, settings
from ..config.faults import Fault, Faulty
from ..config.policy_file import PolicyFile
from ..config.settings import Loaded, Settings
from ..smtp.profiles import Profile


@click.command()
@click.option("--config", metavar="FILE", help="Settings file; its policy is checked too.")
@click.option("--policy", metavar="FILE|NAME", help="A policy file or the name of a shipped policy.")
def check(config: str | None, policy: str | None) -> int:
    """Check settings and policy, and run the policy's own tests."""
    faults: list[Fault] = []
    loaded: Loaded | None = None
    name = policy
    if config is not None:
        try:
            loaded = settings.load(config, {"policy": policy})
            name = loaded.settings.policy
        except Faulty as error:
            faults.extend(error.faults)
            name = policy or settings.policy_named_in(config)
    try:
        checked = policy_file.load(policy_file.find(name or "internal-vrfy"))
        if loaded is not None:
            faults.extend(loaded.faults_with(checked.policy))
            faults.extend(checked.faults_with(listener.label for listener in loaded.settings.listen))
            for warning in loaded.warnings_with(checked.policy):
                click.echo(str(warning), err=True)
        faults.extend(_report(checked))
    except Faulty as error:
        faults.extend(error.faults)
    finally:  # also where the policy is missing
        if loaded is not None:
            faults.extend(_certificates(loaded.settings))
            faults.extend(_capabilities(loaded))
        for fault in faults:
            click.echo(str(fault), err=True)
    if loaded is not None and not faults:
        click.echo(f"{config}: ok")
        _explain_profile(loaded.settings.terms.profile)
    return os.EX_CONFIG if faults else os.EX_OK


def _capabilities(loaded: Loaded) -> list[Fault]:
    """Return what this process may not do, and the service, which is checked as it will be run, must."""
    backend = loaded.settings.backend
    if backend.identity != "transparent":
        return []
    from ..net.sockets import no_transparency  # here, since half of a second's work is importing Twisted

    missing = {*map(no_transparency, backend.families)} - {""}
    return [loaded.places.fault(("backend", "identity"), text) for text in sorted(missing)]


def _certificates(wanted: Settings) -> list[Fault]:
    """Read every certificate that the settings name; tell the warnings, and return the faults."""
    from ..tls import settings as tls_settings  # here, since a policy alone needs no certificates

    try:
        warnings = tls_settings.load(wanted).warnings
    except Faulty as error:
        return list(error.faults)
    for warning in warnings:
        click.echo(str(warning), err=True)
    return []


def _explain_profile(profile: Profile) -> None:
    click.echo(f"backend profile {profile.name} ({profile.about}) refuses:")
    for refusal in profile.refusals():
        click.echo(f"  {refusal}")


def _report(checked: PolicyFile) -> list[Fault]:
    for warning in checked.warnings:
        click.echo(str(warning), err=True)
    failures = list(checked.failures())
    passed = len(checked.tests) - len(failures)
    click.echo(f"{checked.path}: {checked.rules} rules, {passed} of {len(checked.tests)} tests passed")
    return failures
