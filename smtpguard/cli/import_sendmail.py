"""`smtpguard import-sendmail`: the policy that a sendmail's files amount to."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..config import policy_file
from ..config.faults import Fault
from ..config.yaml_reader import read
from ..sendmail import importing, settings_part, sources, writing
from ..sendmail.told import Remarks


@click.command(name="import-sendmail")
@click.option("--cf", metavar="FILE", help="A sendmail.cf.  [default, if no file is named: /etc/mail/sendmail.cf]")
@click.option("--mc", metavar="FILE", help="A sendmail.mc, which is put through m4 and so runs what it says.")
@click.option("--access", metavar="FILE", help="The text of the access map.  [default: what the .cf names]")
@click.option("--relay-domains", metavar="FILE", help="The file of class R.  [default: what the .cf names]")
@click.option("--local-host-names", metavar="FILE", help="The file of class w.  [default: what the .cf names]")
@click.option("--settings", metavar="FILE", help="Write what the files say of the settings there, if nothing is there.")
@click.option("--output", metavar="FILE", help="Write the policy there, if nothing is there.  [default: stdout]")
def import_sendmail(
    cf: str | None,
    mc: str | None,
    access: str | None,
    relay_domains: str | None,
    local_host_names: str | None,
    settings: str | None,
    output: str | None,
) -> int:
    """Write the policy that a sendmail's files amount to, and tell what it could not carry over."""
    remarks = Remarks()
    gathered = sources.gathered(remarks, cf, mc, access, relay_domains, local_host_names)
    found = importing.imported(gathered, remarks, named=settings is not None)
    fragment = settings_part.written(found.sources.cf, remarks, output or "policy.yaml")
    text = writing.written(found)
    click.echo(f"read: {', '.join(found.sources.read)}", err=True)
    for fault in remarks.found:
        click.echo(str(fault), err=True)
    faults = _faults(text, output or "(the policy)")
    if output is None:
        click.echo(text, nl=False)
    else:
        _write(output, text)
        click.echo(f"{output}: written; next: smtpguard check --policy {output}", err=True)
    if settings is not None:
        _write(settings, fragment)
        click.echo(
            f"{settings}: written; move sendmail to {settings_part.BACKEND} before you start the guard", err=True
        )
    for fault in faults:
        click.echo(str(fault), err=True)
    return os.EX_SOFTWARE if faults else os.EX_OK


def _write(name: str, text: str) -> None:
    """Write a file that is not there yet; what an administrator has edited is never lost."""
    try:
        with open(Path(name), "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise FileExistsError(error.errno, "File exists, and is not overwritten: name another one", name) from None


def _faults(text: str, name: str) -> list[Fault]:
    """Return what is wrong with what was written, which is nothing unless there is a bug."""
    checked = policy_file.build(read(text, name))
    return [*checked.failures()]
