"""An imported policy as the text of a file.

Contract: the text is a policy that loads and whose own tests pass; the tests are what sendmail does, told by
`Imported.expected`, not by the policy.  At its head stands what could not be carried over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from attrs import frozen

from ..config.faults import printable
from ..policy import privacy
from ..policy.networks import Block
from ..policy.privacy import Prohibition
from ..policy.reply_profiles import reply_for
from . import patterns
from .importing import REFUSED_VERBS, Imported, Network
from .shapes import Judgement

LINE: Final = 110
OUTSIDE: Final = ("203.0.113.9", "2001:db8:ffff::9")
"""Of nobody (RFC 5737, RFC 3849)."""
TESTED_NETWORKS: Final = 20
"""Each with its first address; a policy with more is tested with these."""
ELSEWHERE: Final = "elsewhere.example"
"""Nobody's domain."""
_ASKED: Final = ("VRFY", "EXPN", "ETRN", "MAIL")
_WITH: Final = {
    "VRFY": "VRFY george",
    "EXPN": "EXPN all",
    "ETRN": "ETRN example.org",
    "AUTH": "AUTH PLAIN",
    "MAIL": "MAIL FROM:<a@example.org>",
    "RCPT": "RCPT TO:<a@example.org>",
}


def written(found: Imported) -> str:
    """Return the text of the policy."""
    read = ", ".join(found.sources.read)
    lines = [f"# What {printable(read)} amount to, by `smtpguard import-sendmail`."]
    if found.remarks.found:
        lines += ["#", "# Not the same, or not at all:", *found.remarks.comments()]
    options, rule_sets = _apart(found)
    lines += ["", "networks:"]
    named = _networks(found)
    for name, (blocks, origin) in named.items():
        lines += [f"  # {printable(origin)}", *_list(f"  {name}: ", [str(one) for one in patterns.networks_of(blocks)])]
    lines += ["", "replies: sendmail"]
    if options:
        lines += [f"privacy_options: [{', '.join(options)}]  # {printable(found.privacy_origin)}"]
    if found.require_tls is not None:
        said = found.require_tls
        lines += [f"auth: {{require_tls: true}}  # {printable(said.file)}:{said.line} AuthOptions"]
    if found.domains:
        lines += ["", "relay_domains:", "  domains:"]
        lines += [f"    - {json.dumps(domain)}  # {printable(origin)}" for domain, origin in found.domains.items()]
    lines += ["", "rulesets:" if rule_sets else "rulesets: {}"]
    by_blocks = {blocks: name for name, (blocks, _) in named.items()}
    for verb, rules in rule_sets.items():
        origin = found.origins.get(verb, "")
        lines.append(f"  check_{verb.lower()}:" + (f"  # {printable(origin)}" if origin else ""))
        written_rules = [_rule(rule, by_blocks, verb) for rule in rules]
        if _has_conditions(rules[-1]):
            written_rules.append("{action: forward}")
        lines += [f"    - {one}" for one in written_rules]
    lines += ["", *_tests(found), ""]
    return "\n".join(lines)


def _networks(found: Imported) -> dict[str, tuple[tuple[Block, ...], str]]:
    """Return the networks by name, with those that rules have."""
    named = {one.name: (one.blocks, one.origin) for one in found.networks}
    known = {one.blocks for one in found.networks}
    for verb, rules in found.rules.items():
        for rule in rules:
            for blocks in (rule.blocks, rule.not_blocks):
                if blocks is not None and blocks not in known and len(blocks) > 1:
                    name = f"{verb.lower()}_{sum(1 for one in named if one.startswith(verb.lower())) + 1}"
                    named[name] = blocks, f"{found.sources.cf.file}:{rule.line}"
                    known.add(blocks)
    return named


@frozen
class _Refused:
    """A refused network, and what it is told."""

    network: str
    reply: str
    delayed: bool


_Ruled = Judgement | Prohibition | _Refused
"""A rule: of a rule set of sendmail's, of an option, or of the access map."""


def _apart(found: Imported) -> tuple[list[str], dict[str, list[_Ruled]]]:
    """Return the options that stay options, and the rules by verb: a policy has a verb in one of both."""
    ruled = set(found.rules) | (set(found.refused_verbs) if found.refusals else set())
    options = list(found.privacy)
    while clash := [one for one in options if _verbs([one]) & ruled]:
        options = [one for one in options if one not in clash]
        ruled |= _verbs(clash)
    by_verb = privacy.rules_of([one for one in found.privacy if one not in options])
    rule_sets: dict[str, list[_Ruled]] = {}
    for verb in (*REFUSED_VERBS, *sorted(ruled - set(REFUSED_VERBS))):
        rules: list[_Ruled] = []
        if verb in found.refused_verbs:
            rules += [_Refused(one.network, one.reply, found.delayed) for one in found.refusals]
        rules += by_verb.get(verb.encode("ascii"), [])
        rules += found.rules.get(verb, [])
        if rules:
            rule_sets[verb] = rules
    return options, rule_sets


def _verbs(options: Sequence[str]) -> set[str]:
    return {verb.decode("ascii") for verb in privacy.rules_of(list(options))}


def _rule(rule: _Ruled, names: dict[tuple[Block, ...], str], verb: str) -> str:
    if isinstance(rule, _Refused):
        unless = ", authenticated: false" if rule.delayed else ""
        return f"{{from: {rule.network}{unless}, reply: {json.dumps(rule.reply)}}}"
    if isinstance(rule, Prohibition):
        greeted = "greeted: false, " if rule.before_greeting else ""
        return f"{{{greeted}{_reply(None if rule.reply is None else str(rule.reply), verb)}}}"
    parts = []
    if rule.blocks is not None:
        parts.append(f"from: {_blocks(rule.blocks, names)}")
    if rule.not_blocks is not None:
        parts.append(f"from_not: {_blocks(rule.not_blocks, names)}")
    if rule.listeners is not None:
        parts.append(f"listener: {json.dumps(list(rule.listeners))}")
    if rule.tls is not None:
        parts.append(f"tls: {str(rule.tls).lower()}")
    if rule.authenticated is not None:
        parts.append(f"authenticated: {str(rule.authenticated).lower()}")
    if rule.arguments is not None:
        parts.append(f"argument: {json.dumps(list(rule.arguments))}")
    if rule.reply is None:
        parts.append("action: forward")
    elif rule.reply.startswith("421"):
        parts += ["action: close", f"reply: {json.dumps(rule.reply)}"]
    else:
        parts.append(_reply(rule.reply, verb))
    return f"{{{', '.join(parts)}}}"


def _has_conditions(rule: _Ruled) -> bool:
    if isinstance(rule, Judgement):
        return not rule.always
    return not isinstance(rule, Prohibition) or rule.before_greeting


def _reply(text: str | None, verb: str) -> str:
    """Return the action; sendmail's own text is the profile's."""
    if text is None or text == str(reply_for("sendmail", verb.encode("ascii"))):
        return "action: reply"
    return f"reply: {json.dumps(text)}"


def _blocks(blocks: tuple[Block, ...], names: dict[tuple[Block, ...], str]) -> str:
    return names.get(blocks) or json.dumps([str(one) for one in patterns.networks_of(blocks)])


def _list(head: str, words: Sequence[str]) -> Iterator[str]:
    """Yield a list of YAML's, over as many lines as it takes."""
    quoted = [json.dumps(word) if ":" in word else word for word in words]
    line = f"{head}["
    for number, word in enumerate(quoted):
        last = number == len(quoted) - 1
        piece = word + ("]" if last else ", ")
        if len(line) + len(piece) > LINE:
            yield line.rstrip()
            line = "    "
        line += piece
    yield line if quoted else f"{head}[]"


def _tests(found: Imported) -> Iterator[str]:
    yield "tests:"
    refused = {
        str(_first(one)) for one in found.networks if any(one.name == refusal.network for refusal in found.refusals)
    }
    for address in dict.fromkeys((*_addresses(found), *OUTSIDE)):
        for verb in REFUSED_VERBS if address in refused else _ASKED:
            yield _test(found, verb, address)
    early = {verb for verb, ones in privacy.rules_of(found.privacy).items() if any(one.before_greeting for one in ones)}
    for verb in _ASKED:
        if verb.encode("ascii") in early:
            yield _test(found, verb, OUTSIDE[0], greeted=False)
        if any(rule.authenticated for rule in found.rules.get(verb, ())):
            yield _test(found, verb, OUTSIDE[0], authenticated=True)
    for verb in (*_ASKED, "AUTH"):
        for name in dict.fromkeys(name for rule in found.rules.get(verb, ()) for name in rule.listeners or ()):
            yield _test(found, verb, OUTSIDE[0], listener=name)
            if any(rule.authenticated is False for rule in found.rules[verb]):
                yield _test(found, verb, OUTSIDE[0], authenticated=True, listener=name)
    own = next((one for one in found.domains if one[0] not in ".["), None)
    if own is not None and found.expected("RCPT", OUTSIDE[0]) == "forward":
        yield f'  - {{from: {OUTSIDE[0]}, command: "RCPT TO:<a@{own}>", expect: forward}}'
        if ELSEWHERE not in found.domains:
            yield f'  - {{from: {OUTSIDE[0]}, command: "RCPT TO:<a@{ELSEWHERE}>", expect: 550}}'


def _test(
    found: Imported,
    verb: str,
    address: str,
    *,
    greeted: bool = True,
    authenticated: bool = False,
    listener: str = "",
) -> str:
    argument = _WITH.get(verb, verb).partition(" ")[2]
    said = found.expected(verb, address, argument, greeted=greeted, authenticated=authenticated, listener=listener)
    if said == "privacy":
        said = str(reply_for("sendmail", verb.encode("ascii")))
    expected = "close" if said.startswith("421") else said[:3] if said[:1].isdigit() else said
    facts = ("" if greeted else "greeted: false, ") + ("authenticated: true, " if authenticated else "")
    facts += f"listener: {json.dumps(listener)}, " if listener else ""
    source = json.dumps(address) if ":" in address else address
    return f"  - {{from: {source}, command: {json.dumps(_WITH.get(verb, verb))}, {facts}expect: {expected}}}"


def _first(network: Network) -> IPv4Address | IPv6Address | None:
    return _address(network.blocks[0]) if network.blocks else None


def _address(block: Block) -> IPv4Address | IPv6Address:
    return IPv4Address(block.first) if block.family == 4 else IPv6Address(block.first)


def _addresses(found: Imported) -> Iterable[str]:
    blocks = [
        *(one.blocks[0] for one in found.networks if one.blocks),
        *(found.networks[0].blocks[-1:] if found.networks else ()),
        *(rule.blocks[0] for rules in found.rules.values() for rule in rules if rule.blocks),
    ]
    for block in list(dict.fromkeys(blocks))[:TESTED_NETWORKS]:
        yield str(_address(block))
