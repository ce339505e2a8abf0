"""What the guard must reach: ratios of one run, so that they hold on any machine.

Contract: a target compares numbers of one figure, round by round, and takes the median of the rounds; where
something it needs was not measured, there is no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from .bench import Rounds
from .peers import HAPROXY, NGINX_MAIL
from .spread import Spread, ratio, spread
from .systems import GUARD


@frozen
class Target:
    """One bound on a ratio: `system`'s metric by `base`'s, each a system's name and a metric."""

    text: str
    figure: str
    bound: float
    metric: str
    base: str | None = None
    """The system compared with; None for a number that is bounded itself."""
    base_metric: str | None = None
    """Another metric of the base, if it is not the same."""
    system: str = GUARD.name
    at_least: bool = False
    unit: str = "x"
    further: bool = False
    """It lies behind another one of the same figure: missing it is no failure."""

    def measured(self, rounds: Rounds) -> Spread | None:
        """Return the ratio of every round, or None where it was not measured."""
        ours = rounds.get(self.system, {}).get(self.metric, [])
        if self.base is None:
            return spread(ours)
        theirs = rounds.get(self.base, {}).get(self.base_metric or self.metric, [])
        return spread([one for pair in zip(ours, theirs, strict=False) if (one := ratio(*pair)) is not None])

    def met(self, value: float) -> bool:
        """Tell whether it is reached."""
        return value >= self.bound if self.at_least else value <= self.bound

    def part(self, value: float) -> float | None:
        """Return the value as a part of what is allowed: 1 is just met, less is better; None under a bound of 0."""
        return ratio(self.bound, value) if self.at_least else ratio(value, self.bound)

    def by_at(self) -> str:
        """Return the bound as text."""
        return f"{'>=' if self.at_least else '<='} {self.bound:,g}{self.unit if self.unit == 'x' else ' ' + self.unit}"


TARGETS: Final[Sequence[Target]] = (
    Target("CPU a 1 kB session, by nginx", "sessions", 1.2, "cpu_us", NGINX_MAIL.name),
    Target("CPU a 1 kB session, by nginx, further", "sessions", 1.0, "cpu_us", NGINX_MAIL.name, further=True),
    Target("CPU a 1 kB session, by HAProxy, further", "sessions", 1.0, "cpu_us", HAPROXY.name, further=True),
    Target("CPU a 1 kB session with EHLO, by nginx", "ehlo", 1.2, "cpu_us", NGINX_MAIL.name),
    Target("CPU a message on kept connections, by nginx", "kept", 1.3, "cpu_us", NGINX_MAIL.name),
    Target("CPU a MB of content, by HAProxy", "content", 1.5, "cpu_us", HAPROXY.name),
    Target("time for 1 MB messages, by HAProxy", "content", 1.0, "wall_s", HAPROXY.name),
    Target("NOOP round trip added, p50, by HAProxy", "roundtrip", 1.3, "added_p50_us", HAPROXY.name),
    Target("NOOP round trip added, p99, by HAProxy", "roundtrip", 1.5, "added_p99_us", HAPROXY.name),
    Target("VRFY answered from outside, a CPU second", "flood", 20_000, "a_cpu_s", at_least=True, unit="/s"),
    Target("insiders' p99 during 5,000 VRFY a second", "flood", 1.5, "paced_p99"),
    Target("VRFY of outsiders that reached the server", "flood", 0, "reached", unit=""),
    Target("CPU a session, many networks and rules, by few", "scale", 1.05, "cpu_us", "small", system="large"),
    Target("loading that policy", "scale", 1.0, "load_s", system="large", unit="s"),
    Target("explain with that policy, the whole command", "scale", 1.5, "explain_s", system="large", unit="s"),
    Target("work of the lesser of two workers", "workers", 40, "share", system="workers-2", at_least=True, unit="%"),
    Target("CPU a session, two workers, by one", "workers", 1 / 0.95, "cpu_us", "workers-1", system="workers-2"),
    Target("memory an idle session, by HAProxy", "idle", 1.0, "kb", HAPROXY.name),
)
