"""A policy as rule sets of sendmail's own.

Contract: `exported` returns the text of an m4 fragment for the end of a sendmail.mc (sendmail 8.10 and later), before
its MAILER lines, and what could not be said in it.  Nothing of the policy is left out in silence, and nothing that is
left out opens anything: a condition that sendmail cannot ask goes with its rule if the rule forwards, and alone if it
refuses, so that it refuses more.

What sendmail lets a rule set see decides what there is: the argument of VRFY, EXPN, ETRN, and of MAIL and RCPT the
address; the client's address; whether AUTH and TLS were; the listener.  A greeting it does not show before MAIL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from attrs import define, field, frozen

from ..config import network_models, policy_file
from ..config.faults import Fault, printable
from ..config.models import validate
from ..config.policy_checks import verb_of
from ..config.policy_models import PolicyModel, RuleModel
from ..config.shadowing import nearest
from ..config.yaml_reader import Places, read_file
from ..policy.networks import Block, parse_block
from ..policy.privacy import NO_EFFECT, rules_of
from ..policy.reply_profiles import reply_for
from ..policy.rules import OTHER
from . import fragment, patterns
from .fragment import Map
from .told import Remarks

SET_OF: Final = {
    b"VRFY": "check_vrfy",
    b"EXPN": "check_expn",
    b"ETRN": "check_etrn",
    b"MAIL": "Local_check_mail",
    b"RCPT": "Local_check_rcpt",
    b"DATA": "check_data",
}
"""sendmail's name of the rule set for each verb that it has one for."""
_WITH_ARGUMENT: Final = frozenset({b"VRFY", b"EXPN", b"ETRN"})
_BY_OTHER: Final = (b"VRFY", b"EXPN", b"ETRN")
"""Those that check_other decides about where they have no rule set of their own."""
_ENHANCED: Final = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}(?= )")
_UNSEEN: Final = ("greeted", "esmtp", "tls_name", "auth_failed")
"""Conditions that no rule set of sendmail's can ask."""
_NEED_GREETING: Final = {b"VRFY": "needvrfyhelo", b"EXPN": "needexpnhelo", b"MAIL": "needmailhelo"}
"""What sendmail has in place of a refusal before the greeting."""


@frozen
class Exported:
    """A fragment, and what is not in it."""

    text: str
    remarks: tuple[Fault, ...]


def exported(path: str) -> Exported:
    """Write the policy of a file; raises Faulty if it has any fault, or OSError."""
    policy_file.load(path)
    document = read_file(path)
    model, _ = validate(PolicyModel, document)
    assert model is not None  # it was loaded
    networks = network_models.read_files(document.data, document.places).of(model.networks)
    return _Export(model, document.places, networks).run()


@define
class _Export:
    model: PolicyModel
    places: Places
    networks: dict[str, list[Block]]
    remarks: Remarks = field(factory=Remarks)
    maps: dict[tuple[str, ...], Map] = field(factory=dict)
    """By what they are of: a kind, and the words of a list, in order."""
    needed: list[str] = field(factory=list)
    """PrivacyOptions in place of rules."""

    def run(self) -> Exported:
        sets: dict[str, list[str]] = {}
        for verb, name in SET_OF.items():
            if lines := self._rule_set(verb):
                sets[name] = lines
        options = self._options()
        self._tell_the_rest()
        text = fragment.text(self.places.file, self.remarks.comments(), options, list(self.maps.values()), sets)
        return Exported(text, tuple(self.remarks.found))

    # -- rules ---------------------------------------------------------------

    def _rule_set(self, verb: bytes) -> list[str]:
        name = self._name_of(verb)
        if name is None:
            return []
        rule_set = self.model.rulesets[name]
        lines: list[str] = []
        for number, rule in enumerate(rule_set.rules):
            line = self._line("rulesets", name, number)
            what = f"{name}, rule {number + 1}"
            if nearest(rule.shadow, rule_set.shadow, self.model.shadow):
                self.remarks.tell(self.places.file, line, f"{what}: sendmail has no shadow", "the rule is left out")
                continue
            if rule.greeted is False and rule.action != "forward" and verb in _NEED_GREETING:
                option = _NEED_GREETING[verb]
                self.needed += [option] if option not in self.needed else []
                self.remarks.tell(
                    self.places.file, line, f"{what}: PrivacyOptions {option}", "for all clients, in sendmail's words"
                )
                continue
            conditions = self._conditions(rule, verb, line, what)
            if conditions is None:
                continue
            action = self._action(rule, verb, line, what)
            lines += [f"# {printable(self.places.file)}:{line} {what}", *fragment.rule(conditions, action)]
            if not conditions:
                break  # what stands behind is never reached
        return lines

    def _name_of(self, verb: bytes) -> str | None:
        """Return the policy's rule set for a verb."""
        by_verb = {verb_of(name): name for name in self.model.rulesets}
        by_other = verb in _BY_OTHER and verb not in rules_of(self.model.privacy_options)
        return by_verb.get(verb) or (by_verb.get(OTHER) if by_other else None)

    def _conditions(self, rule: RuleModel, verb: bytes, line: int, what: str) -> list[tuple[str, bool]] | None:
        """Return look-ups and what must come of them; None if the rule goes with one that cannot be said."""
        forwards = rule.action == "forward"
        unsaid = [
            f"sendmail does not show its rule sets {name!r}" for name in _UNSEEN if getattr(rule, name) is not None
        ]
        if rule.argument is not None and verb not in _WITH_ARGUMENT:  # sendmail has taken it apart
            unsaid.append("sendmail does not show its rule sets 'argument'")
        found = list[tuple[str, bool]]()
        for words, wanted in ((rule.from_, True), (rule.from_not, False)):
            if words:
                try:
                    found.append((fragment.look_up(self._network(words), "$&{client_addr}"), wanted))
                except ValueError as error:
                    unsaid.append(str(error))
        if rule.listener is not None:
            names = tuple(rule.listener)
            pattern = patterns.of_words(names)
            found.append((fragment.look_up(self._map(names, "listener", pattern), "$&{daemon_name}"), True))
            self.remarks.tell(
                self.places.file, line, f"{what}: listener", "give DAEMON_OPTIONS the same names with Name=..."
            )
        if rule.tls is not None:
            found.append((fragment.look_up(self._any(), "$&{tls_version}"), rule.tls))
        if rule.authenticated is not None:
            found.append((fragment.look_up(self._any(), "$&{auth_type}"), rule.authenticated))
        if rule.argument is not None and verb in _WITH_ARGUMENT:
            globs = patterns.of_globs(rule.argument)
            if globs is None:
                unsaid.append("argument: a pattern with [...]")
            else:
                found.append((fragment.look_up(self._map(tuple(rule.argument), "argument", globs), "$1"), True))
        for one in unsaid:
            to_do = "the rule is left out" if forwards else "the rule refuses without that condition, and so more"
            self.remarks.tell(self.places.file, line, f"{what}: {one}", to_do)
        return None if unsaid and forwards else found

    def _action(self, rule: RuleModel, verb: bytes, line: int, what: str) -> str:
        if rule.delay:
            self.remarks.tell(self.places.file, line, f"{what}: delay", "sendmail answers at once")
        if rule.action == "forward":
            return "$@ OK"
        if rule.action == "close":
            text = rule.reply or "421 4.7.0 Closing connection by local policy"
            self.remarks.tell(self.places.file, line, f"{what}: close", "sendmail answers, and does not hang up")
        else:
            text = rule.reply or str(reply_for(self.model.replies, verb))
        code, _, words = text.partition(" ")
        enhanced = _ENHANCED.match(words)
        if enhanced is None:
            self.remarks.tell(
                self.places.file, line, f"{what}: a reply without enhanced status code", f"sendmail adds {code[0]}.0.0"
            )
        if wrong := fragment.unquotable(text):
            self.remarks.tell(
                self.places.file, line, f"{what}: {wrong} in a reply", "sendmail says `Command rejected` in its place"
            )
            text = f"{code} {enhanced[0] if enhanced else code[0] + '.7.1'} Command rejected"
        return fragment.error(text, enhanced[0] if enhanced else "")

    # -- maps ----------------------------------------------------------------

    def _network(self, words: Sequence[str]) -> Map:
        key = "network", *words
        if key in self.maps:
            return self.maps[key]
        blocks: list[Block] = []
        for word in words:
            blocks += self.networks[word] if word in self.networks else [parse_block(word)]
        found = patterns.of_networks(patterns.networks_of(blocks))
        if len(found) > patterns.MAPS:
            raise ValueError(f"{', '.join(words)}: more networks than a rule set is good for")
        name = words[0] if len(words) == 1 and words[0] in self.networks else "networks"
        parts = tuple((" ".join(map(str, networks)), pattern) for networks, pattern in found)
        return self._add(key, name, f"network {', '.join(words)}", parts)

    def _any(self) -> Map:
        return self._add((), "any", "anything at all", (("", "."),))

    def _map(self, words: tuple[str, ...], kind: str, pattern: str) -> Map:
        return self._add((kind, *words), kind, kind, ((" ".join(map(fragment.as_word, words)), pattern),))

    def _add(self, key: tuple[str, ...], name: str, about: str, parts: tuple[tuple[str, str], ...]) -> Map:
        if key not in self.maps:
            plain = "guard_" + re.sub(r"[^a-z0-9]", "_", name.lower())[: fragment.NAME_OCTETS]
            taken = {one.name for one in self.maps.values()}
            number = next(n for n in range(1, len(taken) + 2) if (plain if n == 1 else f"{plain}_x{n}") not in taken)
            self.maps[key] = Map(plain if number == 1 else f"{plain}_x{number}", about, parts)
        return self.maps[key]

    # -- the rest -------------------------------------------------------------

    def _options(self) -> list[str]:
        """Return the lines of `define` and the like."""
        model, lines = self.model, list[str]()
        where = self._line("privacy_options")
        options = [] if model.shadow else model.privacy_options
        if model.privacy_options and model.shadow:
            self.remarks.tell(self.places.file, where, "privacy_options: sendmail has no shadow", "left out")
        if options or self.needed:
            lines += [
                "dnl # It replaces what is set above; keep what your own line has besides.",
                f"define(`confPRIVACY_FLAGS', `{','.join(dict.fromkeys((*options, *self.needed)))}')dnl",
            ]
        if options and model.replies != "sendmail" and set(options) - set(NO_EFFECT):
            self.remarks.tell(
                self.places.file, where, f"privacy_options: under `replies: {model.replies}`", "sendmail's own words"
            )
        if model.auth.require_tls:
            if nearest(model.auth.shadow, model.shadow):
                self.remarks.tell(self.places.file, self._line("auth"), "auth: sendmail has no shadow", "left out")
            else:
                lines.append("define(`confAUTH_OPTIONS', `p')dnl")
                self.remarks.tell(
                    self.places.file, self._line("auth"), "auth: in place of 538", "sendmail hides AUTH and says 503"
                )
        self._tell_relayed()
        return lines

    def _tell_relayed(self) -> None:
        """Tell how to relay: RELAY_DOMAIN would also let clients relay whose names are in such a domain."""
        given = self.model.relay_domains
        if given is None:
            return
        line = self._line("relay_domains")
        if nearest(given.shadow, self.model.shadow):
            self.remarks.tell(self.places.file, line, "relay_domains: sendmail has no shadow", "left out")
            return
        for domain in sorted({one.removeprefix(".") for one in given.domains}):
            to_do = (
                f"unless it is in class w, write `To:{domain} RELAY` into the access map, which has all below it, too"
            )
            if domain.startswith("!"):
                to_do = f"write `To:{domain.lstrip('!.')} REJECT` into the access map"
            self.remarks.tell(self.places.file, line, f"relay_domains: {domain}", f"left out; {to_do}")
        for path in (*given.files, *given.local, *given.access):
            self.remarks.tell(
                self.places.file, line, f"relay_domains: {path}", "left out: it is sendmail's own already"
            )

    def _tell_the_rest(self) -> None:
        """Tell what no rule set can do."""
        model, places = self.model, self.places
        by_other = next((name for name in model.rulesets if verb_of(name) == OTHER), None)
        for name in model.rulesets:
            verb = verb_of(name)
            if verb in SET_OF:
                continue
            line = self._line("rulesets", name)
            if name == by_other:
                self.remarks.tell(
                    places.file, line, f"{name}: sendmail asks nothing about other verbs", "VRFY, EXPN and ETRN have it"
                )
            else:
                self.remarks.tell(places.file, line, f"{name}: sendmail has no rule set for this verb", "left out")
        for key, what in (
            ("limits", "FEATURE(`ratecontrol') and FEATURE(`conncontrol') are sendmail's"),
            ("budgets", "they are constants of sendmail's"),
            ("banner", "define(`confSMTP_LOGIN_MSG', ...) is sendmail's, and it adds ESMTP"),
            ("early_input", "FEATURE(`greet_pause') is sendmail's"),
            ("bare_newline", "sendmail 8.18 has srv_features for it"),
        ):
            if key in model.model_fields_set:
                self.remarks.tell(places.file, self._line(key), key, f"left out; {what}")

    def _line(self, *path: str | int) -> int:
        written = path if len(path) < 3 else self.places.written((path[0], path[1], "rules", path[2]))
        return self.places.of(tuple(written))[0]
