"""`smtpguard`: the commands and their exit statuses.

Contract: sysexits(3).  0 done, 64 usage, 65 a file is no recording, 66 a named file is missing, 69 a listener cannot be
opened, nobody answers, or a setup was put back, 77 not permitted, 78 a fault in settings or policy, 130 interrupted; 1
is the command's own word for what it found (each says so).  Faults go to stderr, one a line, as FILE:LINE:COLUMN: text.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

import click

from .. import __version__
from ..config.faults import Faulty, printable
from . import guide, hints
from .statuses import status_of


class Commands(click.Group):
    """The commands by name; each is imported when it is called, so that `explain` needs no transports."""

    modules: Mapping[str, str] = {
        "run": "run_guard",
        "check": "check",
        "explain": "explain",
        "replay": "replay",
        "demo": "demo",
        "audit": "audit",
        "setup": "setup",
        "status": "status",
        "incidents": "incidents",
        "bans": "bans",
        "schema": "schema",
        "import-sendmail": "import_sendmail",
        "export-sendmail": "export_sendmail",
        "report": "report",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.modules:
            return None
        module = import_module(f"smtpguard.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = getattr(module, self.modules[cmd_name])
        command.epilog = command.epilog or guide.epilog(cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # An option is click's to refuse: it knows those that are close.
        if args[0] in self.modules or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        raise click.UsageError(f"No such command '{printable(args[0])}'{hints.close_to(args[0], self.modules)}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Tell the commands by what they are for, without importing one."""
        for title, commands in guide.GROUPS.items():
            if there := [(name, line) for name, line in commands.items() if name in self.modules]:
                with formatter.section(title):
                    formatter.write_dl(there)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("First"):
            formatter.write_dl([step for step in guide.FIRST_STEPS if step[0].split()[1] in self.modules], col_max=60)
        formatter.write_paragraph()
        formatter.write_text(f"Each command has --help, with examples. Manual: {guide.PAGES}.")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="smtpguard", message="%(prog)s %(version)s")
def smtpguard() -> None:
    """A policy-enforcing SMTP proxy for mail servers that cannot be changed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    try:
        return smtpguard.main(arguments, prog_name="smtpguard", standalone_mode=False) or os.EX_OK
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return os.EX_USAGE
    except click.UsageError as error:
        error.show()
        if meant := hints.hint(error, sys.argv[1:] if arguments is None else arguments):
            click.echo(f"Hint: {meant}", err=True)
        return os.EX_USAGE
    except click.Abort:
        return 130
    except Faulty as error:
        for fault in error.faults:
            click.echo(str(fault), err=True)
        return os.EX_CONFIG if error.unread is None else status_of(error.unread)
    except OSError as error:
        click.echo(printable(f"smtpguard: {error.filename or ''}: {error.strerror}"), err=True)
        return status_of(error)


def run() -> None:
    """Entry point of the console script."""
    sys.exit(main())
