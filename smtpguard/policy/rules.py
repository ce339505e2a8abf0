"""Rule sets and the judge that they make for one client.

Contract: a `Policy` is immutable.  `Policy.judge_for` classifies a client once; what depends on the
client alone is settled there, so that a command costs one dictionary look-up and only those
conditions that can change within a session.  The first rule that matches wins; none means forward.

A rule in shadow decides nothing: the rules behind it do, as if it were not there, so that to put one in shadow never
opens what another one closes.  What would have been decided without any shadow is kept beside the verdict
(`Verdict.would`) where it is anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Generic, TypeVar

from ..smtp.budgets import UNLESS_SAID, Budgets
from ..smtp.grammar import Command
from ..smtp.replies import Reply
from ..smtp.terms import BareNewline, EarlyInput, Terms
from ..smtp.verbs import CORE, KNOWN_VERBS
from ..smtp.verdict import FORWARD, Action, Facts, Verdict, beside
from .conditions import Condition, Match, together
from .limits import NO_LIMITS, Limits
from .networks import NetworkTable, Peer
from .relaying import RelayDomains
from .reply_profiles import reply_for

T = TypeVar("T")

NO_RULE: Final = -1
"""In place of a rule's place."""
OTHER: Final = b"OTHER"
"""Key of check_other, the rule set of every verb that has none of its own and is not in CORE."""

RELAYING_DENIED: Final = Reply.parse("550 5.7.1 Relaying denied")
"""sendmail's own words, less the recipient, which the client wrote."""


@dataclass(frozen=True)
class Rule:
    """One rule, ready to be matched."""

    where: str
    """FILE:LINE, and the name and place of the rule."""
    action: Action
    reply: Reply | None = None
    delay: float = 0.0
    from_bits: int | None = None
    """None for everybody."""
    from_not_bits: int = 0
    listeners: frozenset[str] | None = None
    """None for all."""
    conditions: tuple[Condition, ...] = ()
    """Those that can change within a session."""
    shadow: bool = False
    """It only says what it would have decided."""

    def is_for(self, bits: int, listener: str) -> bool:
        """Settle the conditions that hold for a whole connection."""
        return (
            (self.from_bits is None or bool(bits & self.from_bits))
            and not bits & self.from_not_bits
            and (self.listeners is None or listener in self.listeners)
        )

    def matches(self, command: Command, facts: Facts) -> bool:
        """Settle the rest."""
        for condition in self.conditions:  # noqa: SIM110 - a generator costs as much as the conditions
            if not condition.holds(command, facts):
                return False
        return True

    def could_match(self, facts: Facts) -> Match:
        """Settle what can be settled before an argument is known and before an AUTH that may come."""
        return together(self.conditions, facts)


class RuleSet:
    """The rules that apply to one client, with the verdict of each worked out by verb."""

    __slots__ = ("_beside", "_verdicts", "profile", "rules")

    def __init__(self, rules: tuple[Rule, ...], profile: str) -> None:
        self.rules: Final = rules
        self.profile: Final = profile
        self._verdicts: dict[tuple[int, bytes], Verdict] = {}
        self._beside: dict[tuple[int, int, bytes], Verdict] = {}

    def judge(self, command: Command, facts: Facts) -> Verdict:
        first = NO_RULE  # that matches, if it is in shadow
        for place, rule in enumerate(self.rules):
            if not rule.matches(command, facts):
                continue
            if not rule.shadow:
                return self._verdict(place, command.verb) if first < 0 else self._shadowed(first, place, command.verb)
            if first < 0:
                first = place
        return FORWARD if first < 0 else self._shadowed(first, NO_RULE, command.verb)

    @property
    def forwards(self) -> bool:
        """True if every command is forwarded at once, whatever its argument and the facts."""
        first = self.rules[0] if self.rules else None
        if first is None:
            return True
        return first.action is Action.FORWARD and not (first.conditions or first.delay or first.shadow)

    def may_forward(self, facts: Facts) -> bool:
        for rule in self.rules:
            match = Match.NO if rule.shadow else rule.could_match(facts)
            if match is not Match.NO and rule.action is Action.FORWARD:
                return True
            if match is Match.YES:
                return False
        return True

    def _verdict(self, place: int, verb: bytes) -> Verdict:
        # Verbs outside the table share one entry: clients choose them, so they must not fill memory.
        key = place, verb if verb in KNOWN_VERBS else OTHER
        verdict = self._verdicts.get(key)
        if verdict is None:
            rule = self.rules[place]
            reply = rule.reply
            if rule.action is Action.REPLY and reply is None:
                reply = reply_for(self.profile, verb)
            verdict = self._verdicts[key] = Verdict(rule.action, reply, rule.delay, rule.where)
        return verdict

    def _shadowed(self, first: int, decides: int, verb: bytes) -> Verdict:
        """Return the verdict of the rule that decides, with what the first one, which is in shadow, would have said."""
        key = first, decides, verb if verb in KNOWN_VERBS else OTHER
        verdict = self._beside.get(key)
        if verdict is None:
            actual = FORWARD if decides < 0 else self._verdict(decides, verb)
            verdict = self._beside[key] = beside(actual, self._verdict(first, verb))
        return verdict


@dataclass(frozen=True)
class Relaying:
    """What the guard itself holds outsiders to, whatever the backend would do (sendmail's `check_rcpt`)."""

    domains: RelayDomains
    where: str
    """FILE:LINE of `relay_domains`."""
    shadow: bool = False
    """It only says what it would have refused."""

    def judge(self, verdict: Verdict, command: Command, facts: Facts) -> Verdict:
        """Return what is left of the rules' verdict: a refusal stands, a `forward` may not."""
        would = verdict.would
        if verdict.action is not Action.FORWARD and (would is None or would.action is not Action.FORWARD):
            return verdict
        refusal = self.refusal(command, facts)
        if refusal is None:
            return verdict
        if would is None and not self.shadow:
            return refusal
        wanted = would or verdict
        if wanted.action is Action.FORWARD:
            wanted = refusal
        return beside(verdict if self.shadow or verdict.action is not Action.FORWARD else refusal, wanted)

    def refusal(self, command: Command, facts: Facts) -> Verdict | None:
        """Return the verdict on a RCPT of an outsider's to elsewhere; who has authenticated is no outsider."""
        if command.verb != b"RCPT" or facts.authenticated or self.domains.accepts(command.argument):
            return None
        return Verdict(Action.REPLY, RELAYING_DENIED, rule=self.where)


class ClientJudge:
    """Decides for one class of clients (smtpguard.smtp.verdict.Judge)."""

    __slots__ = ("_other", "_relaying", "_rule_sets", "_verbs", "forwards")

    def __init__(
        self, rule_sets: Mapping[bytes, RuleSet], verbs: frozenset[bytes], relaying: Relaying | None = None
    ) -> None:
        self._rule_sets = rule_sets
        self._other = rule_sets.get(OTHER)
        self._verbs = verbs
        self._relaying = relaying
        held_to = () if relaying is None else (b"RCPT",)
        self.forwards: Final = CORE.difference(
            held_to, (verb for verb, rule_set in rule_sets.items() if not rule_set.forwards)
        )

    def judge(self, command: Command, facts: Facts) -> Verdict:
        rule_set = self._rule_set(command.verb)
        verdict = FORWARD if rule_set is None else rule_set.judge(command, facts)
        return verdict if self._relaying is None else self._relaying.judge(verdict, command, facts)

    def may_forward(self, verb: bytes, facts: Facts) -> bool:
        # A keyword of an EHLO reply that is no verb (SIZE, DSN, ...) is nothing that a rule set speaks of.
        if verb not in self._verbs:
            return True
        rule_set = self._rule_set(verb)
        return rule_set is None or rule_set.may_forward(facts)

    def _rule_set(self, verb: bytes) -> RuleSet | None:
        rule_set = self._rule_sets.get(verb)
        if rule_set is None and verb not in CORE:
            return self._other
        return rule_set


INTERNAL: Final = "internal"
"""The network whose clients have no budgets, no limit of sessions per address, none of the policy's limits that does
not say otherwise, and may relay as far as the backend lets them."""


class ByNetwork(Generic[T]):
    """A value for each client: that of the first network listed that has it, else the default."""

    def __init__(self, default: T, choices: Iterable[tuple[int, T]] = ()) -> None:
        self._default = default
        self._choices = tuple(choices)

    def of(self, bits: int) -> T:
        """Return the value for a client with these bits of a NetworkTable."""
        return next((value for bit, value in self._choices if bits & bit), self._default)


@dataclass(frozen=True)
class Manners:
    """What a policy says besides its rules."""

    replies: str = "sendmail"
    """The reply profile."""
    banner: Reply | None = None
    """None for the backend's own."""
    verbs: frozenset[bytes] = frozenset()
    """Declared by the site, upper case."""
    bare_newline: ByNetwork[BareNewline] = field(default_factory=lambda: ByNetwork(BareNewline.REJECT))
    early_input: ByNetwork[EarlyInput] = field(default_factory=lambda: ByNetwork(EarlyInput.HOLD))
    budgets: Budgets = UNLESS_SAID
    relaying: Relaying | None = None
    """None leaves it to the backend."""
    limits: Limits = NO_LIMITS
    shadow: bool = False
    """Of banner and budgets: the backend's own banner is shown, and no session is slowed."""


class Policy:
    """A policy as a whole."""

    def __init__(
        self, networks: NetworkTable, rule_sets: Mapping[bytes, tuple[Rule, ...]], manners: Manners | None = None
    ) -> None:
        self.networks = networks
        self._rule_sets = dict(rule_sets)
        self._manners = manners or Manners()
        self._verbs = KNOWN_VERBS | self._manners.verbs
        self._internal = networks.bits_of(INTERNAL) if INTERNAL in networks.names else 0
        self._judges: dict[tuple[int, str], ClientJudge] = {}

    @property
    def limits(self) -> Limits:
        """What is counted over sessions."""
        return self._manners.limits

    @property
    def refuses_relaying(self) -> bool:
        """True if no outsider's recipient elsewhere gets as far as the backend."""
        return self._manners.relaying is not None and not self._manners.relaying.shadow

    def relays_to(self, recipient: str) -> bool:
        """True if an outsider's mail to `recipient` goes to the backend."""
        relaying = self._manners.relaying
        return relaying is None or relaying.shadow or relaying.domains.accepts(f"TO:<{recipient}>".encode())

    def is_internal(self, peer: Peer) -> bool:
        """True for a client in the network named `internal`."""
        return bool(self.networks.classify(peer) & self._internal)

    def terms_for(self, peer: Peer, terms: Terms) -> Terms:
        """Return `terms`, which are the same for all clients, with what this policy grants this one."""
        bits = self.networks.classify(peer)
        manners = self._manners
        budgets = UNLESS_SAID if manners.shadow else manners.budgets
        return replace(
            terms,
            bare_newline=manners.bare_newline.of(bits),
            early_input=manners.early_input.of(bits),
            budgets=None if bits & self._internal else budgets,
            banner=None if manners.shadow else manners.banner,
            verbs=manners.verbs,
        )

    def in_earnest(self) -> Policy:
        """Return the same policy with nothing in shadow: what a site is about to switch over to."""
        manners = self._manners
        relaying = None if manners.relaying is None else replace(manners.relaying, shadow=False)
        return Policy(
            self.networks,
            {
                verb: tuple([replace(rule, shadow=False) if rule.shadow else rule for rule in rules])
                for verb, rules in self._rule_sets.items()
            },
            replace(manners, relaying=relaying, limits=manners.limits.in_earnest(), shadow=False),
        )

    def judge_for(self, peer: Peer, listener: str) -> ClientJudge:
        """Return the judge for a client; the same for all that no rule tells apart."""
        # Bounded: at most as many as the policy's networks cut out, times the listeners.
        key = self.networks.classify(peer), listener
        judge = self._judges.get(key)
        if judge is None:
            judge = self._judges[key] = ClientJudge(
                {
                    verb: RuleSet(tuple(rule for rule in rules if rule.is_for(*key)), self._manners.replies)
                    for verb, rules in self._rule_sets.items()
                },
                self._verbs,
                None if key[0] & self._internal else self._manners.relaying,
            )
        return judge
