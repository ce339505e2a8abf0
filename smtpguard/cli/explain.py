"""`smtpguard explain`: what happens to a line, or to a whole session, and why, without any network."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import click

from ..config import policy_file, settings
from ..config.faults import printable, suggestion
from ..config.settings import Settings
from ..journal import lines
from ..journal.lines import Client, Style
from ..policy.decision import Decision, decide
from ..policy.networks import Peer
from ..policy.rehearsal import Rehearsal
from ..policy.rules import Policy
from ..policy.supposed import Obliging
from ..smtp import answers
from ..smtp.answers import Closing
from ..smtp.effects import Judged, Refused
from ..smtp.grammar import Malformed
from ..smtp.terms import StartTls, Terms
from ..smtp.verbs import DISCLOSING, PROBES
from ..smtp.verdict import Action, Facts
from . import typed
from .defaults import DEFAULT_POLICY, IF_NEITHER, settings_of_host
from .explained import WIDTH, Explained, ending, rows

_PASSES: Final = frozenset({Action.FORWARD, Action.STARTTLS})
"""Nothing is refused."""


@click.command()
@click.option("--config", metavar="FILE", help="Settings file: its policy, and what it says of the backend.")
@click.option("--policy", metavar="FILE|NAME", help=f"A policy file or the name of a shipped policy.  {IF_NEITHER}")
@click.option("--from", "source", required=True, metavar="ADDRESS", help="The client's address.")
@click.option(
    "--listener", default="", help="Name of the listener that took the connection.  [default: with --config, the first]"
)
@click.option("--ehlo/--no-ehlo", default=True, show_default=True, help="EHLO was said before.")
@click.option("--tls", is_flag=True, help="The connection is encrypted.")
@click.option("--tls-name", multiple=True, metavar="NAME", help="A name in the client's verified certificate.")
@click.option("--auth", is_flag=True, help="AUTH succeeded.")
@click.option("--auth-failed", is_flag=True, help="AUTH has failed.")
@click.option(
    "--style",
    type=click.Choice(["sendmail", "classic"]),
    default="sendmail",
    show_default=True,
    help="Form of the log line.",
)
@click.option("--escapes", is_flag=True, help=r"With `-`: \r \n \t \0 \xNN are octets; \c at the end, no CRLF.")
@click.option("--json", "as_json", is_flag=True, help="With `-`: one document a line, for programs.")
@click.argument("command")
def explain(
    config: str | None,
    policy: str | None,
    source: str,
    listener: str,
    ehlo: bool,
    tls: bool,
    tls_name: tuple[str, ...],
    auth: bool,
    auth_failed: bool,
    style: str,
    escapes: bool,
    as_json: bool,
    command: str,
) -> int:
    """Show what the policy does with COMMAND, or with a session: the rule, the reply and the log line.

    With `-` as COMMAND the session is read from the standard input, or typed: a line each, as a client says it, or a
    transcript with `C: ` and `S: ` in front, of swaks or of sendmail.  No server is asked: one is supposed that accepts
    everything, or that answers as in the transcript.
    """
    peer = _peer(source)
    names = frozenset(name.lower() for name in tls_name)
    session = command == "-"
    terms = Terms(starttls=StartTls.OFFERED) if session else Terms()
    guarded: Settings | None = None
    config = settings_of_host(config, policy)
    if config is not None:
        guarded = settings.load(config, {"policy": policy}).settings
        policy, terms = guarded.policy, guarded.terms
    loaded = policy_file.load(policy_file.find(policy or DEFAULT_POLICY))
    if guarded is not None:
        at = guarded.listener(listener)
        if at is None:
            known = suggestion(listener, [one.label for one in guarded.listen])
            raise click.BadParameter(f"no listener is named {listener!r}{known}", param_hint="--listener")
        terms, listener = replace(terms, starttls=at.offers(loaded.policy.networks.names_of(peer))), at.label
    if session:
        facts = Facts(tls=tls, tls_names=names if tls else frozenset(), authenticated=auth, auth_failed=auth_failed)
        server = Obliging()
        rehearsal = Rehearsal(
            loaded.policy, peer, listener=listener, terms=terms, facts=facts, backend=server, tls_names=names
        )
        explained = Explained(loaded.policy, peer, rehearsal, Style(style))
        try:
            return _session(rehearsal, explained, server, _client_row(loaded.policy, peer), escapes, as_json)
        except typed.Unsaid as error:
            raise click.UsageError(str(error)) from None
    if escapes or as_json:
        raise click.UsageError("--escapes and --json are for a session: write - in place of the line")
    facts = Facts(ehlo, ehlo, tls or bool(names), names, auth, auth_failed)
    decision = decide(loaded.policy, peer, os.fsencode(command), Closing("localhost"), facts, listener, terms)
    table = {
        "client": _client_row(loaded.policy, peer),
        "rule": decision.verdict.rule or "none matches: forwarded",
        "verdict": decision.verdict.action.value
        + (f" after {decision.verdict.delay:g} s" if decision.verdict.delay else ""),
        "reply": str(decision.reply) if decision.reply else "the backend's",
        **_shadow(decision),
        "log": _log_line(decision, Client(peer), Style(style)) or "(nothing but the session's summary)",
        **_limits(loaded.policy, peer, decision),
    }
    for key, value in table.items():
        click.echo(f"{key:8} {value}")
    return os.EX_OK


def _shadow(decision: Decision) -> dict[str, str]:
    would = decision.verdict.would
    return {} if would is None else {"shadow": f"{lines.would_have(would)} ({would.rule})"}


def _peer(source: str) -> Peer:
    try:
        return Peer.parse(source)
    except ValueError:
        raise click.BadParameter(
            f"{source!r} is not an address, as 203.0.113.9 or 2001:db8::9 are", param_hint="--from"
        ) from None


def _client_row(policy: Policy, peer: Peer) -> str:
    networks = ", ".join(policy.networks.names_of(peer))
    return f"{peer.text} ({networks or 'in no named network'})"


def _session(
    rehearsal: Rehearsal, explained: Explained, server: Obliging, client: str, escapes: bool, as_json: bool
) -> int:
    """Say what is read, and tell what comes of it as it comes."""
    typed_here = sys.stdin.isatty()
    said = typed.Session(typed.prompted(escapes)) if typed_here else typed.read(sys.stdin.buffer, escapes)
    server.instead = said.banner
    banner = rehearsal.begin().decode("ascii", "backslashreplace").rstrip("\r\n")
    if as_json:
        _document({"client": client, "banner": banner, "remarks": said.remarks})
    else:
        _rows([("client", client), *(("note", one) for one in said.remarks), ("banner", banner)], "")
    unsaid = 0
    last = b""
    for piece in said.pieces:
        if rehearsal.over or (piece.awaits and piece.awaits != last[:3]):
            unsaid += 1
            continue
        server.instead = piece.reply
        for turn in rehearsal.say(piece.octets):
            last = turn.replies
            _tell(explained.turn(turn), as_json)
        server.instead = b""
        if typed_here and rehearsal.over:
            break
    for turn in rehearsal.end():
        _tell(explained.turn(turn), as_json)
    told = explained.end(unsaid)
    if as_json:
        _document({"session": told})
    else:
        click.secho("\nsession", bold=True)
        _rows(ending(told))
    return os.EX_OK


def _tell(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _document(told)
    else:
        click.secho(f"\n{told['number']:<2} {told['line']}", bold=True)
        _rows(rows(told))


def _rows(found: Iterable[tuple[str, str]], indent: str = "   ") -> None:
    for word, text in found:
        click.echo(printable(f"{indent}{word:{WIDTH}} {text}"))


def _document(told: dict[str, Any]) -> None:
    click.echo(json.dumps(told))


def _limits(policy: Policy, peer: Peer, decision: Decision) -> dict[str, str]:
    """Return the limits of the policy that such a line counts for, if there are any."""
    counted = _counted(decision)
    # Of what only a rule in shadow would refuse only limits in shadow take notice (smtpguard.ledger.telling).
    would = decision.verdict.would
    shadowed = counted | ({"probes"} if would is not None and would.action not in _PASSES else set())
    touched = [one for one in policy.limits.all if one.counts in (shadowed if one.shadow else counted)]
    if not touched:
        return {}
    applying = policy.limits.applying(policy.networks.classify(peer))
    return {"limits": "\n         ".join(str(one) if one in applying else f"{one.name}: exempt" for one in touched)}


def _counted(decision: Decision) -> frozenset[str]:
    """Return what a line is counted as (smtpguard.ledger.telling says the same of a session's notes)."""
    line, action = decision.line, decision.verdict.action
    if isinstance(line, Malformed):
        return frozenset({"commands", "malformed"})
    if action not in _PASSES or line.verb in DISCLOSING | PROBES:
        return frozenset({"commands", "probes"})
    # What the backend refuses of these is counted.
    refusable = {b"RCPT": {"recipients"}, b"AUTH": {"auth"}}.get(line.verb, set())
    return frozenset({"commands", *refusable})


def _log_line(decision: Decision, client: Client, style: Style) -> str | None:
    line = decision.line
    if isinstance(line, Malformed):
        fault = line.fault
        what = answers.in_line(fault, line.octet, 1) if fault.ends_session else fault.value
        event = Refused(what, line.line, fault.ends_session, fault)
        return lines.refused(event, client, style).text
    passes = decision.verdict.action in _PASSES
    if passes and line.verb not in DISCLOSING | PROBES and decision.verdict.would is None:
        return None
    return lines.judged(Judged(line, decision.verdict), client, style).text
