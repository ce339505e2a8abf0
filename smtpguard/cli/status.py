"""`smtpguard status`: what a service that runs is doing."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..config.admin import AdminPlace
from ..config.faults import printable
from .asking import NoAnswer, ask, place_of
from .defaults import DEFAULT_SETTINGS
from .showing import show
from .shown import Shown

if TYPE_CHECKING:
    from rich.console import RenderableType

NOT_GOOD = 1
"""Exit status of a service that answers, and is not ready or refused its last reload."""


@click.command()
@click.option("--config", metavar="FILE", help=f"Settings that name the endpoint.  [default: {DEFAULT_SETTINGS}]")
@click.option("--admin", metavar="ENDPOINT", help="Where to ask, as in unix:/run/smtpguard/admin.sock.")
@click.option("--json", "as_json", is_flag=True, help="The status document, for programs.")
@click.option(
    "--watch",
    type=click.FloatRange(min=0.2, max=3600),
    is_flag=False,
    flag_value="2",
    metavar="[SECONDS]",
    help="Again and again, each 2 seconds unless told otherwise.",
)
def status(config: str | None, admin: str | None, as_json: bool, watch: float | None) -> int:
    """Tell what the service that runs is doing.

    Exit status: 0 ready; 1 not ready, or the last reload was refused; 69 no answer.
    """
    try:
        place = place_of(config, admin)
    except NoAnswer as error:
        click.echo(printable(f"smtpguard: {error}"), err=True)
        return os.EX_UNAVAILABLE
    if watch is not None:
        return _watch(place, as_json, watch)
    try:
        document = _document(place)
    except NoAnswer as error:
        click.echo(printable(f"smtpguard: {error}"), err=True)
        return os.EX_UNAVAILABLE
    shown = _shown(document)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    elif sys.stdout.isatty():
        from .drawing import console, drawn  # here, since it takes longer to import than all else takes

        console().print(drawn(shown))
    else:
        click.echo(plain(shown))
    return _exit_status(shown)


def _document(place: AdminPlace) -> dict[str, Any]:
    document = ask(place, "/status.json")
    if not isinstance(document, dict):
        raise NoAnswer(f"{place.text} is no admin endpoint: its answer is no status")
    return document


def _shown(document: dict[str, Any]) -> Shown:
    return show(document, _changed(document))


def _changed(document: dict[str, Any]) -> float:
    """Return when the policy's file was changed, as the service is one of this host; 0 if it is not to be seen."""
    policy = document.get("policy")
    path = policy.get("path") if isinstance(policy, dict) else None
    if not isinstance(path, str) or not os.path.isabs(path):
        return 0.0
    try:
        return os.stat(path).st_mtime
    except (OSError, ValueError):
        return 0.0


def _exit_status(shown: Shown) -> int:
    return os.EX_OK if shown.good else NOT_GOOD


def plain(shown: Shown) -> str:
    """Return it as lines in columns, for a file or another program."""
    lines = [shown.headline, *(f"! {trouble}" for trouble in shown.troubles)]
    lines += [f"{name:<12} {text}" for name, text in shown.facts]
    for table in shown.tables:
        numbers = [name.endswith("#") for name in table.columns]
        rows = [tuple(name.rstrip(" #") for name in table.columns), *table.rows]
        widths = [max(len(row[place]) for row in rows) for place in range(len(numbers))]
        lines += ["", table.title] if table.title else [""]
        for row in rows:
            cells = zip(row, widths, numbers, strict=True)
            lines.append("  ".join(c.rjust(width) if right else c.ljust(width) for c, width, right in cells).rstrip())
        if table.more:
            lines.append(f"({table.more} more)")
    return "\n".join(lines)


# -- again and again -----------------------------------------------------------------------------


def _watch(place: AdminPlace, as_json: bool, seconds: float) -> int:
    if as_json or not sys.stdout.isatty():

        def tell(document: dict[str, Any] | None, shown: Shown | None, fault: str) -> None:
            if fault:
                click.echo(printable(f"smtpguard: {fault}"), err=True)
            elif as_json:
                click.echo(json.dumps(document))
            elif shown is not None:
                click.echo(plain(shown) + "\n")

        return _again_and_again(place, seconds, tell)
    from rich.live import Live

    from .drawing import console, drawn

    def draw(_document: dict[str, Any] | None, shown: Shown | None, fault: str) -> None:
        picture: RenderableType = drawn(shown, fault)
        live.update(picture, refresh=True)

    with Live(console=console(), screen=True, auto_refresh=False) as live:
        return _again_and_again(place, seconds, draw)


def _again_and_again(
    place: AdminPlace, seconds: float, tell: Callable[[dict[str, Any] | None, Shown | None, str], None]
) -> int:
    """Ask and tell until somebody interrupts; what was last answered is told again beside a fault."""
    found = os.EX_UNAVAILABLE
    document: dict[str, Any] | None = None
    shown: Shown | None = None
    try:
        while True:
            fault = ""
            try:
                document = _document(place)
                shown = _shown(document)
                found = _exit_status(shown)
            except NoAnswer as error:
                fault, found = str(error), os.EX_UNAVAILABLE
            tell(document, shown, fault)
            time.sleep(seconds)
    except KeyboardInterrupt:
        return found
