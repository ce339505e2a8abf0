"""`smtpguard audit`: what an outsider sees of a mail server."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final

import click

from ..audit import probes, report
from ..audit.findings import Verdict
from ..audit.subject import Subject, Unreachable
from ..audit.wishes import TIMEOUT, Tls, Wishes
from ..journal.lines import loggable_name

SECONDS: Final = (0.1, 300.0)
"""For --timeout; RFC 5321 4.5.3.2 has no server wait longer than 300 for a command's reply."""
_PORTS: Final = {Tls.STARTTLS: 25, Tls.IMPLICIT: 465}
_COLOURS: Final = {Verdict.OK: "green", Verdict.NOTE: "cyan", Verdict.WARNING: "yellow", Verdict.HOLE: "red"}
# RFC 5321 4.1.2 Dot-string: nothing here needs quotes, and no dot comes first.
_LOCAL: Final = re.compile(r"[A-Za-z0-9!#$&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$&'*+/=?^_`{|}~-]+)*")
_TARGET: Final = re.compile(r"\[([^\]]+)\](?::([0-9]{1,5}))?|([^:\[\]]+)(?::([0-9]{1,5}))?")


def _checked(read: Callable[[str], Any]) -> Callable[..., Any]:
    """Make an option's value go through `read`, so that a wrong one is a usage error."""

    def check(_context: click.Context, _option: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        try:
            return read(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return check


def _target(text: str) -> tuple[str, int]:
    """Read HOST[:PORT]; 0 is the port that is usual."""
    try:
        return str(ip_address(text)), 0
    except ValueError:
        pass
    match = _TARGET.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no HOST, HOST:PORT or [IPv6]:PORT")
    inner, inner_port, name, name_port = match.groups()
    port = int(inner_port or name_port or 0)
    if port > 65535 or (not port and (inner_port or name_port)):
        raise ValueError("ports go from 1 to 65535")
    if inner is not None:
        return str(ip_address(inner)), port
    if loggable_name(name) is None:
        raise ValueError(f"{name!r} is no host name")
    return name, port


def _host(text: str) -> str:
    if not re.fullmatch(r"\[[0-9A-Za-z:.]+\]", text) and loggable_name(text) != text:
        raise ValueError(f"{text!r} is neither a host name nor an address in brackets")
    return text


def _local_part(text: str) -> str:
    if not _LOCAL.fullmatch(text):
        raise ValueError(f"{text!r} is no name without quotes and blanks")
    return text


def _mailbox(text: str) -> str:
    local, at, domain = text.rpartition("@")
    if not at or not _LOCAL.fullmatch(local) or loggable_name(domain) != domain:
        raise ValueError(f"{text!r} is not of the form user@example.com")
    return text


def _seconds(text: str) -> float:
    seconds = float(text)
    if not SECONDS[0] <= seconds <= SECONDS[1]:
        raise ValueError(f"{text} is not from {SECONDS[0]:g} to {SECONDS[1]:g}")
    return seconds


def _address(text: str) -> str:
    return str(ip_address(text))


def _list_probes(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        for probe in probes.PROBES:
            click.echo(f"{probe.name:18}  {probe.about}")
        context.exit()


@click.command("audit")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--timeout",
    callback=_checked(_seconds),
    default=f"{TIMEOUT:g}",
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a reply.",
)
@click.option("--helo", callback=_checked(_host), metavar="NAME", help="What EHLO says.  [default: the own address]")
@click.option(
    "--known",
    callback=_checked(_local_part),
    default="postmaster",
    show_default=True,
    metavar="NAME",
    help="A user that exists there.",
)
@click.option(
    "--recipient",
    callback=_checked(_mailbox),
    default="smtpguard-audit@example.com",
    show_default=True,
    metavar="ADDRESS",
    help="A foreign address, for relay attempts; it gets no mail.",
)
@click.option("--source", callback=_checked(_address), metavar="ADDRESS", help="The own address to connect from.")
@click.option(
    "--tls",
    type=click.Choice([one.value for one in Tls]),
    default=Tls.STARTTLS.value,
    show_default=True,
    help="Begin in clear and ask about STARTTLS, or speak TLS from the first octet, as on port 465.",
)
@click.option(
    "--only", type=click.Choice(probes.NAMES), multiple=True, metavar="PROBE", help="This probe; may be repeated."
)
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list_probes, help="List the probes.")
@click.argument("target", metavar="HOST[:PORT]", callback=_checked(_target))
def audit(
    as_json: bool,
    timeout: float,
    helo: str | None,
    known: str,
    recipient: str,
    source: str | None,
    tls: str,
    only: tuple[str, ...],
    target: tuple[str, int],
) -> int:
    """Show what an outsider sees of the mail server at HOST, with a verdict on each finding.

    Only HOST is contacted, at one address, with some fifty connections; no mail is delivered.  Ask
    from where an outsider is: a server tells its own networks more.

    \b
    Exit status:
       0  nothing worse than a note
       1  a warning or a hole, or no answer about relaying
      64  usage
      69  HOST cannot be reached, or gives no service
    """
    host, port = target
    port = port or _PORTS[Tls(tls)]
    wishes = Wishes(host, port, timeout, helo or "", known, recipient, source or "", Tls(tls))
    try:
        subject = Subject(wishes)
    except Unreachable as why:
        if as_json:
            click.echo(report.as_json(host, port, "", [], error=str(why)))
        click.echo(f"smtpguard: {why}", err=True)
        return os.EX_UNAVAILABLE
    try:
        findings = probes.audit(subject, only or probes.NAMES)
    finally:
        subject.close()
    if as_json:
        click.echo(report.as_json(host, port, subject.address, findings))
    else:
        on_terminal = sys.stdout.isatty()
        width = shutil.get_terminal_size().columns if on_terminal else None
        title = f"What {host} [{subject.address}] port {port} shows to this machine"
        for line in report.table(title, findings, width, _painted if on_terminal else None):
            click.echo(line)
    return report.status(findings)


def _painted(text: str, verdict: Verdict) -> str:
    return click.style(text, fg=_COLOURS[verdict], bold=verdict.is_bad)
