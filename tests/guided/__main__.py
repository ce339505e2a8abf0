"""`python -m tests.guided TARGET|all --seconds N [--seed S]`: look for what makes a parser fail.

What fails is kept in tests/guided/found, to be replayed by the tests until the end of days; what
reaches more than was known grows in build/guided and is used by the next run.  Ends with 1 if anything
was found.
"""

from __future__ import annotations

import click

from .running import ROOT, run
from .targets import FOUND, NAMES, load


@click.command()
@click.argument("target", type=click.Choice([*NAMES, "all"]))
@click.option("--seconds", type=click.IntRange(1), default=60, show_default=True, help="for each target")
@click.option("--seed", type=click.IntRange(1), default=1, show_default=True)
def main(target: str, seconds: int, seed: int) -> None:
    """Fuzz one target, or all in turn."""
    failed = False
    for name in NAMES if target == "all" else [target]:
        outcome = run(load(name), seconds, seed, ROOT / "build/guided" / name, FOUND)
        click.echo(str(outcome))
        if outcome.failed:
            failed = True
            click.echo(outcome.output[-4000:])
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
