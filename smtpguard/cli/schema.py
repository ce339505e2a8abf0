"""`smtpguard schema`: what editors check settings and policies with."""

from __future__ import annotations

import os

import click


@click.command()
@click.argument("kind", metavar="settings|policy", type=click.Choice(["settings", "policy"]))
def schema(kind: str) -> int:
    """Print the JSON Schema of settings or policy, for editors."""
    from ..config.schema import text_of

    click.echo(text_of(kind), nl=False)
    return os.EX_OK
