"""Every metric that there is: what it counts, and which labels it may have.

Contract: data only.  A label has few values, known beforehand or bounded by the settings and the policy; what a client
writes, its address above all, is none.  docs/monitoring.md is made of this, and the shipped alert rules and dashboard
are held against it (tests/metrics).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from itertools import product
from typing import Final

from attrs import frozen

from ..smtp.grammar import Fault
from ..smtp.tally import UNKNOWN
from ..smtp.verbs import KNOWN_VERBS
from ..smtp.verdict import Action

OTHER: Final = "other"
"""The value of a label for all that there are too many of."""
MOST_SERIES: Final = 500
"""Of one metric with a label that the policy or the settings bound: reloads make new names of rules for years."""


FEW_SERIES: Final = 20
"""Of one metric; so many are there before anything was counted."""
NO_RULE: Final = "none"
"""For what is decided where no rule speaks, as a VRFY that is forwarded."""


class Kind(Enum):
    """What Prometheus calls the type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@frozen
class Label:
    """A label of a metric."""

    name: str
    values: frozenset[str] | None
    """All that it can have; None if the policy or the settings say."""
    about: str = ""


@frozen
class Metric:
    """One line of the catalogue."""

    name: str
    """Without the `smtpguard_` that it begins with, and the `_total` of a counter."""
    kind: Kind
    help: str
    labels: tuple[Label, ...] = ()

    @property
    def full_name(self) -> str:
        """As Prometheus knows it."""
        return f"smtpguard_{self.name}{'_total' if self.kind is Kind.COUNTER else ''}"

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The names of its samples."""
        if self.kind is not Kind.HISTOGRAM:
            return (self.full_name,)
        return tuple(self.full_name + end for end in ("_bucket", "_sum", "_count"))

    @property
    def expected(self) -> tuple[tuple[str, ...], ...]:
        """The values of the labels of series that are there from the beginning, at 0: else their first 1 is no rise."""
        known = [sorted(label.values) for label in self.labels if label.values is not None]
        if self.kind is not Kind.COUNTER or len(known) < len(self.labels):
            return ()
        every = tuple(product(*known))
        return every if len(every) <= FEW_SERIES else ()

    def takes(self, values: Iterable[str]) -> bool:
        """Tell if the labels may have these values."""
        given = tuple(values)
        return len(given) == len(self.labels) and all(
            label.values is None or value in label.values for label, value in zip(self.labels, given, strict=True)
        )


def word(text: str) -> str:
    """Return a name of an enum, or a verb, as the value of a label."""
    return text.lower().replace(" ", "_")


SESSION_SECONDS: Final = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0)
"""Upper bounds of the histogram: a refused probe, a message, a slow server, a queue run, a client that sits there."""

_LISTENER: Final = Label("listener", None, "the listener's name")
_VERBS: Final = frozenset(verb.decode("ascii") for verb in KNOWN_VERBS | {UNKNOWN})
_VERB: Final = Label("verb", _VERBS, "`UNKNOWN` is every verb outside the table of verbs")
_RULE: Final = Label("rule", None, f"as the log names it; beyond {MOST_SERIES} the longest unused become `{OTHER}`")
_ACTION: Final = Label("action", frozenset(action.value for action in Action))
REASONS: Final = frozenset({"sessions", "sessions_per_address", "unavailable", "limit", "untrusted", "connections"})
"""Why a client got no session: `limits.sessions`, `limits.sessions_per_address`, no mail server that may be used, a
limit of the policy, a PROXY header that is not there or not believed, `limits.sessions` before there is a client."""
_FAULT: Final = Label("fault", frozenset({"out_of_turn", *(word(fault.name) for fault in Fault)}))
_ENDPOINT: Final = Label("endpoint", None, "of the settings")
_LIMIT: Final = Label("limit", None, "a name of the policy")
_STEP: Final = Label("step", frozenset({"delay", "close", "ban"}))

SESSIONS_BEGUN: Final = Metric("sessions", Kind.COUNTER, "Sessions that began.", (_LISTENER,))
TURNED_AWAY: Final = Metric("turned_away", Kind.COUNTER, "Clients that got no session.", (Label("reason", REASONS),))
SECONDS: Final = Metric("session_seconds", Kind.HISTOGRAM, "How long sessions lasted.")
TLS_SESSIONS: Final = Metric("tls_sessions", Kind.COUNTER, "Sessions that ended in TLS up to the guard.")
UNINSPECTED: Final = Metric("uninspected_sessions", Kind.COUNTER, "Sessions whose STARTTLS was passed through.")
COMMANDS: Final = Metric("commands", Kind.COUNTER, "Command lines, counted at the end of their session.", (_VERB,))
PASSED: Final = Metric(
    "commands_passed", Kind.COUNTER, "Commands that were forwarded and answered with 2yz; DATA: messages.", (_VERB,)
)
VERDICTS: Final = Metric("verdicts", Kind.COUNTER, "Decisions that the log tells of.", (_RULE, _ACTION))
SHADOWED: Final = Metric(
    "shadow_verdicts", Kind.COUNTER, "Decisions that rules in shadow would have made otherwise.", (_RULE, _VERB)
)
MALFORMED: Final = Metric("malformed", Kind.COUNTER, "Lines outside the grammar, or out of turn.", (_FAULT,))
NORMALIZED: Final = Metric("newlines_mended", Kind.COUNTER, "Sessions and messages with bare newlines mended.")
OVER_BUDGET: Final = Metric("budgets_used_up", Kind.COUNTER, "Budgets of sessions that were used up.")
AUTH: Final = Metric(
    "auth", Kind.COUNTER, "AUTH, as the backend decided.", (Label("result", frozenset({"accepted", "failed"})),)
)
RECIPIENTS: Final = Metric("recipients_refused", Kind.COUNTER, "RCPT that the backend refused for good.")
SLOW: Final = Metric("sessions_too_slow", Kind.COUNTER, "Sessions that were ended for `limits.data_rate`.")
BACKEND_FAULTS: Final = Metric(
    "backend_faults",
    Kind.COUNTER,
    "Sessions that the backend could not be reached for, or in which it broke the protocol or went away.",
    (Label("kind", frozenset({"unreachable", "protocol"})),),
)
CROSSED: Final = Metric("limit_crossed", Kind.COUNTER, "Steps of the policy's limits taken.", (_LIMIT, _STEP))
SHADOW_CROSSED: Final = Metric(
    "shadow_limit_crossed", Kind.COUNTER, "Steps of limits in shadow that would have been taken.", (_LIMIT, _STEP)
)
RELOADS: Final = Metric("reloads", Kind.COUNTER, "Reloads asked for.", (Label("result", frozenset({"ok", "refused"})),))
INCIDENTS: Final = Metric("incidents", Kind.COUNTER, "Incidents opened.")
BANNED: Final = Metric("bans_made", Kind.COUNTER, "Bans that began.")

INFO: Final = Metric(
    "info",
    Kind.GAUGE,
    "Always 1.",
    (Label("version", None, "of smtpguard"), Label("policy", None, "the version of the policy in use")),
)
READY: Final = Metric("ready", Kind.GAUGE, "1 if clients are served.")
STARTED: Final = Metric("start_time_seconds", Kind.GAUGE, "When the service started.")
SESSIONS: Final = Metric("sessions_active", Kind.GAUGE, "Sessions now.")
SESSIONS_LIMIT: Final = Metric(
    "sessions_limit", Kind.GAUGE, "Sessions that there may be: limits.sessions, or what there are descriptors for."
)
PROCESSES: Final = Metric("processes", Kind.GAUGE, "Processes that serve.")
POLICY_LOADED: Final = Metric("policy_loaded_timestamp_seconds", Kind.GAUGE, "When the policy in use was loaded.")
POLICY_RULES: Final = Metric("policy_rules", Kind.GAUGE, "Rules of the policy in use.")
RELOADED: Final = Metric("last_reload_timestamp_seconds", Kind.GAUGE, "When a reload was last asked for.")
RELOAD_OK: Final = Metric("last_reload_successful", Kind.GAUGE, "0 if the last reload was refused; 1 before the first.")
BACKEND_UP: Final = Metric("backend_up", Kind.GAUGE, "1 if clients are sent there.", (_ENDPOINT,))
BACKEND_SESSIONS: Final = Metric("backend_sessions", Kind.GAUGE, "Sessions with it now.", (_ENDPOINT,))
RELAY_CHECK: Final = Metric(
    "relay_check",
    Kind.GAUGE,
    "1 for what the relay check found.",
    (Label("standing", frozenset({"serve", "wait", "relays"})),),
)
STANDING: Final = Metric("limit_standing", Kind.GAUGE, "Measures that stand.", (_LIMIT,))
BANS: Final = Metric("bans", Kind.GAUGE, "Bans that stand.")
INCIDENTS_OPEN: Final = Metric("incidents_open", Kind.GAUGE, "Incidents that are open.")
SHARED_UP: Final = Metric("state_shared_up", Kind.GAUGE, "0 if Redis is away; absent where `state` names none.")
LINES_LOST: Final = Metric("log_lines_lost", Kind.COUNTER, "Lines that nobody took.")

CATALOGUE: Final = {metric.name: metric for metric in tuple(globals().values()) if isinstance(metric, Metric)}
"""All of them by name, in the order of this file."""

PROCESS: Final = (
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
)
"""Of prometheus-client, about the process that answers: the only one, or with workers the one that keeps the ledger."""
