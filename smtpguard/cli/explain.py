"""`smtpguard explain`: what happens to a line, and why, without any network."""

from __future__ import annotations

import os
from dataclasses import replace

import click

from ..config import policy_file, settings
from ..config.faults import suggestion
from ..config.settings import Settings
from ..journal import lines
from ..journal.lines import Client, Style
from ..policy.decision import Decision, decide
from ..policy.networks import Peer
from ..policy.rules import Policy
from ..smtp import answers
from ..smtp.answers import Closing
from ..smtp.effects import Judged, Refused
from ..smtp.grammar import Malformed
from ..smtp.terms import Terms
from ..smtp.verbs import DISCLOSING, PROBES
from ..smtp.verdict import Action, Facts


@click.command()
@click.option("--config", metavar="FILE", help="Settings file: its policy, and what it says of the backend.")
@click.option(
    "--policy", metavar="FILE|NAME", help="A policy file or the name of a shipped policy.  [default: internal-vrfy]"
)
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
    command: str,
) -> int:
    """Show what the policy does with COMMAND: the rule, the reply and the log line."""
    try:
        peer = Peer.parse(source)
    except ValueError:
        raise click.BadParameter(
            f"{source!r} is not an address, as 203.0.113.9 or 2001:db8::9 are", param_hint="--from"
        ) from None
    terms = Terms()
    guarded: Settings | None = None
    if config is not None:
        guarded = settings.load(config, {"policy": policy}).settings
        policy, terms = guarded.policy, guarded.terms
    loaded = policy_file.load(policy_file.find(policy or "internal-vrfy"))
    if guarded is not None:
        at = guarded.listener(listener)
        if at is None:
            known = suggestion(listener, [one.label for one in guarded.listen])
            raise click.BadParameter(f"no listener is named {listener!r}{known}", param_hint="--listener")
        terms, listener = replace(terms, starttls=at.offers(loaded.policy.networks.names_of(peer))), at.label
    names = frozenset(name.lower() for name in tls_name)
    facts = Facts(ehlo, ehlo, tls or bool(names), names, auth, auth_failed)
    line = os.fsencode(command)
    decision = decide(loaded.policy, peer, line, Closing("localhost"), facts, listener, terms)
    networks = ", ".join(loaded.policy.networks.names_of(peer))
    rows = {
        "client": f"{peer.text} ({networks or 'in no named network'})",
        "rule": decision.verdict.rule or "none matches: forwarded",
        "verdict": decision.verdict.action.value
        + (f" after {decision.verdict.delay:g} s" if decision.verdict.delay else ""),
        "reply": str(decision.reply) if decision.reply else "the backend's",
        "log": _log_line(decision, Client(peer), Style(style)) or "(nothing but the session's summary)",
        **_limits(loaded.policy, peer, decision),
    }
    for key, value in rows.items():
        click.echo(f"{key:8} {value}")
    return os.EX_OK


def _limits(policy: Policy, peer: Peer, decision: Decision) -> dict[str, str]:
    """Return the limits of the policy that such a line counts for, if there are any."""
    counted = _counted(decision)
    touched = [one for one in policy.limits.all if one.counts in counted]
    if not touched:
        return {}
    applying = policy.limits.applying(policy.networks.classify(peer))
    return {"limits": "\n         ".join(str(one) if one in applying else f"{one.name}: exempt" for one in touched)}


def _counted(decision: Decision) -> frozenset[str]:
    """Return what a line is counted as (smtpguard.ledger.telling says the same of a session's notes)."""
    line, action = decision.line, decision.verdict.action
    if isinstance(line, Malformed):
        return frozenset({"commands", "malformed"})
    if action not in (Action.FORWARD, Action.STARTTLS) or line.verb in DISCLOSING | PROBES:
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
    passes = decision.verdict.action in (Action.FORWARD, Action.STARTTLS)
    if passes and line.verb not in DISCLOSING | PROBES:
        return None
    return lines.judged(Judged(line, decision.verdict), client, style).text
