"""`smtpguard setup`: the guard in front of the mail server of this host, and away again."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from ipaddress import ip_address
from typing import Literal

import click

from ..config.faults import printable
from ..setup.applying import Setup
from ..setup.machine import Machine
from ..setup.refusals import Failed, Refused
from ..setup.services import services_of
from ..setup.showing import shown
from ..setup.wishes import BEHIND, Wishes

Action = Literal["dry-run", "apply", "undo"]


@click.command()
@click.argument("server", type=click.Choice(["sendmail"]))
@click.option("--dry-run", "action", flag_value="dry-run", help="Print each step with its diffs; change nothing.")
@click.option("--apply", "action", flag_value="apply", help="Do it; if a step fails, all is put back.")
@click.option("--undo", "action", flag_value="undo", help="Put everything back as it was.")
@click.option(
    "--identity",
    type=click.Choice(["transparent", "bind"]),
    default="transparent",
    show_default=True,
    help="What sendmail sees: each client's own address, or two of 127.0.0.0/8.",
)
@click.option(
    "--policy", default="internal-vrfy", show_default=True, metavar="FILE|NAME", help="What becomes the policy."
)
@click.option("--shadow", is_flag=True, help="The policy only tells what it would refuse (`smtpguard report`).")
@click.option("--listen", multiple=True, metavar="ADDRESS", help="Where the guard listens; else where sendmail did.")
@click.option("--port", type=click.IntRange(1, 65535), default=BEHIND, show_default=True, help="For sendmail, behind.")
@click.option("--mail-dir", default="/etc/mail", show_default=True, metavar="DIR", help="Where sendmail.mc is.")
@click.option("--root", default="/", show_default=True, metavar="DIR", help="An image instead of this host.")
@click.option("--force", is_flag=True, help="With --undo: put back what was changed since, too.")
def setup(
    server: str,
    action: Action | None,
    identity: Literal["transparent", "bind"],
    policy: str,
    shadow: bool,
    listen: tuple[str, ...],
    port: int,
    mail_dir: str,
    root: str,
    force: bool,
) -> int:
    """Put the guard in front of this host's SERVER, at port 25, or take it away again.

    For a sendmail as Debian sets it up.  Exit status: 0 done, or nothing to do; 69 a step failed, and everything was
    put back; 77 not root; 78 it cannot be done here, and the text says what to do by hand.
    """
    if action is None:
        raise click.UsageError("say what to do: --dry-run shows it, --apply does it, --undo takes it back")
    if force and action != "undo":
        raise click.UsageError("--force goes with --undo")
    for address in listen:
        try:
            ip_address(address)
        except ValueError:
            raise click.UsageError(f"--listen {address!r} is no address; 0.0.0.0 is everywhere, for IPv4") from None
    if port == 25:
        raise click.UsageError("--port 25 is where the guard listens; name another one for sendmail")
    if not mail_dir.startswith("/"):
        raise click.UsageError("--mail-dir begins with /, as in /etc/mail")
    if os.geteuid() != 0:
        click.echo("smtpguard: setup must be run by root: it reads and writes what is root's", err=True)
        return os.EX_NOPERM
    machine = Machine(root)
    services = services_of(machine)
    doing = Setup(machine, services, _tell)
    wishes = Wishes(mail_dir.rstrip("/"), port, identity, policy, listen, shadow)
    if action != "dry-run":
        _end_as_by_a_key()
    try:
        if action == "apply":
            doing.apply(wishes)
        elif action == "undo":
            doing.undo(force)
        elif (plan := doing.plan(wishes)) is None:
            click.echo("nothing to do: it is set up already")
        else:
            for line in shown(plan, services.name):
                click.echo(line)
    except (Refused, Failed) as error:
        for line in str(error).split("\n"):
            click.echo("\t".join(map(printable, line.split("\t"))), err=True)
        return os.EX_CONFIG if isinstance(error, Refused) else os.EX_UNAVAILABLE
    return os.EX_OK


def _tell(line: str) -> None:
    # Who reads it may be gone, as `head` is, or a terminal; what is half done is done, or taken back, all the same.
    with suppress(OSError):
        click.echo(printable(line.replace("\n", "; ")))


def _end_as_by_a_key() -> None:
    """Let a session that is cut off, or a kill, have everything taken back, as ^C has."""
    for number in (signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_DFL:  # and not ignored, as under nohup
            signal.signal(number, signal.default_int_handler)
