"""Guards whose policy says which one it is."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from pathlib import Path

import yaml

from tests.rig.client import Talk
from tests.rig.guard import Guard
from tests.rig.wait import wait_until
from tests.sendmail.support import ConfiguredGuard

from .sink import Sink

RELOADED = "reloaded: policy "
REFUSED = "reload refused, "


def numbered(number: int) -> str:
    """Return a policy that tells its number to whoever says VRFY."""
    rules: dict[str, object] = {"check_vrfy": [{"action": "reply", "reply": f"252 2.5.2 policy {number}"}]}
    tests = [{"from": "203.0.113.9", "command": "VRFY george", "expect": 252}]
    return yaml.safe_dump({"rulesets": rules, "tests": tests})


def faulty(number: int) -> str:
    """Return a policy that cannot be served, for one of four reasons, each found at another stage."""
    good = numbered(1000 + number)
    return [
        good + "nonsense: [\n",
        good.replace("check_vrfy", "check_vfry"),
        good.replace("expect: 252", "expect: 250"),
        "",
    ][number % 4]


def policy_of(client: Talk) -> int:
    """Return the number of the policy that a session goes by."""
    assert client.banner.startswith("220 "), client.banner
    reply = client.say("VRFY george")
    found = re.fullmatch(r"252 2\.5\.2 policy (\d+)", reply)
    assert found is not None, reply
    return int(found[1])


class ReloadedGuard(ConfiguredGuard):
    """A guard with a numbered policy in front of a sink."""

    def __init__(
        self, folder: Path, sink: Sink, settings: Mapping[str, object] | None = None, reactor: str = "auto"
    ) -> None:
        """The policy has the number 0."""
        super().__init__(folder, sink.address, numbered(0), settings)
        self._command += ["--reactor", reactor]
        self._folder = folder

    def count(self, text: str) -> int:
        """Return how many lines hold a text."""
        return sum(text in line for line in self.lines())

    def write(self, policy_text: str) -> None:
        """Write a policy, which is not read yet."""
        (self._folder / "policy.yaml").write_text(policy_text, "utf-8")

    def reload(self, outcome: str = RELOADED) -> None:
        """Send SIGHUP, and wait for what comes of it."""
        before = self.count(outcome)
        self.signal(signal.SIGHUP)
        wait_until(lambda: self.count(outcome) > before, outcome, 30, lambda: "\n".join(self.lines()))


def new_policy(guard: Guard) -> int:
    """Return the number of the policy that a new session gets."""
    with Talk("127.0.0.1", guard.port) as client:
        return policy_of(client)
