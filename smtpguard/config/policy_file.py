"""The policy file: its models, its cross-checks, and the `Policy` that it makes.

Contract: `load` returns a `PolicyFile` that is ready to serve, with its warnings, or raises `Faulty`
with every fault of the file.  Whether the policy's own tests pass is asked apart (`failures`),
because `explain` must work on a policy whose tests fail.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from attrs import frozen
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ..policy import privacy
from ..policy.decision import Decision, decide
from ..policy.networks import Block, NetworkTable, Peer, parse_block
from ..policy.profiles import PROFILES
from ..policy.rules import OTHER, Policy, Rule
from ..smtp.answers import Closing
from ..smtp.invariants import never_forwarded
from ..smtp.replies import Reply
from ..smtp.verbs import KNOWN_VERBS
from ..smtp.verdict import Action, Facts
from .faults import Fault, Faulty, suggestion
from .models import Section, validate
from .yaml_reader import Document, Places, read_file

SHIPPED: Final = ("internal-vrfy", "mailguard", "no-vrfy", "perimeter")
MAX_DELAY: Final = 240.0
"""Seconds; sendmail sleeps no longer either (MAXTIMEOUT), and clients wait 300 for a reply."""


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _reply(text: str) -> str:
    reply = Reply.parse(text)
    if reply.code == 421:
        raise ValueError("421 means that the connection is closed: use `action: close`")
    return text


def _closing_reply(text: str) -> str:
    if Reply.parse(text).code not in (421, *range(500, 600)):
        raise ValueError("a closing reply has a code of 421 or 5yz")
    return text


def _banner(text: str) -> str:
    if re.match(r"[0-9]{3}[ -]", text):
        raise ValueError(f"the code is put in front by itself: write {text[4:]!r}")
    Reply.parse(f"220 {text}")
    return text


def _verb(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", text):
        raise ValueError(f"{text!r} is not a verb: letters, digits and hyphens only")
    return text.upper()


def _network(text: str) -> str:
    parse_block(text)
    return text


def _address(text: str) -> str:
    try:
        Peer.parse(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an address: write it as 203.0.113.9 or 2001:db8::9") from None
    return text


def _expect(value: object) -> object:
    if value in ("forward", "close") or re.fullmatch(r"[245][0-9]{2}", str(value)):
        return str(value)
    raise ValueError(f"{value!r} is none of forward, close or a reply code such as 252")


Words = Annotated[list[str], Field(min_length=1), BeforeValidator(_listed)]


class RuleModel(Section):
    """One rule: conditions, all of which must hold, and what is done."""

    from_: Words | None = Field(None, alias="from", description="networks by name or CIDR, one of which has the client")
    from_not: Words | None = Field(None, description="networks none of which has the client")
    argument: Words | None = Field(None, description="glob patterns, letter case ignored, one of which fits")
    greeted: bool | None = Field(None, description="HELO or EHLO was accepted")
    esmtp: bool | None = Field(None, description="the greeting was EHLO")
    tls: bool | None = Field(None, description="the client's connection is encrypted")
    authenticated: bool | None = Field(None, description="AUTH succeeded")
    listener: Words | None = Field(None, description="names of listeners, one of which took the connection")
    action: Literal["forward", "reply", "close"] | None = None
    reply: str | None = Field(None, description="text of the reply in place of the profile's")
    delay: float | None = Field(None, ge=0, le=MAX_DELAY, description="seconds before the action")

    @model_validator(mode="after")
    def _consistent(self) -> RuleModel:
        if self.action is None and self.reply is None:
            raise ValueError("a rule needs an action: forward, reply or close")
        if self.reply is not None:
            match self.action:
                case "forward":
                    raise ValueError(
                        "a forwarded command gets the backend's reply: remove `reply` or set `action: reply`"
                    )
                case "close":
                    _closing_reply(self.reply)
                case _:
                    _reply(self.reply)
        return self

    @property
    def unconditional(self) -> bool:
        return all(getattr(self, name) is None for name in _CONDITIONS)


_CONDITIONS: Final = ("from_", "from_not", "argument", "greeted", "esmtp", "tls", "authenticated", "listener")


class TestModel(Section):
    """One of the policy's own tests."""

    __test__ = False  # not one of pytest's

    from_: Annotated[str, AfterValidator(_address)] = Field(alias="from")
    command: str
    expect: Annotated[str, BeforeValidator(_expect)]
    greeted: bool = True
    esmtp: bool = True
    tls: bool = False
    authenticated: bool = False
    listener: str = ""


class PolicyModel(Section):
    """The file as a whole."""

    networks: dict[str, Annotated[list[Annotated[str, AfterValidator(_network)]], BeforeValidator(_listed)]] = {}
    replies: Literal["sendmail", "rfc5321", "stig", "postfix"] = "sendmail"
    privacy_options: list[str] = []
    banner: Annotated[str, AfterValidator(_banner)] = "unchanged"
    verbs: list[Annotated[str, AfterValidator(_verb)]] = []
    rulesets: dict[str, list[RuleModel]] = {}
    tests: list[TestModel] = []


assert set(PROFILES) == {"sendmail", "rfc5321", "stig", "postfix"}  # PolicyModel.replies lists them


@frozen
class PolicyFile:
    """A policy and where it came from."""

    path: str
    policy: Policy
    tests: tuple[tuple[TestModel, tuple[int, int]], ...]
    """Each with its line and column."""
    rules: int
    warnings: tuple[Fault, ...]

    def failures(self) -> Iterator[Fault]:
        """Run the policy's own tests and yield those that fail."""
        for test, (line, column) in self.tests:
            decision = self.decide(test)
            if not decision.meets(test.expect):
                rule = decision.verdict.rule or "no rule"
                text = f"test failed: {test.from_} {test.command!r}: expected {test.expect}, got {decision} ({rule})"
                yield Fault(self.path, line, column, text)

    def decide(self, test: TestModel) -> Decision:
        facts = Facts(test.greeted, test.greeted and test.esmtp, test.tls, test.authenticated)
        command = test.command.encode("utf-8")
        return decide(self.policy, Peer.parse(test.from_), command, Closing("localhost"), facts, test.listener)


def find(name: str) -> Path:
    """Return the file that `--policy` names: a path, or one of the shipped policies.

    Raises FileNotFoundError.
    """
    path = Path(name)
    if name in SHIPPED:  # a stray file of that name in the working directory must not take its place
        packaged = Path(str(resources.files("smtpguard") / "policies" / f"{name}.yaml"))
        # In a checkout the policies stand at the top level; the wheel carries them in the package.
        return packaged if packaged.is_file() else Path(__file__).parents[2] / "policies" / f"{name}.yaml"
    if path.is_file():
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
    checks = _CrossChecks(document)
    faults = [*document.faults, *faults, *checks.faults()]
    errors = sorted({fault for fault in faults if not fault.warning})
    if errors or model is None:
        raise Faulty(errors)
    places = document.places
    policy, count = _policy(model, places)
    tests = tuple((test, places.of(("tests", number))) for number, test in enumerate(model.tests))
    return PolicyFile(places.file, policy, tests, count, tuple(sorted(f for f in faults if f.warning)))


class _CrossChecks:
    """What no single value shows: names that must exist, and rules that cannot be reached.

    Works on the data as read, so that it finds its faults beside those of the models.
    """

    def __init__(self, document: Document) -> None:
        self._places = document.places
        data = document.data if isinstance(document.data, dict) else {}
        self._networks = _as_mapping(data.get("networks"))
        self._rulesets = _as_mapping(data.get("rulesets"))
        self._options = [o for o in _as_list(data.get("privacy_options")) if isinstance(o, str)]
        self._verbs = {v.upper() for v in _as_list(data.get("verbs")) if isinstance(v, str)}

    def faults(self) -> Iterator[Fault]:
        yield from self._network_faults()
        yield from self._option_faults()
        named: dict[bytes | None, str] = {None: ""}
        for name, rules in self._rulesets.items():
            yield from self._name_faults(name)
            first = named.setdefault(_verb_of(name), name)
            if first not in ("", name):
                text = f"{first} is the same rule set: letter case does not matter in a verb"
                yield self._places.fault(("rulesets", name), text, key=True)
            if rules == []:
                text = f"{name} has no rule: what it is named for would be forwarded; write {{action: forward}} if so"
                yield self._places.fault(("rulesets", name), text)
            elif isinstance(rules, list):
                yield from self._rule_faults(name, rules)

    def _network_faults(self) -> Iterator[Fault]:
        for name, blocks in self._networks.items():
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
                text = f"{name!r} cannot name a network: a letter, then letters, digits, - and _"
                yield self._places.fault(("networks", name), text, key=True)
            elif name == "default":
                text = "`default` means the clients of no named network: choose another name"
                yield self._places.fault(("networks", name), text, key=True)
            if blocks == []:
                yield self._places.fault(
                    ("networks", name), f"network {name!r} is empty: no client is in it", warning=True
                )

    def _option_faults(self) -> Iterator[Fault]:
        known = [*privacy.OPTIONS, *privacy.NO_EFFECT]
        for number, option in enumerate(self._options):
            if option in privacy.NO_EFFECT:
                text = f"{option} has no effect in a proxy: {privacy.NO_EFFECT[option]}"
                yield self._places.fault(("privacy_options", number), text, warning=True)
            elif option not in privacy.OPTIONS:
                text = f"unknown privacy option {option!r}{suggestion(option, known)}"
                yield self._places.fault(("privacy_options", number), text)

    def _name_faults(self, name: str) -> Iterator[Fault]:
        path = ("rulesets", name)
        verb = _verb_of(name)
        known = KNOWN_VERBS | {v.encode("ascii", "replace") for v in self._verbs} | {OTHER}
        if verb is None:
            yield self._places.fault(path, f"{name!r} is not a rule set: they are named check_VERB", key=True)
        elif verb not in known:
            close = suggestion(verb.decode().lower(), (v.decode().lower() for v in known))
            declare = f"; if the verb is meant, declare it: verbs: [{verb.decode()}]"
            hint = close.replace("mean ", "mean check_") if "mean" in close else declare
            yield self._places.fault(path, f"unknown verb in rule set {name!r}{hint}", key=True)
        elif verb in privacy.rules_of(self._options):
            text = f"{verb.decode()} is ruled by privacy_options already: remove it there or here"
            yield self._places.fault(path, text, key=True)

    def _rule_faults(self, name: str, rules: list[Any]) -> Iterator[Fault]:
        verb = _verb_of(name)
        for number, rule in enumerate(rules):
            if not isinstance(rule, dict):
                continue
            path = ("rulesets", name, number)
            if verb is not None and never_forwarded(verb) and rule.get("action") == "forward":
                never = f"{verb.decode()} is never forwarded, whatever the policy"
                yield self._places.fault((*path, "action"), never, warning=True)
            for key, value in rule.items():
                if value is None:  # `from:` with nothing behind it would hold for everybody
                    yield self._places.fault((*path, key), f"{key}: must not be empty", key=True)
            for condition in ("from", "from_not"):
                for place, word in enumerate(_as_list(rule.get(condition))):
                    if isinstance(word, str) and (text := self._unknown_network(word)):
                        yield self._places.fault((*path, condition, place), f"{condition}: {text}")
            conditions = {"from", "from_not", "argument", "greeted", "esmtp", "tls", "authenticated", "listener"}
            conditional = bool(conditions & rule.keys())
            if not conditional and number + 1 < len(rules):
                yield self._places.fault(
                    (*path[:-1], number + 1), "never reached: the rule above matches always", warning=True
                )
            if conditional and number + 1 == len(rules):
                text = f"the last rule of {name} has conditions: what it does not match is forwarded"
                yield self._places.fault(path, text, warning=True)

    def _unknown_network(self, word: str) -> str | None:
        if word in self._networks:
            return None
        if not re.search(r"[.:/]", word):
            return f"unknown network {word!r}{suggestion(word, map(str, self._networks))}"
        try:
            parse_block(word)
        except ValueError as error:
            return str(error)
        return None


def _as_mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _as_list(value: object) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _verb_of(ruleset: str) -> bytes | None:
    match = re.fullmatch(r"check_([A-Za-z0-9-]+)", ruleset)
    return match.group(1).upper().encode("ascii") if match else None


def _policy(model: PolicyModel, places: Places) -> tuple[Policy, int]:
    blocks: dict[str, list[Block]] = {name: [parse_block(b) for b in listed] for name, listed in model.networks.items()}
    for rules in model.rulesets.values():
        for rule in rules:
            for words in (rule.from_, rule.from_not):
                inline = _inline(words or (), model)
                if inline:
                    blocks[_anonymous(inline)] = [parse_block(word) for word in inline]
    table = NetworkTable(blocks)
    rule_sets = _privacy_rules(model.privacy_options, places)
    for name, rules in model.rulesets.items():
        verb = _verb_of(name)
        assert verb is not None  # _name_faults
        rule_sets[verb] = tuple(
            _rule(rule, table, f"{places.file}:{places.of(('rulesets', name, number))[0]} {name}, rule {number + 1}")
            for number, rule in enumerate(rules)
        )
    banner = None if model.banner == "unchanged" else Reply.parse(f"220 {model.banner}")
    verbs = frozenset(verb.encode("ascii") for verb in model.verbs)
    count = sum(map(len, rule_sets.values()))
    return Policy(table, rule_sets, model.replies, banner, verbs), count


def _inline(words: Iterable[str], model: PolicyModel) -> list[str]:
    return [word for word in words if word not in model.networks]


def _anonymous(inline: list[str]) -> str:
    """Return the name of the network that the CIDRs in one rule's list make together."""
    return f"({', '.join(inline)})"


def _privacy_rules(options: list[str], places: Places) -> dict[bytes, tuple[Rule, ...]]:
    line, _ = places.of(("privacy_options",))
    where = f"{places.file}:{line} privacy_options"
    return {
        verb: tuple(
            Rule(where, Action.REPLY, p.reply, greeted=False if p.before_greeting else None) for p in prohibitions
        )
        for verb, prohibitions in privacy.rules_of(options).items()
    }


def _rule(rule: RuleModel, table: NetworkTable, where: str) -> Rule:
    def bits(words: list[str]) -> int:
        total = 0
        named = [word for word in words if word in table.names]
        for name in named:
            total |= table.bits_of(name)
        inline = [word for word in words if word not in named]
        return total | (table.bits_of(_anonymous(inline)) if inline else 0)

    return Rule(
        where,
        Action(rule.action or "reply"),
        Reply.parse(rule.reply) if rule.reply is not None else None,
        rule.delay or 0.0,
        None if rule.from_ is None else bits(rule.from_),
        bits(rule.from_not or []),
        None if rule.listener is None else frozenset(rule.listener),
        None if rule.argument is None else _glob(rule.argument),
        rule.greeted,
        rule.esmtp,
        rule.tls,
        rule.authenticated,
    )


def _glob(patterns: list[str]) -> re.Pattern[bytes]:
    alternatives = "|".join(fnmatch.translate(pattern) for pattern in patterns)
    return re.compile(alternatives.encode("utf-8"), re.IGNORECASE)
