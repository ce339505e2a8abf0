"""What no single value of a policy file shows: names that must exist, rules that cannot be reached.

Contract: works on the data as read, so that its faults are found beside those of the models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from ..policy import privacy
from ..policy.limits import OPERATOR
from ..policy.networks import Block, parse_block
from ..policy.rules import OTHER
from ..smtp.invariants import never_forwarded
from ..smtp.verbs import KNOWN_VERBS
from .faults import Fault, Known
from .limit_models import MOST_EXCEPT
from .policy_models import RuleModel
from .yaml_reader import Document

_NO_CONDITIONS: Final = ("action", "reply", "delay", "shadow")
_CONDITIONS: Final = frozenset(
    field.alias or name for name, field in RuleModel.model_fields.items() if name not in _NO_CONDITIONS
)

_LIMIT_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
"""It stands in the log, and is a label of metrics."""


class CrossChecks:
    """The checks of one file; `faults` yields errors and warnings."""

    def __init__(self, document: Document) -> None:
        self._places = document.places
        data = document.data if isinstance(document.data, dict) else {}
        self._networks = _as_mapping(data.get("networks"))
        self._rulesets = _as_mapping(data.get("rulesets"))
        self._limits = _as_mapping(data.get("limits"))
        self._shadow = data.get("shadow")
        self._choices = {key: _as_mapping(data.get(key)) for key in ("bare_newline", "early_input")}
        self._options = [o for o in _as_list(data.get("privacy_options")) if isinstance(o, str)]
        verbs = {v.upper().encode("ascii", "replace") for v in _as_list(data.get("verbs")) if isinstance(v, str)}
        self._verbs = KNOWN_VERBS | verbs | {OTHER}
        self._by_option = privacy.rules_of(self._options)
        self._known_networks = Known(self._networks)
        self._known_verbs = Known(verb.decode().lower() for verb in self._verbs)
        self.inline: dict[str, Block] = {}
        """The CIDRs that stand in rules, once `faults` has read them."""

    def faults(self) -> Iterator[Fault]:
        yield from self._network_faults()
        yield from self._choice_faults()
        yield from self._option_faults()
        yield from self._limit_faults()
        named: dict[bytes | None, str] = {None: ""}
        for name, rules in self._rulesets.items():
            yield from self._name_faults(name)
            first = named.setdefault(verb_of(name), name)
            if first not in ("", name):
                text = f"{first} is the same rule set: letter case does not matter in a verb"
                yield self._places.fault(("rulesets", name), text, key=True)
            if isinstance(rules, dict):
                rules = rules.get("rules")
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

    def _choice_faults(self) -> Iterator[Fault]:
        known = Known([*self._networks, "default"])
        for key in ("bare_newline", "early_input"):
            for name in self._choices[key]:
                if name not in self._networks and name != "default":
                    yield self._places.fault(
                        (key, name), f"{key}: unknown network {name!r}{known.hint(name)}", key=True
                    )

    def _option_faults(self) -> Iterator[Fault]:
        known = Known([*privacy.OPTIONS, *privacy.NO_EFFECT])
        for number, option in enumerate(self._options):
            if option in privacy.NO_EFFECT:
                text = f"{option} has no effect in a proxy: {privacy.NO_EFFECT[option]}"
                yield self._places.fault(("privacy_options", number), text, warning=True)
            elif option not in privacy.OPTIONS:
                text = f"unknown privacy option {option!r}{known.hint(option)}"
                yield self._places.fault(("privacy_options", number), text)

    def _limit_faults(self) -> Iterator[Fault]:
        for name, limit in self._limits.items():
            if not _LIMIT_NAME.fullmatch(name):
                text = f"{name!r} cannot name a limit: a letter, then at most 31 small letters, digits, - and _"
                yield self._places.fault(("limits", name), text, key=True)
            elif name == OPERATOR:
                text = f"`{OPERATOR}` means a ban that a person asked for: choose another name"
                yield self._places.fault(("limits", name), text, key=True)
            for place, word in enumerate(_as_list(_as_mapping(limit).get("except"))[:MOST_EXCEPT]):
                if isinstance(word, str) and (text := self._unknown_network(word) or ""):
                    yield self._places.fault(("limits", name, "except", place), f"except: {text}")

    def _name_faults(self, name: str) -> Iterator[Fault]:
        path = ("rulesets", name)
        verb = verb_of(name)
        if verb is None:
            yield self._places.fault(path, f"{name!r} is not a rule set: they are named check_VERB", key=True)
        elif verb not in self._verbs:
            close = self._known_verbs.hint(verb.decode().lower())
            declare = f"; if the verb is meant, declare it: verbs: [{verb.decode()}]"
            hint = close.replace("mean ", "mean check_") if "mean" in close else declare
            yield self._places.fault(path, f"unknown verb in rule set {name!r}{hint}", key=True)
        elif verb in self._by_option:
            text = f"{verb.decode()} is ruled by privacy_options already: remove it there or here"
            yield self._places.fault(path, text, key=True)

    def _rule_faults(self, name: str, rules: list[Any]) -> Iterator[Fault]:
        verb = verb_of(name)
        reached = True  # no rule so far matches always
        for number, rule in enumerate(rules):
            if not isinstance(rule, dict):
                reached = False
                continue
            path = ("rulesets", name, "rules", number)
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
            reply = rule.get("reply")
            if verb in (b"MAIL", b"RCPT", b"DATA") and isinstance(reply, str) and reply.startswith("2"):
                text = "reply: a 2yz here would promise what no mail server has accepted: use 4yz or 5yz"
                yield self._places.fault((*path, "reply"), text)
            conditional = bool(_CONDITIONS & rule.keys())
            decides = not conditional and not self._in_shadow(name, rule)
            if decides and number + 1 < len(rules):
                yield self._places.fault(
                    (*path[:-1], number + 1), "never reached: the rule above matches always", warning=True
                )
            if conditional and reached and number + 1 == len(rules):
                text = f"the last rule of {name} has conditions: what it does not match is forwarded"
                yield self._places.fault(path, text, warning=True)
            reached &= not decides

    def _in_shadow(self, ruleset: str, rule: dict[str, Any]) -> bool:
        said = (rule.get("shadow"), _as_mapping(self._rulesets.get(ruleset)).get("shadow"), self._shadow)
        return next((one for one in said if one is not None), False) is True

    def _unknown_network(self, word: str) -> str | None:
        if word in self._networks or word in self.inline:
            return None
        if not re.search(r"[.:/]", word):
            return f"unknown network {word!r}{self._known_networks.hint(word)}"
        try:
            self.inline[word] = parse_block(word)
        except ValueError as error:
            return str(error)
        return None


def _as_mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _as_list(value: object) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def verb_of(ruleset: str) -> bytes | None:
    match = re.fullmatch(r"check_([A-Za-z0-9-]+)", ruleset)
    return match.group(1).upper().encode("ascii") if match else None
