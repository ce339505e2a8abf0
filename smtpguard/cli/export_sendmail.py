"""`smtpguard export-sendmail`: a policy as rule sets for a sendmail.mc."""

from __future__ import annotations

import os

import click

from ..config import policy_file, settings
from ..sendmail import exporting


@click.command(name="export-sendmail")
@click.option("--policy", metavar="FILE|NAME", help="A policy file or the name of a shipped policy.")
@click.option("--config", metavar="FILE", help="Settings file: its policy is written.")
@click.option("--strict", is_flag=True, help="Exit with 1 if not all of it can be said in rule sets.")
def export_sendmail(policy: str | None, config: str | None, strict: bool) -> int:
    """Write the m4 that does what a policy does, inside sendmail 8.10 or later."""
    if config is not None:
        policy = settings.load(config, {"policy": policy}).settings.policy
    found = exporting.exported(str(policy_file.find(policy or "internal-vrfy")))
    click.echo(found.text, nl=False)
    for fault in found.remarks:
        click.echo(str(fault), err=True)
    return 1 if strict and found.remarks else os.EX_OK
