"""`smtpguard replay`: what a policy makes of recorded traffic, and where two policies differ on it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from ..config import policy_file, settings
from ..config.endpoints import parse_server
from ..config.faults import printable, suggestion
from ..config.listener import Listener
from ..config.settings import Settings
from ..policy.networks import Peer
from ..policy.rules import Policy
from ..recordings.opening import PORTS, Recording
from ..recordings.recorded import Unreadable
from ..recordings.running import Run, Session, Side
from ..smtp.terms import StartTls, Terms
from . import replayed, telling
from .defaults import DEFAULT_POLICY, IF_NEITHER, settings_of_host

DIFFERENT: Final = 1
"""Exit status where the two policies differ."""
INTERRUPTED: Final = 130
LONG_FILE: Final = 4 * 1024 * 1024
"""Octets from which on a file gets a progress bar: a second's work."""
UNCONFIGURED: Final = Terms(starttls=StartTls.OFFERED, chunking=True)
"""Where no settings are named, nothing is refused that settings decide: what is asked is the policy."""


def _ports(_context: click.Context, _option: click.Parameter, value: str | None) -> frozenset[int]:
    if value is None:
        return frozenset()
    words = value.split(",")
    if not all(word.isdigit() and 0 < int(word[:6]) < 65536 for word in words):
        raise click.BadParameter(f"{printable(value)!r} is no list of ports: write 25, or 25,587")
    return frozenset(map(int, words))


def _address(_context: click.Context, _option: click.Parameter, value: str | None) -> Peer | None:
    try:
        return None if value is None else Peer.parse(value)
    except ValueError:
        wrong = f"{printable(value or '')!r} is not an address, as 203.0.113.9 or 2001:db8::9 are"
        raise click.BadParameter(wrong) from None


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--config", metavar="FILE", help="Settings file: its policy, and what it says of the backend.")
@click.option("--policy", metavar="FILE|NAME", help=f"A policy file or the name of a shipped policy.  {IF_NEITHER}")
@click.option("--against", metavar="FILE|NAME", help="A second policy: tell where it differs from the first.")
@click.option("--from", "source", callback=_address, metavar="ADDRESS", help="Whose sessions a transcript has.")
@click.option(
    "--port",
    callback=_ports,
    metavar="PORT,...",
    help="The servers' ports in a capture.  [default: 25,587 and, with --config, those of the listeners]",
)
@click.option("--listener", default="", help="Name of the listener.  [default: with --config, by the port]")
@click.option("--proxy", is_flag=True, help="In a capture, a PROXY header in front says who the client is.")
@click.option("--only-changes", is_flag=True, help="Only sessions in which a client is told otherwise than before.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one object a line.")
@click.option("--progress/--no-progress", default=None, help="A bar for long files.  [default: on a terminal]")
def replay(
    file: Path,
    config: str | None,
    policy: str | None,
    against: str | None,
    source: Peer | None,
    port: frozenset[int],
    listener: str,
    proxy: bool,
    only_changes: bool,
    as_json: bool,
    progress: bool | None,
) -> int:
    """Run the sessions recorded in FILE against a policy: a capture (pcap, pcapng) or a transcript.

    \b
    Exit status:
       0  done; with --against: the policies do not differ on it
       1  with --against: they differ
      65  FILE is no recording that can be read
    """
    config = settings_of_host(config, policy)
    guarded = None if config is None else _guarded(config, policy, listener)
    run = _run(guarded, policy, against, listener)
    try:
        with Recording(file, port or _ports_of(guarded), source, proxy) as recording:
            if not recording.is_capture and source is None:
                raise click.UsageError("a transcript does not say who the client was: add --from 203.0.113.9")
            return _replayed(run, recording, only_changes, as_json, progress)
    except Unreadable as why:
        click.echo(printable(f"smtpguard: {file}: {why}"), err=True)
        return os.EX_DATAERR


def _guarded(config: str, policy: str | None, listener: str) -> Settings:
    guarded = settings.load(config, {"policy": policy}).settings
    if listener and guarded.listener(listener) is None:
        known = suggestion(listener, [one.label for one in guarded.listen])
        raise click.BadParameter(f"no listener is named {listener!r}{known}", param_hint="--listener")
    return guarded


def _port_of(listener: Listener) -> str:
    return parse_server(listener.endpoint).option("port", 0) or ""


def _ports_of(guarded: Settings | None) -> frozenset[int]:
    """Return the ports that SMTP is usually spoken at, with those of the settings."""
    ports = [_port_of(one) for one in guarded.listen] if guarded is not None else []
    return PORTS | {int(port) for port in ports if port.isdigit()}


def _run(guarded: Settings | None, policy: str | None, against: str | None, listener: str) -> Run:
    def side(name: str) -> Side:
        loaded = policy_file.load(policy_file.find(name))
        return Side(
            f"{loaded.path} (version {loaded.version})", loaded.policy, _settling(guarded, loaded.policy, listener)
        )

    first = guarded.policy if guarded is not None else policy or DEFAULT_POLICY
    return Run(side(first), None if against is None else side(against))


def _settling(guarded: Settings | None, policy: Policy, listener: str) -> Callable[[Peer, int], tuple[str, Terms]]:
    """Return what finds listener and terms for a client."""
    if guarded is None:
        return lambda _peer, _port: (listener, UNCONFIGURED)
    by_port = {_port_of(one): one for one in reversed(guarded.listen)}

    def settle(peer: Peer, port: int) -> tuple[str, Terms]:
        at = guarded.listener(listener) if listener else by_port.get(str(port), guarded.listen[0])
        assert at is not None
        return at.label, replace(guarded.terms, starttls=at.offers(policy.networks.names_of(peer)))

    return settle


def _replayed(run: Run, recording: Recording, only_changes: bool, as_json: bool, progress: bool | None) -> int:
    status, any_told = os.EX_OK, False
    try:
        with _bar(recording, progress):
            for session in run.sessions(recording.sessions()):
                if session.changed or not only_changes:
                    _tell(session, as_json)
                    any_told = True
    except KeyboardInterrupt:
        status = INTERRUPTED
    if as_json:
        click.echo(json.dumps(replayed.totals(run, recording.told, status == INTERRUPTED)))
    else:
        if any_told:
            click.echo()
        telling.tell(replayed.summary(run, recording.told, status == INTERRUPTED))
    return status or (DIFFERENT if run.comparison.count else os.EX_OK)


def _tell(session: Session, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(replayed.row(session)))
    else:
        for line in replayed.lines(session):
            click.echo(line)


@contextmanager
def _bar(recording: Recording, wanted: bool | None) -> Iterator[None]:
    """Show on stderr how far the file is read, where that is wanted or there is somebody who looks."""
    if not (sys.stderr.isatty() and recording.size >= LONG_FILE if wanted is None else wanted):
        yield
        return
    from rich.console import Console  # here, since it takes longer to import than all else takes
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("replaying"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=recording.size)
        recording.heard = lambda octets: bar.update(task, completed=octets)
        yield
