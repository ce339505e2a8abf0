"""What to write instead, for command lines that people are likely to type.

Contract: `hint` takes a usage error of click's and returns a sentence, or an empty text where it knows nothing better
than what click says.
"""

from __future__ import annotations

from collections.abc import Iterable

import click

from ..config.faults import printable, suggestion

_FILES: tuple[str, ...] = (".yaml", ".yml")
LONGEST_SHOWN = 60
"""Characters of an argument that are told again."""


def hint(error: click.UsageError, arguments: Iterable[str]) -> str:
    """Return what may have been meant by a command line that click did not take."""
    context = error.ctx
    if context is None:
        return ""
    command = context.command
    options = {name for parameter in command.params for name in parameter.opts}
    if isinstance(error, click.MissingParameter):
        return _missing(command.name or "", error)
    if command.name == "setup" and isinstance(error, click.BadParameter) and _names(error, "server"):
        return "setup knows sendmail; for other servers write the settings yourself: docs/deploy-others.md"
    # click has no type for an argument too many; those that nobody took are in the context.
    surplus = [*context.args] or [one for one in arguments if one.lower().endswith(_FILES)]
    if type(error) is not click.UsageError or "unexpected extra argument" not in error.message:
        return ""
    if command.name == "explain":
        return 'put the line in quotes: smtpguard explain --from 203.0.113.9 "VRFY root"'
    files = [one for one in surplus if one.lower().endswith(_FILES) or "/" in one]
    if files and "--config" in options:
        shown = printable(files[0])[:LONGEST_SHOWN]
        policy = f", a policy with --policy {shown}" if "--policy" in options else ""
        return f"settings are named with --config {shown}{policy}"
    return ""


def _names(error: click.BadParameter, parameter: str) -> bool:
    return error.param is not None and error.param.name == parameter


def _missing(command: str, error: click.MissingParameter) -> str:
    name = error.param.name if error.param is not None else ""
    match command, name:
        case "explain", "source":
            return "whose line is it? --from 203.0.113.9 is an outsider of the shipped policies, --from 10.1.2.3 is not"
        case "explain", "command":
            return 'name the line, in quotes: "VRFY root"'
        case "setup", _:
            return "smtpguard setup sendmail --dry-run shows what it would do, and changes nothing"
        case "audit", _:
            return "name the mail server: smtpguard audit mx.example.org"
    return ""


def close_to(word: str, commands: Iterable[str]) -> str:
    """Return ` (did you mean X?)`, or the commands that there are."""
    return suggestion(word, commands)
