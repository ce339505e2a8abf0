"""What sendmail's files amount to, as the parts of a policy.

Contract: `imported` follows sendmail's own order: a client that its access map refuses is refused all but greetings,
then PrivacyOptions, then what is refused at one of its ports, then the rule sets check_vrfy, check_expn and check_etrn.
What could not be carried over is told, with its place.  No file makes it raise anything but OSError.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

from attrs import define, evolve, field, frozen

from ..policy import privacy
from ..policy.networks import Block, Peer, parse_block
from ..policy.reply_profiles import reply_for
from . import classes, client_map, daemons, domains, shapes
from .cf_file import Cf, Said
from .not_carried import tell_rest, verbatim
from .prefixes import block_of, is_sure
from .shapes import Judgement
from .sources import Sources
from .tokens import tokens
from .told import Remarks

REFUSED_VERBS: Final = ("VRFY", "EXPN", "ETRN", "HELP", "AUTH", "MAIL", "RCPT", "DATA")
"""What sendmail says the refusal to of a client that check_relay rejects, STARTTLS and VERB aside, which give a client
nothing; the rest it answers as always."""
OURSELVES: Final = ("127.0.0.1/32", "::1/128")
"""sendmail relays for them whatever its files say ("originated locally")."""
_SETS: Final = {
    "check_vrfy": "VRFY",
    "check_expn": "EXPN",
    "check_etrn": "ETRN",
    "Local_check_mail": "MAIL",
    "Local_check_rcpt": "RCPT",
    "check_data": "DATA",
}
_WITH_ARGUMENT: Final = frozenset({"VRFY", "EXPN", "ETRN"})
"""Those whose rule sets get what the client wrote, and not what sendmail made of it."""
_OTHER_SETS: Final = ("Local_check_relay", "check_eoh", "check_other", "check_compat", "check_eom")
"""A site's own, if they are there: a stock sendmail.cf has none of them with rules in it."""


@frozen
class Network:
    """A network of the policy to be."""

    name: str
    blocks: tuple[Block, ...]
    origin: str


@frozen
class Refusal:
    """Clients that the access map refuses."""

    network: str
    reply: str


@define
class Imported:
    """The parts of a policy."""

    sources: Sources
    remarks: Remarks
    networks: list[Network] = field(factory=list)
    refusals: list[Refusal] = field(factory=list)
    privacy: list[str] = field(factory=list)
    privacy_origin: str = ""
    rules: dict[str, list[Judgement]] = field(factory=dict)
    """By verb, those of sendmail's rule sets."""
    origins: dict[str, str] = field(factory=dict)
    domains: dict[str, str] = field(factory=dict)
    """What outsiders may send mail to, and where it is said."""
    require_tls: Said | None = None

    @property
    def delayed(self) -> bool:
        """True under FEATURE(`delay_checks'), which asks check_relay at RCPT, and not of who has authenticated."""
        return "checkrelay" in self.sources.cf.rule_sets

    @property
    def refused_verbs(self) -> tuple[str, ...]:
        """What is refused to clients that the access map refuses."""
        return ("RCPT",) if self.delayed else REFUSED_VERBS

    def expected(
        self,
        verb: str,
        address: str,
        argument: str = "",
        *,
        greeted: bool = True,
        authenticated: bool = False,
        listener: str = "",
    ) -> str:
        """Return what sendmail does with a client's command in clear: `forward`, `privacy` or a reply."""
        peer = Peer.parse(address)
        for refusal in self.refusals:
            network = next(one for one in self.networks if one.name == refusal.network)
            if verb in self.refused_verbs and _has(network.blocks, peer) and not (self.delayed and authenticated):
                return refusal.reply
        for one in privacy.rules_of(self.privacy).get(verb.encode("ascii"), []):
            if not one.before_greeting:
                return "privacy"
            if not greeted:
                return str(one.reply)
        for rule in self.rules.get(verb, []):
            if (
                (rule.blocks is None or _has(rule.blocks, peer))
                and (rule.not_blocks is None or not _has(rule.not_blocks, peer))
                and rule.authenticated in (None, authenticated)
                and not rule.tls
                and (rule.listeners is None or listener in rule.listeners)
                and (rule.arguments is None or _fits(argument, rule.arguments))
            ):
                return rule.reply or "forward"
        return "forward"


def _fits(argument: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(argument.lower(), one.lower()) for one in globs)


def _has(blocks: Iterable[Block], peer: Peer) -> bool:
    return any(one.family == peer.family and one.first <= peer.value <= one.last for one in blocks)


def imported(sources: Sources, remarks: Remarks, *, named: bool) -> Imported:
    """Put together what the files say; raises OSError.

    `named`: the guard will have the listeners that DaemonPortOptions name, and not only one at port 25.
    """
    found = Imported(sources, remarks)
    _clients(found)
    _privacy(found)
    members = classes.members(sources.cf, remarks)
    for name, verb in _SETS.items():
        _rule_set(found, name, verb, members, named)
    closed = [
        verb.decode("ascii")
        for verb, ones in privacy.rules_of(found.privacy).items()
        if any(not one.before_greeting for one in ones)
    ]
    for verb, rule, origin in daemons.rules(sources.cf, remarks, closed, named=named):
        found.rules[verb] = [rule, *(() if rule.always else found.rules.get(verb, ()))]
        found.origins[verb] = "; ".join(filter(None, (origin, found.origins.get(verb))))
    for name in _OTHER_SETS:
        if sources.cf.rule_sets.get(name):
            remarks.tell(
                sources.cf.file,
                sources.cf.first_line[name],
                f"rule set {name} is not carried over",
                verbatim(sources.cf, name),
            )
    found.domains = domains.relayed(sources, remarks)
    found.require_tls = next((said for said in sources.cf.all_of("AuthOptions") if "p" in said.text), None)  # add up
    tell_rest(sources.cf, remarks)
    return found


# -- clients --------------------------------------------------------------------------


def _clients(found: Imported) -> None:
    path, remarks = found.sources.access, found.remarks
    relayed = [parse_block(one) for one in OURSELVES]
    origins = ["sendmail's own: this host"]
    outcomes: Mapping[str, list[Block]] = {}
    if path is not None:
        cf = found.sources.cf
        entries = client_map.read_clients(path, remarks, _denied(cf), compressed=_compressed(cf))
        outcomes = client_map.by_outcome(entries)
        if outcomes.get(client_map.RELAY):
            relayed += outcomes[client_map.RELAY]
            origins.append(f"{path}:{_lines(one.line for one in entries if one.outcome == client_map.RELAY)}")
    passed = [block for outcome, blocks in outcomes.items() if outcome != client_map.RELAY for block in blocks]
    for said in domains.class_r(found.sources):
        if said.text.startswith("["):
            continue  # mail to an address
        compressed = _compressed(found.sources.cf)
        try:
            block = block_of(said.text, compressed=compressed)
        except ValueError as error:
            remarks.tell(said.file, said.line, str(error), "left out")
            continue
        if block is not None and not is_sure(said.text, compressed=compressed):
            remarks.tell(
                said.file, said.line, f"{said.text} fits only some of {client_map.block_text(block)}", "left out"
            )
        elif block is not None:
            if any(_within(block, one) or _within(one, block) for one in passed):
                remarks.tell(said.file, said.line, f"{said.text} is relayed, and in {path} refused", "see to it")
            relayed.append(block)
            origins.append(f"{said.file}:{said.line}")
    found.networks.append(Network("internal", tuple(dict.fromkeys(relayed)), "relayed for: " + ", ".join(origins)))
    for outcome, blocks in outcomes.items():
        if outcome in (client_map.RELAY, client_map.PASSED):
            continue
        name = "refused" if not found.refusals else f"refused_{len(found.refusals) + 1}"
        lines = _lines(one.line for one in entries if one.outcome == outcome)
        found.networks.append(Network(name, tuple(blocks), f"{path}:{lines}"))
        found.refusals.append(Refusal(name, outcome))


def _within(inner: Block, outer: Block) -> bool:
    return inner.family == outer.family and outer.first <= inner.first and inner.last <= outer.last


def _denied(cf: Cf) -> str:
    """Return what this configuration answers for REJECT (confREJECT_MSG)."""
    rules = cf.rule_sets.get("Basic_check_relay", [])
    rule = next((one for one in rules if one.left.startswith("<REJECT>")), None)
    return (shapes.error_of(rule) if rule is not None else None) or client_map.DENIED


def _compressed(cf: Cf) -> bool:
    """True if rule sets see IPv6 addresses with `::`."""
    said = cf.option("UseCompressedIPv6Addresses")
    return said is not None and said.text[:1].lower() in ("t", "y", "")


_SHOWN_LINES: Final = 6


def _lines(numbers: Iterable[int]) -> str:
    given = [*numbers]
    return ",".join(map(str, given[:_SHOWN_LINES])) + ("..." if len(given) > _SHOWN_LINES else "")


# -- rules ----------------------------------------------------------------------------


def _privacy(found: Imported) -> None:
    for said in found.sources.cf.all_of("PrivacyOptions"):  # which add up
        found.privacy_origin = f"{said.file}:{said.line} PrivacyOptions"
        for word in re.findall(r"[A-Za-z0-9]+", said.text):  # whatever stands between them
            option = word.lower()
            if option in privacy.NO_EFFECT:
                continue  # sendmail goes on doing it
            if option not in privacy.OPTIONS:
                found.remarks.tell(said.file, said.line, f"PrivacyOptions: {word} is not known", "left out")
            elif option != "public" and option not in found.privacy:
                found.privacy.append(option)


def _rule_set(found: Imported, name: str, verb: str, members: Mapping[str, list[str]], named: bool) -> None:
    cf, remarks = found.sources.cf, found.remarks
    if not cf.rule_sets.get(name):
        return
    line = cf.first_line[name]
    if any(not one.before_greeting for one in privacy.rules_of(found.privacy).get(verb.encode("ascii"), [])):
        remarks.tell(cf.file, line, f"{name} is never asked under these PrivacyOptions", "left out")
        return
    try:
        if _compressed(cf):
            _without_v6(cf, name, members)
        rules = shapes.understood(cf, name, members)
    except shapes.Unknown as unknown:
        remarks.tell(
            cf.file, unknown.line, f"{name} is not carried over: {unknown.why}: `{unknown.text}`", verbatim(cf, name)
        )
        if verb in _WITH_ARGUMENT:
            # What was closed to some must not become open to all.  Mail goes on: the rules are sendmail's still.
            remarks.tell(cf.file, line, f"{name}: until it is written by hand", f"{verb} is refused to everybody")
            found.rules[verb] = [Judgement(line, str(reply_for("sendmail", verb.encode("ascii"))))]
            found.origins[verb] = f"{cf.file}:{line} {name}, not carried over"
        return
    kept = []
    for rule in rules:
        if rule.blocks == ():
            continue
        if (rule.arguments is not None and verb not in _WITH_ARGUMENT) or (
            rule.reply is not None and rule.reply[0] == "2" and verb in ("MAIL", "RCPT", "DATA")
        ):
            remarks.tell(
                cf.file, rule.line, f"{name} is not carried over: no policy has such a rule", verbatim(cf, name)
            )
            return
        here = rule if named else daemons.at_the_guard(rule, daemons.taken_over(cf))
        if here is None:
            remarks.tell(
                cf.file,
                rule.line,
                f"{name}: left out, as it is about other ports than the guard's",
                "with --settings it is a rule",
            )
        else:
            kept.append(evolve(here, not_blocks=None) if here.not_blocks == () else here)
    if kept or not rules:
        found.rules[verb] = kept
        found.origins[verb] = f"{cf.file}:{line} {name}"


def _without_v6(cf: Cf, name: str, members: Mapping[str, Sequence[str]]) -> None:
    """Raise Unknown for rules that look at IPv6 addresses piece by piece, which go otherwise where they are short."""
    for rule in cf.rule_sets[name]:
        named = [one[2:].strip("{}") for one in tokens(rule.left) if one[:2] in ("$=", "$~")]
        if "ipv6" in " ".join((rule.left, *(word for one in named for word in members.get(one, ())))).lower():
            raise shapes.Unknown(rule.line, rule.text, "IPv6 addresses under UseCompressedIPv6Addresses")
