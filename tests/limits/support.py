"""What the tests of limits share: guards with limits, and clients from anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from smtpguard.config import policy_file
from smtpguard.config.yaml_reader import read
from smtpguard.policy.rules import Policy
from tests.rig.client import Talk
from tests.rig.guard import Guard
from tests.rig.wait import wait_until
from tests.sendmail.support import ConfiguredGuard

INSIDE = "127.0.0.1"
OUTSIDE = "127.0.0.2"
ELSEWHERE = "127.0.0.9"
LIMITED = "421 4.7.0 "

_RULES = """
networks: {{internal: [{inside}/32]}}
budgets: off
rulesets:
  check_vrfy: [{{from: internal, action: forward}}, {{action: reply}}]
  check_debug: [{{action: reply}}]
"""


def with_limits(limits: str) -> str:
    """Return a policy that answers VRFY itself, for outsiders, with this text as its `limits`."""
    return _RULES.format(inside=INSIDE) + limits


def policy(limits: str) -> Policy:
    """Return it read."""
    return policy_file.build(read(with_limits(limits), "policy.yaml")).policy


@contextmanager
def guarded(
    folder: Path, backend: tuple[str, int], limits: str, settings: Mapping[str, object] | None = None
) -> Iterator[Guard]:
    """Run a guard with these limits."""
    with ConfiguredGuard(folder, backend, with_limits(limits), {"dns": {"names": False}, **(settings or {})}) as guard:
        yield guard


def proxied(guard: Guard, address: str) -> Talk:
    """Connect as a balancer does for a client of any address."""
    talk = Talk("127.0.0.1", guard.port, INSIDE, greet=False)
    family, server = ("TCP6", "2001:db8::25") if ":" in address else ("TCP4", "192.0.2.25")
    talk.send(f"PROXY {family} {address} {server} 40000 25\r\n".encode())
    talk.banner = talk.reply().decode("latin-1")
    return talk


PROXIED = {
    "listen": [
        {"endpoint": "tcp:0:interface=127.0.0.1", "proxy_protocol": "required", "trusted": [f"{INSIDE}/32"]},
    ]
}
"""Settings of a guard for `proxied`."""


def count_of(guard: Guard, words: str) -> int:
    """Return how many lines of the log have these words."""
    return sum(words in line for line in guard.lines())


def turned_away(guard: Guard, source: str) -> bool:
    """True if who comes from there is sent away without a session, for a limit and nothing else."""
    with Talk("127.0.0.1", guard.port, source) as talk:
        assert talk.banner.startswith((LIMITED, "220 ")), talk.banner
        return talk.banner.startswith(LIMITED)


def until(happened: Callable[[], bool], what: str, seconds: float = 10) -> None:
    """Wait for it."""
    wait_until(happened, what, seconds)
