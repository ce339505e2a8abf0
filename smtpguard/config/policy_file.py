"""The policy file: where it is, and the `Policy` that it makes.

Contract: `load` returns a `PolicyFile` that is ready to serve, with its warnings, or raises `Faulty`
with every fault of the file.  Whether the policy's own tests pass is asked apart (`failures`),
because `explain` must work on a policy whose tests fail.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import replace
from enum import Enum
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import Final, TypeVar

from attrs import frozen

from ..policy import privacy
from ..policy.conditions import Argument, Authenticated, AuthFailed, Condition, Esmtp, Greeted, Tls, TlsName
from ..policy.decision import Decision
from ..policy.limits import Limits, Prefixes
from ..policy.networks import Block, NetworkTable
from ..policy.relaying import RelayDomains, idle_exceptions
from ..policy.rules import INTERNAL, ByNetwork, Manners, Policy, Relaying, Rule
from ..smtp.budgets import Budgets
from ..smtp.replies import Reply
from ..smtp.terms import BareNewline, EarlyInput
from ..smtp.verdict import Action
from . import policy_tests, relay_files
from .faults import Fault, Faulty, Known, suggestion
from .models import validate
from .network_models import read_files
from .policy_checks import CrossChecks, verb_of
from .policy_models import PolicyModel, RelayModel, RuleModel, TestModel, relay_section
from .shadowing import in_shadow, nearest
from .yaml_reader import Document, Places, is_file, read_file

E = TypeVar("E", bound=Enum)

ENCRYPT_FIRST: Final = Reply.parse("538 5.7.11 Encryption required: say STARTTLS first")
"""RFC 4954 6."""

VERSION_DIGITS: Final = 8
"""Hexadecimal ones that tell one version of a policy from another: enough for all that a site ever has, and short
enough to be read out."""

SHIPPED: Final = ("internal-vrfy", "mailguard", "no-vrfy", "perimeter")


@frozen
class PolicyFile:
    """A policy and where it came from."""

    path: str
    policy: Policy
    tests: tuple[policy_tests.Test, ...]
    """Each with its line and column."""
    listeners: tuple[tuple[str, tuple[int, int]], ...]
    """The names that rules have for listeners, each with its line and column."""
    rules: tuple[policy_tests.Reachable, ...]
    """What can decide, in the order of the file: shorthands first."""
    warnings: tuple[Fault, ...]
    shadow: tuple[str, ...] = ()
    """The names of what is in shadow (shadowing.py)."""
    digest: str = ""
    """SHA-256 of the file, in hexadecimal digits, of the domains that `relay_domains` has from files, and of the
    networks that `networks` has from files."""

    @property
    def version(self) -> str:
        """A short name for exactly this content, wherever it lies."""
        return hashlib.sha256(self.digest.encode("ascii")).hexdigest()[:VERSION_DIGITS]

    def faults_with(self, listeners: Iterable[str]) -> list[Fault]:
        """Return what is wrong with the policy under settings with these listeners."""
        names = set(listeners)
        known = Known(names)
        return [
            Fault(self.path, *place, f"listener: no listener is named {name!r} in the settings{known.hint(name)}")
            for name, place in self.listeners
            if name not in names
        ]

    def tested(self) -> policy_tests.Outcome:
        """Run the policy's own tests: of what it means to do, so that nothing is in shadow."""
        return policy_tests.run(self._in_earnest, self.tests, self.path)

    def failures(self) -> Iterator[Fault]:
        """Run the policy's own tests and yield those that fail."""
        yield from self.tested().failures

    def decide(self, test: TestModel) -> Decision:
        """Return what becomes of the line of a test."""
        return policy_tests.decided(self._in_earnest, test)

    @property
    def _in_earnest(self) -> Policy:
        return self.policy.in_earnest() if self.shadow else self.policy


def find(name: str) -> Path:
    """Return the file that `--policy` names: a path, or one of the shipped policies.

    Raises FileNotFoundError.
    """
    path = Path(name)
    if name in SHIPPED:  # a stray file of that name in the working directory must not take its place
        packaged = Path(str(resources.files("smtpguard") / "policies" / f"{name}.yaml"))
        # In a checkout the policies stand at the top level; the wheel carries them in the package.
        return packaged if packaged.is_file() else Path(__file__).parents[2] / "policies" / f"{name}.yaml"
    if is_file(path):
        return path
    hint = suggestion(name, SHIPPED) if "/" not in name and "." not in name else ""
    raise FileNotFoundError(2, f"no such policy file, nor a shipped policy{hint}", name)


def load(path: str | Path) -> PolicyFile:
    """Read a policy; raises Faulty with all its faults, or OSError."""
    return build(read_file(path))


def build(document: Document) -> PolicyFile:
    """Make a policy of a file's content; raises Faulty."""
    if document.data is None and not document.faults:
        # What is left of a file that was cut off must not mean that everybody may do everything.
        raise Faulty([document.places.fault((), "the file is empty: to forward everything, write `rulesets: {}`")])
    model, faults = validate(PolicyModel, document)
    checks = CrossChecks(document)
    faults = [*document.faults, *faults, *checks.faults()]
    relaying, listed, found = _relaying(relay_section(document.data), document.places)
    networks = read_files(document.data, document.places)
    faults += [*found, *networks.faults]
    errors = sorted({fault for fault in faults if not fault.warning})
    if errors or model is None:
        raise Faulty(errors)
    places = document.places
    policy = _policy(model, networks.of(model.networks), places, checks.inline, relaying)
    tests = policy_tests.tests_of(model.tests, places)
    listeners = tuple(
        (name, places.of(("rulesets", ruleset, "rules", number, "listener", place)))
        for ruleset, rule_set in model.rulesets.items()
        for number, rule in enumerate(rule_set.rules)
        for place, name in enumerate(rule.listener or ())
    )
    warnings = tuple(sorted(fault for fault in faults if fault.warning))
    rules = tuple(policy_tests.reachable(model, places))
    digest = " ".join(filter(None, (document.digest, listed, networks.digest)))
    return PolicyFile(places.file, policy, tests, listeners, rules, warnings, in_shadow(model), digest)


def _relaying(given: RelayModel | None, places: Places) -> tuple[Relaying | None, str, list[Fault]]:
    """Read the files that `relay_domains` names, which are looked for beside the policy.

    Beside faults, return the domains, and a digest of those that are in files; empty if none are.
    """
    if given is None:
        return None, "", []
    lists, faults = list[list[str]](), list[Fault]()
    kinds = (
        ("files", given.files, relay_files.read_relay_domains),
        ("local", given.local, relay_files.read_local_host_names),
        ("access", given.access, relay_files.read_access),
    )
    for key, paths, read in kinds:
        for number, path in enumerate(paths):
            try:
                found, wrong = read(Path(places.file).parent / path)
            except OSError as error:
                place = ("relay_domains", key, number)
                faults.append(places.fault(place, f"relay_domains: {path}: {error.strerror or error}"))
                continue
            lists.append(found)
            faults += wrong
    for number, one in idle_exceptions(given.domains):
        text = f"{one} takes nothing: no domain of this list is around it, and it holds for no other list or file"
        faults.append(places.fault(("relay_domains", "domains", number), text, warning=True))
    accepting = any(not one.startswith("!") for one in (*given.domains, *chain.from_iterable(lists)))
    if not accepting and not any(not fault.warning for fault in faults):
        faults.append(places.fault(("relay_domains",), "relay_domains: no domain: outsiders could send no mail at all"))
    line, _ = places.of(("relay_domains",))
    in_files = "\n".join(" ".join(sorted(one)) for one in lists)
    listed = hashlib.sha256(in_files.encode("utf-8")).hexdigest() if any(lists) else ""
    return Relaying(RelayDomains(given.domains, *lists), f"{places.file}:{line} relay_domains"), listed, faults


def _policy(
    model: PolicyModel,
    networks: Mapping[str, list[Block]],
    places: Places,
    parsed: Mapping[str, Block],
    relaying: Relaying | None,
) -> Policy:
    blocks = dict(networks)
    for rule_set in model.rulesets.values():
        for rule in rule_set.rules:
            for words in (rule.from_, rule.from_not):
                inline = _inline(words or (), model.networks)
                if inline:
                    blocks[_anonymous(inline)] = [parsed[word] for word in inline]
    for limit in model.limits.values():
        inline = _inline(limit.except_ or (), model.networks)
        if inline:
            blocks[_anonymous(inline)] = [parsed[word] for word in inline]
    table = NetworkTable(blocks)
    rule_sets = _privacy_rules(model, places)
    first = _auth_rules(model, places)
    for name, rule_set in model.rulesets.items():
        verb = verb_of(name)
        assert verb is not None  # _name_faults
        rule_sets[verb] = first.get(verb, ()) + tuple(
            _rule(
                rule,
                model.networks,
                table,
                policy_tests.place_of_rule(places, name, number),
                nearest(rule.shadow, rule_set.shadow, model.shadow),
            )
            for number, rule in enumerate(rule_set.rules)
        )
    rule_sets = {**first, **rule_sets}
    if relaying is not None and model.relay_domains is not None:
        relaying = replace(relaying, shadow=nearest(model.relay_domains.shadow, model.shadow))
    manners = _manners(model, table, relaying, _limits(model, places, table))
    return Policy(table, rule_sets, manners)


def _limits(model: PolicyModel, places: Places, table: NetworkTable) -> Limits:
    unless_said = [INTERNAL] if INTERNAL in model.networks else []
    return Limits(
        tuple(
            limit.limit(
                name,
                _bits(unless_said if limit.except_ is None else limit.except_, model.networks, table),
                f"{places.file}:{places.of(('limits', name))[0]}",
                model.shadow,
            )
            for name, limit in model.limits.items()
        ),
        Prefixes(model.prefixes.ipv4, model.prefixes.ipv6),
    )


def _manners(model: PolicyModel, table: NetworkTable, relaying: Relaying | None, limits: Limits) -> Manners:
    def by_network(choices: dict[str, str], kind: type[E], default: E) -> ByNetwork[E]:
        named = [(table.bits_of(name), kind(value)) for name, value in choices.items() if name != "default"]
        return ByNetwork(kind(choices.get("default", default.value)), named)

    return Manners(
        model.replies,
        None if model.banner == "unchanged" else Reply.parse(f"220 {model.banner}"),
        frozenset(verb.encode("ascii") for verb in model.verbs),
        by_network(dict(model.bare_newline), BareNewline, BareNewline.REJECT),
        by_network(dict(model.early_input), EarlyInput, EarlyInput.HOLD),
        Budgets(**model.budgets.model_dump()),
        relaying,
        limits,
        model.shadow,
    )


def _inline(words: Iterable[str], names: Container[str]) -> list[str]:
    """Return the CIDRs among the words of a rule's list."""
    return [word for word in words if word not in names]


def _anonymous(inline: list[str]) -> str:
    """Return the name of the network that the CIDRs in one rule's list make together."""
    return f"({', '.join(inline)})"


def _bits(words: list[str], named: Container[str], table: NetworkTable) -> int:
    """Return the bits of the networks that a list names or spells out."""
    inline = _inline(words, named)
    total = table.bits_of(_anonymous(inline)) if inline else 0
    for word in words:
        if word in named:
            total |= table.bits_of(word)
    return total


def _privacy_rules(model: PolicyModel, places: Places) -> dict[bytes, tuple[Rule, ...]]:
    line, _ = places.of(("privacy_options",))
    where = f"{places.file}:{line} privacy_options"
    return {
        verb: tuple(
            Rule(
                where,
                Action.REPLY,
                p.reply,
                conditions=(Greeted(False),) if p.before_greeting else (),
                shadow=model.shadow,
            )
            for p in prohibitions
        )
        for verb, prohibitions in privacy.rules_of(model.privacy_options).items()
    }


def _auth_rules(model: PolicyModel, places: Places) -> dict[bytes, tuple[Rule, ...]]:
    """Return what stands before the file's own rules."""
    if not model.auth.require_tls:
        return {}
    where = f"{places.file}:{places.of(('auth',))[0]} auth: require_tls"
    shadow = nearest(model.auth.shadow, model.shadow)
    return {b"AUTH": (Rule(where, Action.REPLY, ENCRYPT_FIRST, conditions=(Tls(False),), shadow=shadow),)}


def _rule(rule: RuleModel, named: Container[str], table: NetworkTable, where: str, shadow: bool) -> Rule:
    return Rule(
        where,
        Action(rule.action or "reply"),
        Reply.parse(rule.reply) if rule.reply is not None else None,
        rule.delay or 0.0,
        None if rule.from_ is None else _bits(rule.from_, named, table),
        _bits(rule.from_not or [], named, table),
        None if rule.listener is None else frozenset(rule.listener),
        tuple(_conditions(rule)),
        shadow,
    )


def _conditions(rule: RuleModel) -> Iterator[Condition]:
    """Yield what can change within a session."""
    if rule.greeted is not None:
        yield Greeted(rule.greeted)
    if rule.esmtp is not None:
        yield Esmtp(rule.esmtp)
    if rule.tls is not None:
        yield Tls(rule.tls)
    if rule.tls_name is not None:
        yield TlsName(re.compile("|".join(_glob_of_name(name.lower()) for name in rule.tls_name)))
    if rule.authenticated is not None:
        yield Authenticated(rule.authenticated)
    if rule.auth_failed is not None:
        yield AuthFailed(rule.auth_failed)
    if rule.argument is not None:  # the dearest comes last
        yield Argument(re.compile(_glob(rule.argument).encode("utf-8"), re.IGNORECASE))


def _glob_of_name(pattern: str) -> str:
    """Return what fits names of hosts, or mailboxes; `*` alone is all of them, and no other takes one for the other."""
    of_hosts = "@" not in pattern and pattern != "*"
    return ("(?![^@]*@)" if of_hosts else "") + _glob([pattern])  # a mailbox may have a line end in it


def _glob(patterns: list[str]) -> str:
    return "|".join(fnmatch.translate(pattern) for pattern in patterns)
